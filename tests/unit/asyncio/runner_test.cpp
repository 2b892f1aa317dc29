#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/sync.hpp>
#include <sennit/wait/registry.hpp>

#include <csignal>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

Coro<int> number(int n) {
    co_await sleep(0s);
    co_return n;
}

TEST(Runner, runs_one_coroutine_after_the_other_on_one_loop) {
    Runner runner({.debug = true});
    EXPECT_TRUE(runner.get_loop().get_debug());
    EXPECT_EQ(runner.run(number(1)), 1);
    EXPECT_EQ(runner.run([&]() -> Coro<int> {
        EXPECT_EQ(&EventLoop::running(), &runner.get_loop());
        EXPECT_THROW(run(number(3)), UsageError); // a loop runs here already
        co_return co_await number(2);
    }),
              2);
    runner.close();
    runner.close();
    EXPECT_THROW(runner.get_loop(), UsageError);
}

TEST(Runner, a_loop_that_is_stopped_before_the_end_is_told) {
    EventLoop loop;
    EXPECT_THROW(loop.run_until_complete([]() -> Coro<> {
        EventLoop::running().stop();
        co_await sleep(1h);
    }()),
                 UsageError);
    loop.set_exception_handler([](EventLoop&, const loop::ExceptionContext&) {});
}

TEST(Runner, an_interrupt_cancels_the_main_coroutine_and_run_throws_it) {
    const auto interrupted = [](bool swallow) {
        return [swallow]() -> Coro<int> {
            ::raise(SIGINT);
            try {
                co_await sleep(1h);
            } catch (const CancelledError&) {
                if (!swallow) throw;
            }
            co_return 7;
        };
    };
    ASSERT_TRUE(os::is_default(SIGINT));
    EXPECT_THROW(run(interrupted(false)), KeyboardInterrupt);
    EXPECT_TRUE(os::is_default(SIGINT));
    EXPECT_EQ(run(interrupted(true)), 7);
    // Cancelled for another reason: that goes out.
    EXPECT_THROW(run([]() -> Coro<> {
                     current_task().cancel();
                     co_await sleep(0s);
                 }),
                 CancelledError);
}

TEST(Runner, a_second_interrupt_ends_the_process_at_once) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::signal(SIGINT, SIG_DFL); // ignored in what a shell runs in the background
        run([]() -> Coro<> {
            ::raise(SIGINT);
            try {
                co_await sleep(1h);
            } catch (const CancelledError&) {
                ::raise(SIGINT);
            }
            ::_exit(1);
        });
        ::_exit(2);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
}

TEST(Runner, tasks_of_two_loops_in_two_threads_exchange_by_primitives_and_are_cancelled_from_each_other) {
    sync::Lock lock;
    sync::Condition changed(lock);
    int turn = 0, most = 400; // guarded by lock
    auto play = [&](int me) -> Coro<> {
        for (;;) {
            auto guard = co_await lock.async_scoped_lock();
            while (turn < most && turn % 2 != me) co_await changed.async_wait();
            if (turn < most) ++turn;
            changed.notify_all();
            if (turn >= most) break;
        }
    };
    TaskRef sleeper;
    sync::Event there;
    std::thread other([&] {
        run([&]() -> Coro<> {
            auto t = create_task([]() -> Coro<> { co_await sleep(forever); });
            sleeper = t;
            there.set();
            co_await play(1);
            co_await t.async_join();
            EXPECT_TRUE(t.cancelled());
        });
    });
    run([&]() -> Coro<> {
        co_await there.async_wait();
        co_await play(0);
        sleeper.cancel();
        sleeper = {};
    });
    other.join();
    EXPECT_EQ(turn, most);
}

} // namespace
} // namespace sennit::asyncio
