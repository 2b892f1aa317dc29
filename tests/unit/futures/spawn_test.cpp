#include <sennit/asyncio.hpp>
#include <sennit/futures.hpp>
#include <sennit/futures/spawn.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit::futures {
namespace {

using namespace std::chrono_literals;
using asyncio::Coro;
using asyncio::sleep;

Coro<int> add_up(asyncio::Queue<int>& queue) {
    int sum = 0;
    for (int n; (n = co_await queue.async_get()) >= 0;) sum += n;
    co_return sum;
}

TEST(Spawn, runs_coroutines_on_the_workers_with_the_same_primitives_as_everybody) {
    ThreadPoolExecutor pool(2);
    asyncio::Queue<int> queue(2);
    Future<int> sum = spawn(pool, add_up(queue));
    Future<void> fill = spawn(pool, [&]() -> Coro<> {
        for (int i = 1; i <= 100; ++i) co_await queue.async_put(i);
        co_await queue.async_put(-1);
    });
    EXPECT_EQ(sum.result(), 5050);
    fill.result();
}

TEST(Spawn, who_waits_takes_no_worker) {
    ThreadPoolExecutor pool(1);
    asyncio::Event event;
    std::vector<Future<int>> all;
    for (int i = 0; i < 50; ++i)
        all.push_back(spawn(pool, [&event, i]() -> Coro<int> {
            co_await event.async_wait();
            co_return i;
        }));
    EXPECT_EQ(pool.submit([] { return 7; }).result(), 7); // the one worker is free
    event.set();
    for (int i = 0; i < 50; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].result(), i);
}

TEST(Spawn, waits_end_at_their_deadlines_and_sleep_sleeps) {
    ThreadPoolExecutor pool(2);
    asyncio::Event never;
    EXPECT_FALSE(spawn(pool, [&]() -> Coro<bool> { co_return co_await never.async_wait(2ms); }).result());
    const auto begin = std::chrono::steady_clock::now();
    spawn(pool, []() -> Coro<> {
        co_await sleep(3ms);
        co_await sleep(0s);
        co_await sleep(2ms);
    }).result();
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 5ms);
}

TEST(Spawn, exclude_each_other_by_a_lock_while_they_move_from_worker_to_worker) {
    ThreadPoolExecutor pool(4);
    asyncio::Lock lock;
    int plain = 0;
    std::vector<Future<void>> all;
    for (int i = 0; i < 20; ++i)
        all.push_back(spawn(pool, [&]() -> Coro<> {
            for (int k = 0; k < 200; ++k) {
                const auto guard = co_await lock.async_scoped_lock();
                ++plain;
            }
        }));
    for (auto& f : all) f.result();
    EXPECT_EQ(plain, 4000);
}

TEST(Spawn, an_error_is_in_the_future_and_cancelling_that_cancels_the_coroutine) {
    ThreadPoolExecutor pool(2);
    EXPECT_THROW(spawn(pool,
                       []() -> Coro<int> {
                           co_await sleep(1ms);
                           throw std::runtime_error("x");
                       })
                     .result(),
                 std::runtime_error);
    asyncio::Event begun, ended;
    Future<void> waits = spawn(pool, [&]() -> Coro<> {
        struct AtEnd {
            asyncio::Event& e;
            ~AtEnd() { e.set(); }
        } at_end{ended};
        begun.set();
        co_await sleep(forever);
    });
    begun.wait();
    EXPECT_TRUE(waits.cancel());
    ended.wait();
    EXPECT_THROW(waits.result(), CancelledError);
}

TEST(Spawn, of_a_pool_that_was_shut_down_are_cancelled_when_they_would_go_on) {
    ThreadPoolExecutor pool(1);
    asyncio::Event begun, go;
    std::atomic<bool> cancelled{false};
    Future<void> waits = spawn(pool, [&]() -> Coro<> {
        begun.set();
        co_await go.async_wait();
        try {
            co_await sleep(forever);
        } catch (const CancelledError&) {
            cancelled = true;
            throw;
        }
    });
    begun.wait();
    pool.shutdown();
    go.set();
    EXPECT_THROW(waits.result(), CancelledError);
    EXPECT_TRUE(cancelled);
    EXPECT_THROW(spawn(pool, []() -> Coro<> { co_return; }), UsageError);
}

} // namespace
} // namespace sennit::futures
