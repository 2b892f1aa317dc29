// Child processes whose pipes are streams.
#include "support/cancel_everywhere.hpp"
#include "support/on_both_pollers.hpp"

#include <sennit/asyncio/process.hpp>
#include <sennit/os/spawn.hpp>
#include <sennit/subprocess/errors.hpp>
#include <sennit/subprocess/popen.hpp>

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using namespace subprocess;
using sennit::subprocess::Popen;
using sennit::subprocess::TimeoutExpired;
using testing::cancel_everywhere;
using ::testing::HasSubstr;
using testing::on_both_pollers;

PopenOptions piped() {
    PopenOptions o;
    o.stdin_ = PIPE;
    o.stdout_ = PIPE;
    o.stderr_ = PIPE;
    return o;
}

TEST(Process, is_talked_with_by_streams) {
    on_both_pollers([]() -> Coro<> {
        const PopenOptions options = piped();
        Process cat = co_await create_subprocess_exec(options, "cat");
        EXPECT_GT(cat.pid(), 0);
        cat.stdin_().write("hello\n");
        EXPECT_EQ(co_await cat.stdout_().readline(), "hello\n");
        EXPECT_EQ(cat.returncode(), std::nullopt);
        cat.stdin_().close();
        EXPECT_EQ(co_await cat.stdout_().read(), "");
        EXPECT_EQ(co_await cat.wait(), 0);
        EXPECT_EQ(cat.returncode(), 0);
        Process plain = co_await create_subprocess_exec("sh", "-c", "exit 7");
        EXPECT_EQ(co_await plain.wait(), 7);
        EXPECT_THROW(plain.stdin_(), UsageError);
        Process killed = co_await create_subprocess_exec("sleep", "100");
        killed.kill();
        EXPECT_EQ(co_await killed.wait(), -SIGKILL);
        killed.terminate(); // it has ended: nothing
    });
}

TEST(Process, communicate_moves_much_both_ways_at_once) {
    on_both_pollers([]() -> Coro<> {
        const PopenOptions options = piped();
        Process both = co_await create_subprocess_shell(options, "tee /dev/stderr");
        const std::string much(2'000'000, 'c');
        auto output = co_await both.communicate(much);
        EXPECT_TRUE(output.std_out == much);
        EXPECT_TRUE(output.std_err == much);
        EXPECT_EQ(both.returncode(), 0);
        // A child that does not read its input is no error.
        Process deaf = co_await create_subprocess_exec(options, "true");
        auto nothing = co_await deaf.communicate(much);
        EXPECT_EQ(nothing.std_out, "");
    });
}

TEST(Process, communicate_that_is_late_or_cancelled_loses_no_byte) {
    on_both_pollers([]() -> Coro<> {
        const PopenOptions options = piped();
        Process slow = co_await create_subprocess_shell(options, "echo early; cat; echo late");
        std::string partial;
        try {
            while (partial.empty()) co_await slow.communicate("", 0s);
        } catch (const TimeoutExpired&) {}
        Process cat = co_await create_subprocess_exec(options, "sh", "-c", "echo early; read line; echo $line");
        auto line = co_await cat.stdout_().readline(); // so that it runs
        EXPECT_EQ(line, "early\n");
        bool late = false;
        try {
            co_await cat.wait(1ms);
        } catch (const TimeoutExpired& e) {
            late = true;
            EXPECT_THAT(e.what(), HasSubstr("sh -c"));
        }
        EXPECT_TRUE(late);
        auto waiting = create_task([&]() -> Coro<int> { co_return co_await cat.wait(); });
        co_await sleep(0s);
        waiting.cancel();
        co_await waiting.async_join();
        auto output = co_await cat.communicate("answer\n");
        EXPECT_EQ(output.std_out, "answer\n");
        slow.kill();
        co_await slow.wait();
    });
}

