// F25: the wall clock may jump; no wait looks at it. Shown in three ways: the sources name no wait by it; a filter of the kernel lets
// no call through that would ask it to time a wait by it; and it jumps, for all that read it in this process, in the middle of waits.
// The machine's own clock is left alone.
#include <sennit/futures.hpp>
#include <sennit/queue.hpp>
#include <sennit/subprocess.hpp>
#include <sennit/sync.hpp>
#include <sennit/threading.hpp>

#include "support/fault_row.hpp"
#include "support/paths.hpp"
#include "support/shim.hpp"
#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <mutex>
#include <pthread.h>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;

TEST(F25WallClock, no_source_names_a_wait_that_is_timed_by_it) {
    const std::vector<std::string> forbidden{"pthread_cond_", "pthread_mutex_timedlock", "condition_variable",
                                             "timed_mutex",   "FUTEX_CLOCK_REALTIME",    "sem_timedwait"};
    // Not for waits: the time of day that tools write down.
    const std::vector<std::string> only_in_tools{"CLOCK_REALTIME", "system_clock", "gettimeofday"};
    std::size_t files = 0;
    for (const char* folder : {"include", "src"})
        for (const auto& entry :
             std::filesystem::recursive_directory_iterator(std::filesystem::path(testing::source_dir()) / folder)) {
            const std::string ext = entry.path().extension();
            if (ext != ".hpp" && ext != ".cpp") continue;
            ++files;
            const bool tool = entry.path().string().find("/src/tools/") != std::string::npos;
            std::ifstream in(entry.path());
            std::string line;
            for (int number = 1; std::getline(in, line); ++number) {
                line = line.substr(0, line.find("//"));
                const auto refuse = [&](const std::vector<std::string>& words) {
                    for (const auto& word : words)
                        EXPECT_EQ(line.find(word), std::string::npos) << entry.path().string() << ':' << number;
                };
                refuse(forbidden);
                if (!tool) refuse(only_in_tools);
            }
        }
    EXPECT_GT(files, 50U);
}

#if defined(__x86_64__)

