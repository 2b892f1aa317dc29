#include <sennit/futures/async_fork.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/sync/event.hpp>

#include "support/test_loop.hpp"

#include <atomic>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <vector>

namespace sennit::futures {
namespace {

using testing::Co;
using testing::TestLoop;

TEST(AsyncFork, each_twin_gives_what_the_call_gives) {
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    std::atomic<int> turns{0};
    int forked = 0, sum = 0, sum_of_range = 0;
    loop.spawn([&]() -> Co<void> {
        const auto [a, b] = co_await async_fork_join(pool, [](ForkScope& s) {
            return fork_join(
                s, [] { return 1; }, [] { return 2; });
        });
        forked = a + b;
        co_await async_parallel_for(pool, 0, 1000, [&](int) { ++turns; });
        std::vector<int> numbers(100, 2);
        co_await async_parallel_for(pool, numbers, [](int& x) { x *= 2; });
        sum = co_await async_parallel_reduce(pool, 0, 101, 0, std::plus<>());
        sum_of_range = co_await async_parallel_reduce(pool, numbers, 0, std::plus<>());
        co_await async_parallel_invoke(
            pool, [&] { turns += 1; }, [&](ForkScope&) { turns += 1; });
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
    EXPECT_EQ(forked, 3);
    EXPECT_EQ(turns, 1002);
    EXPECT_EQ(sum, 5050);
    EXPECT_EQ(sum_of_range, 400);
}

TEST(AsyncFork, the_loop_goes_on_meanwhile) {
    ThreadPoolExecutor pool(1);
    TestLoop loop;
    sync::Event other_ran;
    loop.spawn([&]() -> Co<void> { co_await async_parallel_for(pool, 0, 1, [&](int) { other_ran.wait(); }); });
    loop.spawn([&]() -> Co<void> {
        other_ran.set();
        co_return;
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
}

TEST(AsyncFork, what_a_turn_throws_comes_out_of_co_await) {
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    bool caught = false;
    loop.spawn([&]() -> Co<void> {
        try {
            co_await async_parallel_for(pool, 0, 100, [](int i) {
                if (i == 50) throw std::domain_error("turn");
            });
        } catch (const std::domain_error&) {
            caught = true;
        }
    });
    loop.run();
    EXPECT_TRUE(caught);
}

TEST(AsyncFork, a_cancelled_coroutine_leaves_when_nothing_of_the_call_runs_any_more) {
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    std::atomic<bool> begun{false};
    auto alive = std::make_unique<std::atomic<int>>(0);
    bool cancelled = false;
    auto& task = loop.spawn([&]() -> Co<void> {
        try {
            co_await async_parallel_for(pool, 0L, 1'000'000'000'000L, [&](long) {
                ++*alive;
                begun = true;
                --*alive;
            });
        } catch (const CancelledError&) {
            cancelled = true;
            EXPECT_EQ(*alive, 0);
        }
        alive.reset();
    });
    loop.start();
    while (!begun) std::this_thread::yield();
    task.cancel();
    loop.join();
    EXPECT_TRUE(cancelled);
}

TEST(AsyncFork, a_stop_of_its_own_ends_the_call) {
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    std::stop_source source;
    bool stopped = false;
    loop.spawn([&]() -> Co<void> {
        const ForkOptions options{.stop = source.get_token()}; // named: see async_fork_join
        try {
            co_await async_parallel_for(
                pool, 0L, 1'000'000'000'000L, [&](long) { source.request_stop(); }, options);
        } catch (const CancelledError&) {
            stopped = true;
        }
    });
    loop.run();
    EXPECT_TRUE(stopped);
}

TEST(AsyncFork, after_shutdown_it_throws) {
    ThreadPoolExecutor pool(2);
    pool.shutdown();
    TestLoop loop;
    bool refused = false;
    loop.spawn([&]() -> Co<void> {
        try {
            co_await async_parallel_for(pool, 0, 10, [](int) {});
        } catch (const UsageError&) {
            refused = true;
        }
    });
    loop.run();
    EXPECT_TRUE(refused);
}

} // namespace
} // namespace sennit::futures
