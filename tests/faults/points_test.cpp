// The fault points of the library: each is reached, and whatever happens at one changes no result.
#include "support/agent_pair.hpp"
#include "support/fault_point.hpp"
#include "support/fault_row.hpp"
#include "support/paths.hpp"
#include "support/tier.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/multiprocessing/barrier.hpp>
#include <sennit/multiprocessing/condition.hpp>
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/queue.hpp>
#include <sennit/multiprocessing/shared_memory.hpp>
#include <sennit/subprocess.hpp>
#include <sennit/threading.hpp>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>

#if defined(SENNIT_FAULT_POINTS)
namespace sennit::testing {
namespace {

using namespace std::chrono_literals;
using threading::Thread;

// The names in the sources of the library: FAULT_POINT("...") and FAULT_POINT_ERROR("...").
std::set<std::string> points_in_sources() {
    std::set<std::string> names;
    for (const char* folder : {"/src", "/include"})
        for (const auto& entry : std::filesystem::recursive_directory_iterator(source_dir() + folder)) {
            const auto& path = entry.path();
            if (!entry.is_regular_file() || path.stem() == "fault_point") continue;
            if (path.string().find("/src/tools/") != std::string::npos) continue; // not linked here
            std::ifstream file(path);
            const std::string text((std::istreambuf_iterator<char>(file)), {});
            for (const std::string_view begin : {"FAULT_POINT(\"", "FAULT_POINT_ERROR(\""})
                for (auto at = text.find(begin); at != text.npos; at = text.find(begin, at + 1)) {
                    const auto from = at + begin.size();
                    names.insert(text.substr(from, text.find('"', from) - from));
                }
        }
    return names;
}

// Something of everything: who waits, is woken, handed a lock, timed out, cancelled; a thread, a child.
void use_all_of_it(Pair pair) {
    sync::Lock lock;
    sync::Event never;
    {
        Stage stage(pair);
        lock.acquire();
        auto& waiter = stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(lock);
            lock.release();
        });
        auto& impatient =
            stage.waiter([&](Actor& me) -> Co<> { EXPECT_FALSE(co_await me.acquire(lock, Deadline(2ms))); });
        auto& cancelled = stage.waiter([&](Actor& me) -> Co<> { co_await me.wait(never); });
        stage.parked(waiter, lock);
        stage.parked(cancelled, never);
        cancelled.cancel();
        stage.join(impatient);
        lock.release();
        stage.join();
        EXPECT_TRUE(cancelled.was_cancelled());
    }
    EXPECT_FALSE(lock.locked());
    EXPECT_FALSE(never.wait(1ms));
    Thread thread([] {});
    thread.start();
    thread.join();
    {
        const multiprocessing::shared_memory::SharedMemory block("", {.create = true, .size = 1});
        EXPECT_EQ(multiprocessing::shared_memory::SharedMemory(block.name()).size(), 1U);
    }
    {
        multiprocessing::Queue<int> numbers(1);
        numbers.put(1);
        EXPECT_EQ(numbers.get(), 1);
        auto [here, there] = multiprocessing::Pipe();
        here.send(2);
        EXPECT_EQ(there.recv<int>(), 2);
    }
    {
        multiprocessing::Lock shared;
        shared.acquire();
        Stage stage;
        auto& waiter = stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(shared);
            shared.release();
        });
        stage.parked(waiter, shared);
        shared.release();
        stage.join();
    }
    {
        multiprocessing::Condition condition;
        multiprocessing::Barrier barrier(2);
        Stage stage;
        auto& waiter = stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            condition.wait();
            condition.release();
            barrier.wait();
        });
        stage.parked(waiter, condition);
        condition.acquire();
        condition.notify();
        condition.release();
        barrier.wait();
        stage.join();
    }
    {
        int ends[2];
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        const os::Fd reader(ends[0]), writer(ends[1]);
        loop::EpollPoller poller;
        char byte = 0;
        for (int i = 0; i < 2; ++i) { // the second finds nothing while the descriptor is watched
            loop::Operation op(loop::OperationKind::recv, reader.get(), &byte, 1, [](loop::Operation&) noexcept {});
            poller.start(op);
            EXPECT_EQ(::write(writer.get(), "x", 1), 1);
            while (op.in_flight()) poller.turn(Deadline(5s));
            EXPECT_EQ(op.result, 1);
        }
        poller.forget(reader.get());
    }
    subprocess::Popen child({"cat"}, {.stdin_ = subprocess::PIPE, .stdout_ = subprocess::PIPE});
    EXPECT_EQ(child.communicate("x").std_out, "x");
}

