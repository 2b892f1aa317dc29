// Between loops and threads: to_thread, run_coroutine_threadsafe, LoopExecutor, awaiting what another loop does.
#include <sennit/asyncio.hpp>
#include <sennit/futures.hpp>
#include <sennit/threading.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

/// A loop that runs on a thread of its own.
class LoopThread {
  public:
    LoopThread() : thread_([this] { loop.run_forever(); }) { thread_.start(); }
    ~LoopThread() {
        loop.stop();
        thread_.join();
    }
    EventLoop loop;

  private:
    threading::Thread thread_;
};

Coro<int> twice(int n) {
    co_await sleep(0s);
    if (n < 0) throw std::runtime_error("negative");
    co_return 2 * n;
}

TEST(RunInExecutor, takes_threads_processes_and_the_loops_own_helpers) {
    run([]() -> Coro<> {
        EXPECT_EQ(&get_running_loop(), &EventLoop::running());
        futures::ThreadPoolExecutor threads(1);
        futures::ProcessPoolExecutor processes(1);
        const auto add = [](int a, int b) { return a + b; };
        EXPECT_EQ(co_await run_in_executor(threads, add, 1, 2), 3);
        EXPECT_EQ(co_await run_in_executor(processes, add, 3, 4), 7);
        EXPECT_EQ(co_await run_in_executor(nullptr, add, 5, 6), 11);
        EXPECT_EQ(co_await get_running_loop().run_in_executor(processes, add, 7, 8), 15);
        bool caught = false;
        try {
            co_await run_in_executor(processes, [] { throw std::out_of_range("there"); });
        } catch (const std::out_of_range&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
    EXPECT_THROW(get_running_loop(), UsageError);
}

TEST(ToThread, runs_beside_the_loop_and_gives_value_or_error) {
    run([]() -> Coro<> {
        const auto loop_thread = threading::get_ident();
        Event turned;
        Task<> other = create_task([&]() -> Coro<> {
            turned.set();
            co_return;
        });
        const std::string text = co_await to_thread(
            [&](std::string a, std::unique_ptr<int> n) {
                EXPECT_NE(threading::get_ident(), loop_thread);
                turned.wait(); // the loop goes on meanwhile
                return a + std::to_string(*n);
            },
            "x", std::make_unique<int>(1));
        EXPECT_EQ(text, "x1");
        bool caught = false;
        try {
            co_await to_thread([] { throw std::runtime_error("in the thread"); });
        } catch (const std::runtime_error&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
    });
}

TEST(ToThread, a_cancelled_await_drops_the_result_and_the_call_sees_its_stop_token) {
    Event stopped;
    run([&]() -> Coro<> {
        Event begun;
        Task<> task = create_task([&]() -> Coro<> {
            co_await to_thread([&](std::stop_token stop) {
                begun.set();
                Event woken;
                const std::stop_callback on_stop(stop, [&] { woken.set(); });
                woken.wait();
                stopped.set();
            });
        });
        co_await begun.async_wait();
        task.cancel();
        co_await wait(task);
        EXPECT_TRUE(task.cancelled());
        co_await stopped.async_wait();
    });
    EXPECT_TRUE(stopped.is_set());
}

TEST(RunCoroutineThreadsafe, gives_the_result_to_another_thread_and_cancels_the_task_with_the_future) {
    LoopThread other;
    EXPECT_EQ(run_coroutine_threadsafe(twice(21), other.loop).result(), 42);
    EXPECT_THROW(run_coroutine_threadsafe(twice(-1), other.loop).result(), std::runtime_error);
    Event begun, ended;
    auto future = run_coroutine_threadsafe(
        [&]() -> Coro<> {
            struct AtEnd {
                Event& e;
                ~AtEnd() { e.set(); }
            } at_end{ended};
            begun.set();
            co_await sleep(forever);
        },
        other.loop);
    begun.wait();
    EXPECT_TRUE(future.cancel());
    ended.wait();
    EXPECT_THROW(future.result(), CancelledError);
}

TEST(RunCoroutineThreadsafe, is_cancelled_when_the_loop_closes_before_it_began) {
    Future<int> future;
    {
        EventLoop loop;
        future = run_coroutine_threadsafe(twice(1), loop);
    }
    EXPECT_TRUE(future.cancelled());
}

TEST(Tasks, of_another_loop_can_be_awaited_gathered_and_cancelled) {
    LoopThread other;
    Task<int> far;
    Task<> endless;
    run_coroutine_threadsafe(
        [&]() -> Coro<> {
            far = create_task(twice(5));
            endless = create_task([]() -> Coro<> { co_await sleep(forever); });
            co_return;
        },
        other.loop)
        .result();
    run([&]() -> Coro<> {
        EXPECT_EQ(co_await far, 10);
        auto [a, b] = co_await gather(far, twice(2));
        EXPECT_EQ(a + b, 14);
        bool timed_out = false;
        try {
            co_await wait_for(endless, 1ms);
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        EXPECT_TRUE(timed_out);
        EXPECT_TRUE(endless.cancelled()); // and its end was waited for, on its loop
    });
}

TEST(LoopExecutor, calls_what_any_thread_submits_in_its_order_on_the_loop) {
    LoopThread other;
    const auto loop_thread =
        run_coroutine_threadsafe([]() -> Coro<std::uint64_t> { co_return threading::get_ident(); }, other.loop)
            .result();
    LoopExecutor executor(other.loop);
    std::vector<int> order;
    std::vector<Future<int>> futures;
    for (int i = 0; i < 100; ++i)
        futures.push_back(executor.submit([&, i] {
            EXPECT_EQ(threading::get_ident(), loop_thread);
            order.push_back(i);
            return i;
        }));
    for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].result(), i);
    EXPECT_EQ(order.size(), 100u);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_THROW(executor.submit([] { throw std::logic_error("x"); }).result(), std::logic_error);
    int sum = 0;
    for (const int n : executor.map([](int i) { return i * i; }, std::vector<int>{1, 2, 3})) sum += n;
    EXPECT_EQ(sum, 14);
    executor.shutdown();
    EXPECT_THROW(executor.submit([] {}), UsageError);
}

TEST(LoopExecutor, cancels_what_has_not_begun_when_told_and_when_the_loop_closes) {
    Future<void> dropped, cancelled;
    {
        EventLoop loop;
        LoopExecutor first(loop), second(loop);
        cancelled = first.submit([] {});
        first.shutdown({.wait = true, .cancel_futures = true});
        EXPECT_TRUE(cancelled.cancelled());
        dropped = second.submit([] {});
        loop.close();
        EXPECT_TRUE(dropped.cancelled());
        EXPECT_THROW(second.submit([] {}), UsageError);
    }
}

} // namespace
} // namespace sennit::asyncio