// From now on this process is killed when it asks the kernel to time something by the wall clock.
bool forbid_waits_by_the_wall_clock() {
    constexpr auto number = static_cast<unsigned>(offsetof(seccomp_data, nr));
    constexpr auto arg = [](unsigned i) { return static_cast<unsigned>(offsetof(seccomp_data, args)) + 8 * i; };
    // glibc waits for the end of a thread with the flag, but without a time-out: that is no wait by the clock.
    const sock_filter filter[] = {
        /*  0 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        /*  1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 3, 0),
        /*  2 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_nanosleep, 8, 0),
        /*  3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_timerfd_create, 7, 0),
        /*  4 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        /*  5 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(1)), // futex: the operation
        /*  6 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FUTEX_CLOCK_REALTIME, 0, 6),
        /*  7 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(3)), // its time-out, low half
        /*  8 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5),
        /*  9 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(3) + 4),
        /* 10 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 3),
        /* 11 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(0)), // the others: the clock
        /* 12 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CLOCK_REALTIME, 1, 0),
        /* 13 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        /* 14 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const sock_fprog program{static_cast<unsigned short>(std::size(filter)), const_cast<sock_filter*>(filter)};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

// Every timed wait there is, by a thread and by a coroutine. How many did not end at their deadline.
int all_timed_waits() {
    int wrong = 0;
    sync::Lock lock;
    lock.acquire();
    wrong += lock.acquire(2ms);
    sync::Event event;
    wrong += event.wait(2ms);
    sync::Semaphore permits(0);
    wrong += permits.acquire(2ms);
    sync::Condition condition;
    {
        const std::scoped_lock guard(condition);
        wrong += condition.wait(2ms);
    }
    sync::Barrier barrier(2);
    try {
        barrier.wait(2ms);
        ++wrong;
    } catch (const BrokenBarrierError&) {}
    queue::Queue<int> q(1);
    try {
        q.get(2ms);
        ++wrong;
    } catch (const queue::Empty&) {}
    q.put(1);
    try {
        q.put(2, 2ms);
        ++wrong;
    } catch (const queue::Full&) {}
    wrong += q.join(2ms);
    sync::Event may_end;
    threading::Thread thread([&] { may_end.wait(1h); });
    thread.start();
    wrong += thread.join(2ms);
    may_end.set();
    wrong += !thread.join(1h);
    testing::TestLoop loop;
    loop.spawn([&]() -> testing::Co<> {
        wrong += co_await event.async_wait(2ms);
        wrong += co_await lock.async_acquire(2ms);
        wrong += co_await permits.async_acquire(2ms);
    });
    loop.run();
    return wrong;
}

// In a child: its exit status, as waitpid gives it.
template <class Body>
int in_a_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(forbid_waits_by_the_wall_clock() ? body() : 77);
    int status = -1;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

TEST(F25WallClock, no_wait_asks_the_kernel_for_it) {
    // That the filter works: the standard's own wait by the wall clock is killed.
    const int control = in_a_child([] {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
        timespec until{};
        ::clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec = (until.tv_nsec + 2'000'000) % 1'000'000'000;
        until.tv_sec += 1;
        ::pthread_mutex_lock(&mutex);
        ::pthread_cond_timedwait(&condition, &mutex, &until);
        return 0;
    });
    if (WIFEXITED(control) && WEXITSTATUS(control) == 77) GTEST_SKIP() << "no seccomp filters here";
    ASSERT_TRUE(WIFSIGNALED(control) && WTERMSIG(control) == SIGSYS) << "the filter lets it through: " << control;
    const int status = in_a_child(all_timed_waits);
    EXPECT_FALSE(WIFSIGNALED(status)) << "killed by signal " << WTERMSIG(status) << ": a wait by the wall clock";
    EXPECT_EQ(status, 0) << "waits that did not end at their deadline";
}

#endif

// What an agent waits for: gives whether it ended otherwise than by its deadline.
struct TimedWait {
    const char* name;
    std::function<bool(Deadline)> wait;
};

std::int64_t monotonic_ns() {
    timespec now{};
    ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now); // past everything that could shift it
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// A jump seen by all that read the clock here. Every kind of wait is going on meanwhile, half of them with a deadline made before.
TEST(F25WallClock, jumps_of_it_end_no_wait_early_and_prolong_none) {
    sync::Lock lock;
    lock.acquire();
    sync::RLock rlock;
    sync::Event event, may_end;
    sync::Semaphore permits(0);
    sync::Condition condition;
    queue::Queue<int> empty, full(1), unfinished;
    full.put(1);
    unfinished.put(1);
    threading::Thread thread([&] { may_end.wait(); });
    thread.start();
    futures::Future<int> future;
    subprocess::Popen child({"cat"}, {.stdin_ = subprocess::PIPE, .stdout_ = subprocess::PIPE});
    const auto throws = [](auto call, auto expected) {
        try {
            call();
        } catch (const decltype(expected)&) {
            return false;
        }
        return true;
    };
    const std::vector<TimedWait> waits{
        {"Lock.acquire", [&](Deadline d) { return lock.acquire(d); }},
        {"Event.wait", [&](Deadline d) { return event.wait(d); }},
        {"Semaphore.acquire", [&](Deadline d) { return permits.acquire(d); }},
        {"Condition.wait",
         [&](Deadline d) {
             const std::scoped_lock guard(condition);
             return condition.wait(d);
         }},
        {"Barrier.wait",
         [&](Deadline d) {
             sync::Barrier barrier(2);
             return throws([&] { barrier.wait(d); }, BrokenBarrierError());
         }},
        {"Queue.get", [&](Deadline d) { return throws([&] { empty.get(d); }, queue::Empty()); }},
        {"Queue.put", [&](Deadline d) { return throws([&] { full.put(2, d); }, queue::Full()); }},
        {"Queue.join", [&](Deadline d) { return unfinished.join(d); }},
        {"Thread.join", [&](Deadline d) { return thread.join(d); }},
        {"Future.result",
         [&](Deadline d) {
             try {
                 future.result(d);
             } catch (const TimeoutError&) {
                 return false;
             }
             return true;
         }},
        {"Popen.wait",
         [&](Deadline d) {
             try {
                 child.wait(d);
             } catch (const subprocess::TimeoutExpired&) {
                 return false;
             }
             return true;
         }},
        {"a coroutine",
         [&](Deadline d) {
             bool set = false;
             testing::TestLoop loop;
             loop.spawn([&]() -> testing::Co<> { set = co_await event.async_wait(d); });
             loop.run();
             return set;
         }},
    };
    testing::FaultRow row("F25");
    const long jumps = testing::by_tier(4, 20, 100);
    constexpr std::int64_t limit_ns = 80'000'000;
    for (long i = 0; row.injected() < jumps && i < 10 * jumps;
         ++i) { // on a busy machine some come too late to meet a wait
        const std::chrono::hours by((i % 2 ? -1 : 1) * (i % 4 < 2 ? 1 : 10 * 365 * 24));
        std::atomic<std::size_t> begun{0};
        std::vector<std::thread> waiters;
        testing::FaultRow::Trial trial(row);
        const std::int64_t started = monotonic_ns();
        const Deadline common{std::chrono::nanoseconds(limit_ns)};
        for (std::size_t n = 0; n < waits.size(); ++n)
            waiters.emplace_back([&, n] {
                const TimedWait& one = waits[n];
                const bool made_before = (n + static_cast<std::size_t>(i)) % 2 == 0;
                const std::int64_t began = made_before ? started : monotonic_ns();
                const Deadline deadline = made_before ? common : Deadline(std::chrono::nanoseconds(limit_ns));
                ++begun;
                EXPECT_FALSE(one.wait(deadline)) << one.name;
                EXPECT_GE(monotonic_ns() - began, limit_ns) << one.name << ", after a jump by " << by.count() << " h";
            });
        while (begun < waits.size()) std::this_thread::yield();
        const auto wall = std::chrono::system_clock::now();
        const testing::WallClockJump jump(by);
        trial.injected = monotonic_ns() - started < limit_ns ? 1 : 0;
        if (!testing::sanitized()) {
            EXPECT_LT(std::chrono::abs(std::chrono::system_clock::now() - wall - by), 30min) << "it is not seen";
        }
        for (std::thread& waiter : waiters) waiter.join(); // one that is prolonged is ended by the watchdog
    }
    EXPECT_EQ(row.injected(), jumps);
    may_end.set();
    thread.join();
    child.communicate();
}

} // namespace
} // namespace sennit