bool was_reached(std::string_view name) {
    for (auto* p = base::all_fault_points(); p; p = p->next)
        if (p->name == name) return p->was_reached();
    return false;
}

TEST(FaultPoints, of_the_library_are_all_reached) {
    for (const Pair& pair : all_pairs()) use_all_of_it(pair);
    // Woken to compete, for it has not waited for a millisecond: on a busy machine that takes more than one attempt.
    for (int i = 0; i < 10'000 && !was_reached("lock.cas_won"); ++i) {
        sync::Lock lock;
        lock.acquire();
        Stage stage;
        auto& waiter = stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(lock);
            lock.release();
        });
        stage.parked(waiter, lock);
        lock.release();
    }
    // Those that lie in other processes: a program notes what it and its children pass.
    const auto report = std::filesystem::temp_directory_path() / ("sennit-points-" + std::to_string(::getpid()));
    const int ended = subprocess::call({bin_dir() + "/programs/pool_points"},
                                       {.extra_env = {{"SENNIT_FAULT_REPORT", report.string()}}});
    EXPECT_EQ(ended, 0);
    std::set<std::string> elsewhere;
    std::ifstream file(report);
    for (std::string line; std::getline(file, line);) elsewhere.insert(line);
    std::filesystem::remove(report);
    const auto all = points_in_sources();
    EXPECT_GE(all.size(), 10u);
    for (const auto& name : all)
        EXPECT_TRUE(was_reached(name) || elsewhere.contains(name)) << "nobody has passed " << name;
}

TEST(F29Points, that_delay_or_yield_change_no_count) {
    FaultRow row("F29");
    for (const std::string& point : points_in_sources()) {
        for (const char* what : {"delay:300us%10", "yield"}) {
            SCOPED_TRACE(point + '=' + what);
            FaultRow::Trial trial(row);
            Faults faults(point + '=' + what);
            use_all_of_it({Kind::thread, Kind::thread, false});
            use_all_of_it({Kind::coroutine, Kind::thread, false});
            const std::int64_t rounds = by_tier(1'000, 5'000, 50'000);
            sync::Lock lock;
            std::int64_t count = 0, given_up = 0; // guarded by the lock
            atomic<std::int64_t> timed_out{0};
            {
                Stage stage;
                for (const Kind kind : {Kind::thread, Kind::thread, Kind::coroutine, Kind::coroutine})
                    stage.start(kind, [&](Actor& me) -> Co<> {
                        for (std::int64_t i = 0; i < rounds; ++i) {
                            if (co_await me.acquire(lock, i % 4 == 0 ? Deadline(20us) : Deadline(forever))) {
                                ++count;
                                lock.release();
                            } else {
                                timed_out.fetch_add(1);
                            }
                        }
                    });
                stage.join();
            }
            given_up = timed_out.load();
            EXPECT_EQ(count + given_up, 4 * rounds);
            EXPECT_FALSE(lock.locked());
            trial.injected = static_cast<std::int64_t>(faults.injected());
        }
    }
}

TEST(FaultPoints, let_a_child_be_refused_by_the_system) {
    for (const int pass : {1, 2, 3}) {
        Faults faults("spawn.clone=fail:EAGAIN@" + std::to_string(pass));
        int refused = 0;
        for (int i = 0; i < 3; ++i) {
            try {
                EXPECT_EQ(subprocess::call({"true"}), 0);
            } catch (const OSError& e) {
                EXPECT_EQ(e.code(), EAGAIN);
                ++refused;
                EXPECT_EQ(i + 1, pass);
            }
        }
        EXPECT_EQ(refused, 1);
    }
}

TEST(FaultPoints, let_a_thread_be_refused_by_the_system) {
    Faults faults("thread.create=fail:EAGAIN@1");
    Thread thread([] {});
    EXPECT_THROW(thread.start(), OSError);
    thread.start();
    thread.join();
    EXPECT_EQ(faults.injected(), 1u);
}

} // namespace
} // namespace sennit::testing
#endif
