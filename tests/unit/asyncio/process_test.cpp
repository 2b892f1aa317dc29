// Child processes whose pipes are streams.
#include "support/cancel_everywhere.hpp"
#include "support/on_both_pollers.hpp"

#include <sennit/asyncio/process.hpp>
#include <sennit/os/spawn.hpp>
#include <sennit/subprocess/errors.hpp>

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using namespace subprocess;
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
