// What the death of a parent, or of the zygote, and a system that refuses, do to processes: P6, P7, P22.
#include "support/fault_row.hpp"
#include "support/processes.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/subprocess.hpp>
#include <sennit/threading.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;
namespace mp = multiprocessing;
using mp::Process;
using mp::ProcessOptions;

// The end of a pipe as an argument: as long as anybody has it, the reader sees no end.
struct End {
    int fd = -1;
    void pack(mp::CargoWriter& to) const { to.attach(fd); }
    static End unpack(mp::CargoReader& from) { return {from.take_fd().release()}; }
};

[[noreturn]] void stay() {
    for (;;) ::pause();
}

// A process with what it left in its group, and a process of its own with the same.
void live_with_descendants(End end, int depth) {
    ::fcntl(end.fd, F_SETFD, 0);
    subprocess::Popen left({"sleep", "1000"}, {.close_fds = false});
    if (depth > 0) {
        Process inner(live_with_descendants, end, depth - 1);
        inner.start();
        static_cast<void>(os::write_some(end.fd, "+", 1));
        stay();
    }
    static_cast<void>(os::write_some(end.fd, "+", 1));
    stay();
}

class F6Process : public ProcessTest {};

// P6: whenever the parent is killed, all are gone: its children by each method, theirs, and what they have left in their groups.
TEST_F(F6Process, whose_parent_is_killed_is_gone_with_all_its_descendants) {
    FaultRow row("F6");
    Random random(seed());
    const std::int64_t kills = by_tier(6, 60, 1'500);
    for (std::int64_t i = 0; i < kills; ++i) {
        os::Pipe pipe = os::make_pipe();
        const bool early = random.below(10) < 4;
        const std::uint64_t after_us = random.below(50'000);
        const pid_t parent = os::fork();
        if (parent == 0) {
            pipe.read_end.reset();
            std::vector<Process> all;
            for (const auto method : all_start_methods) {
                ProcessOptions options;
                options.context = method;
                all.emplace_back(options, live_with_descendants, End{pipe.write_end.get()}, 1);
            }
            for (Process& p : all) p.start();
            stay();
        }
        pipe.write_end.reset();
        FaultRow::Trial trial(row);
        trial.injected = 1;
        // Early: in the midst of all the starting. Else when all six of them are there.
        char byte = 0;
        if (early)
            os::poll_fds({}, std::chrono::microseconds(after_us));
        else
            for (int n = 0; n < 6; ++n) ASSERT_EQ(os::read_some(pipe.read_end.get(), &byte, 1), 1);
        ::kill(parent, SIGKILL); // layers: allow kill by pid: a child of ours that nobody else reaps
        int status = 0;
        ASSERT_EQ(::waitpid(parent, &status, 0), parent);
        const auto began = std::chrono::steady_clock::now();
        for (ssize_t n = 1; n > 0;) { // to the end: nobody is left who has the pipe
            pollfd end{pipe.read_end.get(), POLLIN, 0};
            ASSERT_EQ(os::poll_fds({&end, 1}, 20s), 1) << "somebody outlives the parent";
            n = os::read_some(pipe.read_end.get(), &byte, 1);
        }
        EXPECT_LT(std::chrono::steady_clock::now() - began, sanitized() ? 10s : 5s);
    }
}

class F7Zygote : public ProcessTest {};

// P7, and what no start may be: lost, or made twice.
TEST_F(F7Zygote, that_is_killed_at_any_moment_costs_no_start_and_repeats_none) {
    FaultRow row("F7");
    Random random(seed());
    const std::int64_t kills = by_tier(10, 60, 600);
    constexpr int jobs = 8;
    for (std::int64_t i = 0; i < kills; ++i) {
        FaultRow::Trial trial(row);
        mp::RawArray<int> runs(jobs);
        mp::Lock lock;
        Process first([] {});
        first.start();
        first.join();
        const pid_t zygote = mp::detail::forkserver_pid();
        ASSERT_GT(zygote, 0);
        const std::uint64_t after_us = random.below(3'000);
        threading::Thread killer([zygote, after_us] {
            os::poll_fds({}, std::chrono::microseconds(after_us));
            ::kill(zygote, SIGKILL); // layers: allow kill by pid: it was a child of ours a moment ago
        });
        killer.start();
        std::vector<Process> all;
        for (int n = 0; n < jobs; ++n)
            all.emplace_back(
                [](const mp::RawArray<int>& counts, mp::Lock guard, int which) {
                    const std::scoped_lock held(guard);
                    ++counts[static_cast<std::size_t>(which)];
                    std::exit(which + 10);
                },
                runs, lock, n);
        for (Process& p : all) p.start();
        for (int n = 0; n < jobs; ++n) {
            Process& p = all[static_cast<std::size_t>(n)];
            ASSERT_TRUE(p.join(30s));
            EXPECT_EQ(p.exitcode(), n + 10);
            EXPECT_EQ(runs[static_cast<std::size_t>(n)], 1);
        }
        killer.join();
        trial.injected = 1;
    }
}

#if defined(SENNIT_FAULT_POINTS)
class F9Process : public ProcessTest {};

// P22: a refused start says so, leaves nothing, and the same call works once there is room.
TEST_F(F9Process, that_the_system_refuses_can_be_started_when_there_is_room) {
    FaultRow row("F9");
    const std::int64_t rounds = by_tier(2, 20, 60);
    struct Case {
        mp::StartMethod method;
        const char* faults;
        bool in_zygote;
    };
    for (std::int64_t i = 0; i < rounds; ++i) {
        for (const Case& it : {Case{mp::StartMethod::fork, "fork.child=fail:EAGAIN@1", false},
                               Case{mp::StartMethod::spawn, "spawn.clone=fail:EAGAIN@1", false},
                               Case{mp::StartMethod::forkserver, "spawn.clone=fail:ENOMEM@1", false},
                               Case{mp::StartMethod::forkserver, "zygote.clone=fail:EAGAIN@1", true}}) {
            SCOPED_TRACE(it.faults);
            FaultRow::Trial trial(row);
            mp::detail::stop_forkserver();
            if (it.in_zygote)
                ::setenv("SENNIT_FAULTS", it.faults, 1);
            else
                base::arm_faults(it.faults);
            ProcessOptions options;
            options.context = it.method;
            Process p(options, [] { std::exit(21); });
            EXPECT_THROW(p.start(), OSError);
            trial.injected = 1;
            base::disarm_faults();
            ::unsetenv("SENNIT_FAULTS");
            EXPECT_FALSE(p.is_alive());
            EXPECT_TRUE(mp::active_children().empty());
            p.start();
            ASSERT_TRUE(p.join(20s));
            EXPECT_EQ(p.exitcode(), 21);
        }
    }
}
#endif

} // namespace
} // namespace sennit::testing
