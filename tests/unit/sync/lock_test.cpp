#include <sennit/sync/lock.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include "support/test_loop.hpp"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

TEST(Lock, excludes_threads_and_coroutines_at_once) {
    constexpr int rounds = 20'000;
    sync::Lock lock;
    long counter = 0;
    TestLoop loop;
    loop.start();
    for (int c = 0; c < 2; ++c)
        loop.spawn([&]() -> Co<> {
            for (int i = 0; i < rounds; ++i) {
                auto guard = co_await lock.async_scoped_lock();
                ++counter;
            }
        });
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < rounds; ++i) {
                lock.acquire();
                ++counter;
                lock.release();
            }
        });
    for (auto& t : threads) t.join();
    loop.join();
    EXPECT_EQ(counter, 4L * rounds);
    EXPECT_FALSE(lock.locked());
}

TEST(Lock, release_when_free_is_a_usage_error) {
    sync::Lock lock;
    EXPECT_THROW(lock.release(), UsageError);
    EXPECT_TRUE(lock.acquire());
    lock.release();
    EXPECT_THROW(lock.release(), UsageError);
}

TEST(Lock, acquire_gives_false_at_the_deadline_and_leaves_no_trace) {
    sync::Lock lock;
    lock.acquire();
    EXPECT_FALSE(lock.acquire(true, 2ms));
    EXPECT_FALSE(lock.acquire(true, -1s));
    EXPECT_FALSE(lock.acquire(false));
    lock.release();
    EXPECT_TRUE(lock.acquire(false));
    lock.release();
}

TEST(Condition, wakes_threads_and_coroutines) {
    sync::Condition changed;
    int state = 0;
    TestLoop loop;
    loop.start();
    int seen_by_coroutine = 0, seen_by_thread = 0;
    loop.spawn([&]() -> Co<> {
        auto guard = co_await changed.async_scoped_lock();
        co_await changed.async_wait_for([&] { return state == 1; });
        seen_by_coroutine = state;
    });
    std::thread t([&] {
        std::unique_lock guard(changed);
        changed.wait_for([&] { return state == 1; });
        seen_by_thread = state;
    });
    testing::wait_until_parked(2);
    {
        std::unique_lock guard(changed);
        changed.notify_all(); // too early: nobody may go
    }
    testing::wait_until_parked(2);
    {
        std::unique_lock guard(changed);
        state = 1;
        changed.notify_all();
    }
    t.join();
    loop.join();
    EXPECT_EQ(seen_by_coroutine, 1);
    EXPECT_EQ(seen_by_thread, 1);
}

TEST(Lock, a_cancelled_coroutine_leaves_the_queue) {
    sync::Lock lock;
    lock.acquire();
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> { co_await lock.async_acquire(); });
    testing::wait_until_parked(task);
    task.cancel();
    EXPECT_TRUE(task.done().wait(10s));
    EXPECT_TRUE(task.was_cancelled());
    lock.release();
    EXPECT_TRUE(lock.acquire(false));
    lock.release();
    loop.join();
}

TEST(Barrier, mixes_threads_and_coroutines_for_many_rounds) {
    constexpr int rounds = 2'000;
    sync::Barrier barrier(4);
    std::atomic<long> sum{0};
    TestLoop loop;
    loop.start();
    for (int c = 0; c < 2; ++c)
        loop.spawn([&]() -> Co<> {
            for (int i = 0; i < rounds; ++i) sum += co_await barrier.async_wait();
        });
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < rounds; ++i) sum += barrier.wait();
        });
    for (auto& t : threads) t.join();
    loop.join();
    EXPECT_EQ(sum.load(), 6L * rounds);
}

TEST(Semaphore, never_lets_more_in_than_permits) {
    sync::BoundedSemaphore permits(2);
    std::atomic<int> inside{0}, most{0};
    TestLoop loop;
    loop.start();
    const auto visit = [&] {
        int now = ++inside;
        int before = most.load();
        while (before < now && !most.compare_exchange_weak(before, now)) {}
        --inside;
    };
    for (int c = 0; c < 2; ++c)
        loop.spawn([&]() -> Co<> {
            for (int i = 0; i < 5'000; ++i) {
                co_await permits.async_acquire();
                visit();
                permits.release();
            }
        });
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 5'000; ++i) {
                permits.acquire();
                visit();
                permits.release();
            }
        });
    for (auto& t : threads) t.join();
    loop.join();
    EXPECT_LE(most.load(), 2);
    EXPECT_EQ(permits.value(), 2);
    EXPECT_THROW(permits.release(), UsageError);
}

} // namespace
} // namespace sennit
