// One object of each kind, contended by threads and coroutines at once for a million operations; counts must be exact. Under
// ThreadSanitizer this also shows that the primitives order what they guard.
#include <sennit/sync.hpp>

#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <mutex>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using testing::Co;
using testing::TestLoop;

constexpr int threads = 2, coroutines_per_loop = 2, loops = 2;
constexpr int agents = threads + coroutines_per_loop * loops;
// A million in all, but in the first tier, where the slow ones (a sleep and a wake-up each) do a tenth.
const bool whole = testing::fault_tier() >= 2;
constexpr long million = 1'000'000 / agents + 1;
const long slow_each = whole ? million : million / 10;

// Runs `thread_body(i)` on threads and `coroutine_body(i)` on two loops in two more threads, and waits for all.
template <class ThreadBody, class CoroutineBody>
void contend(ThreadBody thread_body, CoroutineBody coroutine_body) {
    sync::Barrier start(agents); // all at once, else the first ones are done before the last begin
    TestLoop loop[loops];
    int index = threads;
    for (TestLoop& l : loop) {
        l.start();
        for (int c = 0; c < coroutines_per_loop; ++c, ++index)
            l.spawn([&start, coroutine_body, index]() -> Co<> {
                co_await start.async_wait();
                co_await coroutine_body(index);
            });
    }
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&, t] {
            start.wait();
            thread_body(t);
        });
    for (auto& t : all) t.join();
    for (TestLoop& l : loop) {
        l.join();
        EXPECT_EQ(l.first_error(), nullptr);
    }
}

TEST(Million, lock) {
    sync::Lock lock;
    long counter = 0; // plain: only the lock orders it
    contend(
        [&](int) {
            for (long i = 0; i < million; ++i) {
                lock.acquire();
                ++counter;
                lock.release();
            }
        },
        [&](int) -> Co<> {
            for (long i = 0; i < million; ++i) {
                co_await lock.async_acquire();
                ++counter;
                lock.release();
            }
        });
    EXPECT_EQ(counter, million * agents);
    EXPECT_FALSE(lock.locked());
}

TEST(Million, rlock) {
    sync::RLock lock;
    long counter = 0;
    contend(
        [&](int) {
            for (long i = 0; i < million; i += 2) {
                std::scoped_lock outer(lock);
                std::scoped_lock inner(lock);
                ++counter;
            }
        },
        [&](int) -> Co<> {
            for (long i = 0; i < million; i += 2) {
                auto outer = co_await lock.async_scoped_lock();
                auto inner = co_await lock.async_scoped_lock();
                ++counter;
            }
        });
    EXPECT_EQ(counter, (million + 1) / 2 * agents);
    EXPECT_FALSE(lock.locked());
}

TEST(Million, semaphore) {
    sync::BoundedSemaphore permits(2);
    sync::Lock lock;
    long counter = 0;
    int inside = 0, most = 0;
    const auto enter = [&] {
        std::scoped_lock guard(lock);
        most = std::max(most, ++inside);
        ++counter;
    };
    const auto leave = [&] {
        std::scoped_lock guard(lock);
        --inside;
    };
    contend(
        [&](int) {
            for (long i = 0; i < slow_each; ++i) {
                permits.acquire();
                enter();
                leave();
                permits.release();
            }
        },
        [&](int) -> Co<> {
            for (long i = 0; i < slow_each; ++i) {
                co_await permits.async_acquire();
                {
                    auto guard = co_await lock.async_scoped_lock();
                    most = std::max(most, ++inside);
                    ++counter;
                }
                {
                    auto guard = co_await lock.async_scoped_lock();
                    --inside;
                }
                permits.release();
            }
        });
    EXPECT_EQ(counter, slow_each * agents);
    EXPECT_LE(most, 2);
    EXPECT_EQ(permits.value(), 2);
}

// A ring of events: agent i waits for event i and sets event i + 1. Each hand-over orders the plain counter.
TEST(Million, event) {
    sync::Event turn[agents];
    long counter = 0;
    turn[0].set();
    const auto pass = [&](int me) {
        turn[me].clear();
        ++counter;
        turn[(me + 1) % agents].set();
    };
    contend(
        [&](int me) {
            for (long i = 0; i < slow_each; ++i) {
                ASSERT_TRUE(turn[me].wait());
                pass(me);
            }
        },
        [&](int me) -> Co<> {
            for (long i = 0; i < slow_each; ++i) {
                EXPECT_TRUE(co_await turn[me].async_wait());
                pass(me);
            }
        });
    EXPECT_EQ(counter, slow_each * agents);
}

// Tokens that everybody puts and takes: who finds none waits.
TEST(Million, condition) {
    sync::Lock lock;
    sync::Condition changed(lock);
    int tokens = 3;
    long counter = 0;
    contend(
        [&](int) {
            for (long i = 0; i < million; ++i) {
                std::unique_lock guard(changed);
                changed.wait_for([&] { return tokens > 0; });
                --tokens;
                guard.unlock();
                guard.lock();
                ++tokens;
                ++counter;
                changed.notify();
            }
        },
        [&](int) -> Co<> {
            for (long i = 0; i < million; ++i) {
                {
                    auto guard = co_await changed.async_scoped_lock();
                    co_await changed.async_wait_for([&] { return tokens > 0; });
                    --tokens;
                }
                auto guard = co_await changed.async_scoped_lock();
                ++tokens;
                ++counter;
                changed.notify();
            }
        });
    EXPECT_EQ(counter, million * agents);
    EXPECT_EQ(tokens, 3);
}

TEST(Million, barrier) {
    long round = 0, sum[agents] = {};
    sync::Barrier barrier(agents, [&] { ++round; }); // by the last to come, before anybody goes on
    contend(
        [&](int me) {
            for (long i = 0; i < slow_each; ++i) {
                sum[me] += barrier.wait();
                ASSERT_GE(round, i + 1);
            }
        },
        [&](int me) -> Co<> {
            for (long i = 0; i < slow_each; ++i) {
                sum[me] += co_await barrier.async_wait();
                EXPECT_GE(round, i + 1);
            }
        });
    EXPECT_EQ(round, slow_each);
    long all = 0;
    for (long s : sum) all += s;
    EXPECT_EQ(all, slow_each * (agents * (agents - 1) / 2));
}

} // namespace
} // namespace sennit
