// Each scope, cancelled at its 1st, 2nd, … suspension: nothing leaks, nothing hangs, and no child outlives it.
#include <sennit/asyncio.hpp>

#include "support/cancel_everywhere.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using testing::cancel_everywhere;

struct Inside {
    explicit Inside(int& n) : count(n) { ++count; }
    ~Inside() { --count; }
    int& count;
};
Coro<int> child(int& inside, Lock& lock) {
    const Inside in(inside);
    co_await sleep(1us);
    const auto guard = co_await lock.async_scoped_lock();
    co_await sleep(1us);
    co_return 1;
}

TEST(CancelledEverywhere, gather_and_its_children) {
    int inside = 0;
    Lock lock;
    const int n = cancel_everywhere(
        [&]() -> Coro<> {
            co_await sleep(1us);
            co_await gather(child(inside, lock), child(inside, lock));
            EXPECT_EQ(inside, 0);
            co_await gather(child(inside, lock), child(inside, lock), {.return_exceptions = true});
        },
        [&] {
            EXPECT_EQ(inside, 0);
            EXPECT_FALSE(lock.locked());
        });
    EXPECT_GE(n, 2);
}

TEST(CancelledEverywhere, groups_within_a_group_and_a_time_limit) {
    int inside = 0, left = 0;
    Lock lock;
    const int n = cancel_everywhere(
        [&]() -> Coro<> {
            const Inside around(left);
            co_await timeout(1h, [&]() -> Coro<> {
                co_await TaskGroup::run([&](TaskGroup& outer) -> Coro<> {
                    outer.create_task(child(inside, lock));
                    co_await TaskGroup::run([&](TaskGroup& inner) -> Coro<> {
                        inner.create_task(child(inside, lock));
                        co_await sleep(1us);
                        outer.create_task(child(inside, lock));
                    });
                    co_await sleep(1us);
                });
                EXPECT_EQ(inside, 0);
            });
        },
        [&] {
            EXPECT_EQ(inside + left, 0);
            EXPECT_FALSE(lock.locked());
        });
    EXPECT_GE(n, 2);
}

TEST(CancelledEverywhere, wait_for_wait_as_completed_and_shield) {
    int inside = 0;
    Lock lock;
    const int n = cancel_everywhere(
        [&]() -> Coro<> {
            co_await wait_for(child(inside, lock), 1h);
            Task<int> task = create_task(child(inside, lock));
            co_await wait_for(task, 1h);
            std::vector<Task<int>> tasks;
            for (int i = 0; i < 2; ++i) tasks.push_back(create_task(child(inside, lock)));
            co_await wait(tasks, {.return_when = FIRST_COMPLETED});
            for (auto&& next : as_completed(tasks)) EXPECT_EQ(co_await next, 1);
            co_await shield(child(inside, lock));
        },
        [&] {
            EXPECT_EQ(inside, 0);
            EXPECT_FALSE(lock.locked());
        });
    EXPECT_GE(n, 4);
}

TEST(CancelledEverywhere, generators_and_threads) {
    int inside = 0;
    const int n = cancel_everywhere(
        [&]() -> Coro<> {
            auto numbers = [](int& in) -> AsyncGenerator<int> {
                const Inside counted(in);
                for (int i = 0; i < 3; ++i) {
                    co_await sleep(1us);
                    co_yield i;
                }
            }(inside);
            while (auto i = co_await numbers.async_next())
                EXPECT_EQ(co_await to_thread([](int k) { return k; }, *i), *i);
        },
        [&] { EXPECT_EQ(inside, 0); });
    EXPECT_GE(n, 2);
}

} // namespace
} // namespace sennit::asyncio