TEST(PopenAsync, communicate_moves_much_both_ways_at_once_and_lets_the_loop_run) {
    on_both_pollers([]() -> Coro<> {
        Popen cat({"cat"}, piped());
        const std::string much(3'000'000, 'x');
        int turns = 0;
        auto counts = create_task([&]() -> Coro<> {
            for (;; ++turns) co_await sleep(0s);
        });
        const auto output = co_await cat.async_communicate(much);
        EXPECT_EQ(output.std_out, much);
        EXPECT_EQ(output.std_err, "");
        EXPECT_EQ(cat.returncode(), 0);
        EXPECT_GT(turns, 0);
        counts.cancel();
        co_await counts.async_join();

        Popen errors({"sh", "-c", "echo out; echo err >&2; exit 3"}, piped());
        const auto both = co_await errors.async_communicate();
        EXPECT_EQ(both.std_out, "out\n");
        EXPECT_EQ(both.std_err, "err\n");
        EXPECT_EQ(co_await errors.async_wait(), 3);
        Popen no_input({"true"});
        EXPECT_THROW(co_await no_input.async_communicate("text"), UsageError);
        EXPECT_EQ(co_await no_input.async_wait(5s), 0);
    });
}

TEST(PopenAsync, late_or_cancelled_it_leaves_all_to_the_next_call) {
    on_both_pollers([]() -> Coro<> {
        Popen slow({"sh", "-c", "printf first; head -c 5 >&2; kill -STOP $$; printf second"}, piped());
        std::string input = "input and more"; // only of the first call
        Popen::Output output;
        for (int late = 0; late < 2;) {
            try {
                output = co_await slow.async_communicate(std::move(input), 50ms);
                EXPECT_GE(late, 1) << "it has waited for nothing";
                break;
            } catch (const TimeoutExpired& e) {
                EXPECT_THAT(e.std_out(), ::testing::AnyOf("", "first", "firstsecond"));
                late = 1;
            }
            input.clear();
            slow.send_signal(SIGCONT); // again and again: it may not have stopped yet
        }
        EXPECT_EQ(output.std_out, "firstsecond");
        EXPECT_EQ(output.std_err, "input");

        Popen sleeps({"sleep", "100"});
        EXPECT_THROW(co_await sleeps.async_wait(0s), TimeoutExpired);
        EXPECT_THROW(co_await sleeps.async_wait(10ms), TimeoutExpired);
        auto waits = create_task(sleeps.async_wait());
        auto also_waits = create_task(sleeps.async_wait());
        co_await sleep(0s);
        waits.cancel();
        EXPECT_THROW(co_await waits, CancelledError);
        sleeps.kill();
        EXPECT_EQ(co_await also_waits, -SIGKILL);
    });
}

TEST(PopenAsync, cancelled_at_any_suspension_it_loses_no_byte) {
    on_both_pollers([]() -> Coro<> {
        for (int turns = 0; turns < 12; ++turns) {
            Popen cat({"cat"}, piped());
            const std::string much(200'000, 'y');
            auto talks = create_task(cat.async_communicate(much));
            for (int i = 0; i < turns; ++i) co_await sleep(0s);
            talks.cancel();
            co_await talks.async_join();
            std::string out;
            if (talks.cancelled())
                out = (co_await cat.async_communicate()).std_out;
            else
                out = talks.result().std_out;
            EXPECT_EQ(out, much) << "cancelled after " << turns << " turns";
        }
    });
}

TEST(Process, that_can_not_be_started_leaves_nothing) {
    on_both_pollers([]() -> Coro<> {
        bool refused = false;
        try {
            const PopenOptions options = piped();
            co_await create_subprocess_exec(options, "/no/such/program");
        } catch (const OSError& e) {
            refused = true;
            EXPECT_THAT(e.what(), HasSubstr("/no/such/program"));
        }
        EXPECT_TRUE(refused);
    });
}

// A child that was dropped while it ran is reaped by a later start of one; here and now, once it has ended.
void reap() {
    siginfo_t info{};
    while (::waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0) os::reap_released();
}

TEST(Process, cancelled_at_any_suspension_leaves_nothing_behind) {
    const int suspensions = cancel_everywhere(
        []() -> Coro<> {
            const PopenOptions options = piped();
            Process cat = co_await create_subprocess_exec(options, "cat");
            struct Kill {
                Process& process;
                ~Kill() { process.kill(); }
            };
            const Kill kill{cat};
            cat.stdin_().write("hello\n");
            EXPECT_EQ(co_await cat.stdout_().readline(), "hello\n");
            const std::string much(300'000, 'c');
            auto output = co_await cat.communicate(much);
            EXPECT_EQ(output.std_out.size(), much.size());
        },
        reap);
    EXPECT_GE(suspensions, 2);
}

} // namespace
} // namespace sennit::asyncio
