// What Python's test_queue.py and asyncio's queue tests know, for threads and coroutines on both sides. The table of cases is
// docs/conformance/queue.md.
#include <sennit/queue.hpp>

#include "conformance.hpp"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;
using testing::wait_until_parked;

// An item whose move throws when told to.
struct Fragile {
    int value = 0;
    static inline int throw_in = -1; // moves from now
    explicit Fragile(int v) : value(v) {}
    Fragile(Fragile&& other) : value(other.value) {
        if (throw_in >= 0 && throw_in-- == 0) throw std::runtime_error("a move that throws");
    }
    Fragile& operator=(Fragile&&) = default;
};

template <class Q>
class AnyQueue : public ::testing::Test {};
using Kinds = ::testing::Types<queue::Queue<int>, queue::LifoQueue<int>, queue::PriorityQueue<int>>;
TYPED_TEST_SUITE(AnyQueue, Kinds);

TYPED_TEST(AnyQueue, tells_full_and_empty_and_throws_when_told_not_to_wait) {
    TypeParam q(2);
    EXPECT_TRUE(q.empty());
    EXPECT_EQ(q.maxsize(), 2);
    EXPECT_THROW(q.get_nowait(), queue::Empty);
    EXPECT_THROW(q.get(true, 1ms), queue::Empty);
    EXPECT_THROW(q.get(true, -1s), queue::Empty);
    EXPECT_EQ(q.try_get(), std::nullopt);
    q.put(1);
    q.put_nowait(2);
    EXPECT_TRUE(q.full());
    EXPECT_EQ(q.qsize(), 2U);
    EXPECT_THROW(q.put_nowait(3), queue::Full);
    EXPECT_THROW(q.put(3, true, 1ms), queue::Full);
    EXPECT_THROW(q.put(3, true, -1s), queue::Full);
    int item = 3;
    EXPECT_FALSE(q.try_put(item));
    EXPECT_EQ(item, 3);
    q.get();
    EXPECT_TRUE(q.try_put(item));
    q.get();
    q.get();
    EXPECT_TRUE(q.empty());
}

TYPED_TEST(AnyQueue, without_a_limit_takes_all) {
    for (std::int64_t maxsize : {0, -1, -10}) {
        TypeParam q(maxsize);
        for (int i = 0; i < 5'000; ++i) q.put(i);
        EXPECT_FALSE(q.full());
        EXPECT_EQ(q.maxsize(), 0);
        EXPECT_EQ(q.qsize(), 5'000U);
        long sum = 0;
        for (int i = 0; i < 5'000; ++i) sum += q.get();
        EXPECT_EQ(sum, 5'000L * 4'999 / 2);
    }
}

TYPED_TEST(AnyQueue, a_blocked_getter_is_woken_by_a_put_and_a_blocked_putter_by_a_get) {
    TypeParam q(1);
    int got = 0;
    std::thread getter([&] { got = q.get(); });
    wait_until_parked(1);
    q.put(7);
    getter.join();
    EXPECT_EQ(got, 7);
    q.put(1);
    std::thread putter([&] { q.put(2); });
    wait_until_parked(1);
    EXPECT_EQ(q.qsize(), 1U);
    EXPECT_EQ(q.get(), 1);
    putter.join();
    EXPECT_EQ(q.get(), 2);
}

TYPED_TEST(AnyQueue, join_waits_for_task_done_and_too_many_are_refused) {
    TypeParam q;
    EXPECT_TRUE(q.join());
    EXPECT_THROW(q.task_done(), UsageError);
    q.put(1);
    q.put(2);
    EXPECT_FALSE(q.join(1ms));
    bool joined = false;
    std::thread joiner([&] { joined = q.join(); });
    wait_until_parked(1);
    q.get();
    q.task_done();
    EXPECT_FALSE(q.join(1ms));
    q.get();
    q.task_done();
    joiner.join();
    EXPECT_TRUE(joined);
    EXPECT_THROW(q.task_done(), UsageError);
}

TYPED_TEST(AnyQueue, shutdown_lets_getters_drain_and_refuses_putters) {
    TypeParam q;
    q.put(1);
    q.put(2);
    q.shutdown();
    EXPECT_THROW(q.put(3), queue::ShutDown);
    EXPECT_THROW(q.put_nowait(3), queue::ShutDown);
    int item = 3;
    EXPECT_THROW(q.try_put(item), queue::ShutDown);
    q.get();
    EXPECT_FALSE(q.join(1ms)) << "the unfinished count stays";
    q.get();
    EXPECT_THROW(q.get(), queue::ShutDown);
    EXPECT_THROW(q.get_nowait(), queue::ShutDown);
    EXPECT_THROW(q.try_get(), queue::ShutDown);
    q.task_done();
    q.task_done();
    EXPECT_TRUE(q.join());
    q.shutdown(true);
    q.shutdown();
}

TYPED_TEST(AnyQueue, immediate_shutdown_drops_the_items_and_ends_join) {
    TypeParam q;
    for (int i = 0; i < 100; ++i) q.put(i);
    std::thread joiner([&] { EXPECT_TRUE(q.join()); });
    wait_until_parked(1);
    q.shutdown(true);
    joiner.join();
    EXPECT_EQ(q.qsize(), 0U);
    EXPECT_THROW(q.get(), queue::ShutDown);
    EXPECT_THROW(q.task_done(), UsageError);
}

TYPED_TEST(AnyQueue, shutdown_wakes_all_who_wait) {
    for (bool immediate : {false, true}) {
        TypeParam empty(1), full(1);
        full.put(1);
        TestLoop loop;
        loop.start();
        std::atomic<int> told{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([&] {
                try {
                    empty.get();
                } catch (const queue::ShutDown&) {
                    ++told;
                }
            });
            threads.emplace_back([&] {
                try {
                    full.put(2);
                } catch (const queue::ShutDown&) {
                    ++told;
                }
            });
            loop.spawn([&]() -> Co<> {
                try {
                    co_await empty.async_get();
                } catch (const queue::ShutDown&) {
                    ++told;
                }
            });
            loop.spawn([&]() -> Co<> {
                try {
                    co_await full.async_put(3);
                } catch (const queue::ShutDown&) {
                    ++told;
                }
            });
        }
        wait_until_parked(8);
        empty.shutdown(immediate);
        full.shutdown(immediate);
        for (auto& t : threads) t.join();
        loop.join();
        EXPECT_EQ(told.load(), 8);
        EXPECT_EQ(full.qsize(), immediate ? 0U : 1U);
    }
}

TYPED_TEST(AnyQueue, iteration_ends_when_shut_down_and_drained) {
    TypeParam q(4);
    std::thread writer([&] {
        for (int i = 0; i < 1'000; ++i) q.put(i);
        q.shutdown();
    });
    long sum = 0, count = 0;
    for (int& item : q) {
        sum += item;
        ++count;
    }
    writer.join();
    EXPECT_EQ(count, 1'000);
    EXPECT_EQ(sum, 999L * 1'000 / 2);
}

TYPED_TEST(AnyQueue, a_cancelled_getter_leaves_the_item_and_a_cancelled_putter_leaves_none) {
    TypeParam q(1);
    TestLoop loop;
    loop.start();
    auto& getter = loop.spawn([&]() -> Co<> { co_await q.async_get(); });
    wait_until_parked(getter);
    getter.cancel();
    ASSERT_TRUE(getter.done().wait(30s));
    EXPECT_TRUE(getter.was_cancelled());
    q.put(1);
    EXPECT_EQ(q.qsize(), 1U);
    auto& putter = loop.spawn([&]() -> Co<> { co_await q.async_put(2); });
    int second = 0;
    wait_until_parked(putter);
    auto& next = loop.spawn([&]() -> Co<> {
        co_await q.async_put(3);
        second = 3;
    });
    wait_until_parked(next);
    putter.cancel();
    ASSERT_TRUE(putter.done().wait(30s));
    EXPECT_TRUE(putter.was_cancelled());
    EXPECT_EQ(q.get(), 1);
    EXPECT_EQ(q.get(), 3) << "the next putter was woken";
    ASSERT_TRUE(next.done().wait(30s));
    EXPECT_EQ(second, 3);
    EXPECT_TRUE(q.empty());
    loop.join();
}

TYPED_TEST(AnyQueue, immediate_shutdown_leaves_what_was_taken_unfinished) {
    TypeParam q;
    q.put(1);
    q.put(2);
    q.get();
    q.shutdown(true);
    EXPECT_EQ(q.qsize(), 0U);
    EXPECT_FALSE(q.join(1ms)) << "one was taken and is not done";
    q.task_done();
    EXPECT_TRUE(q.join());
    EXPECT_THROW(q.task_done(), UsageError);
}

TYPED_TEST(AnyQueue, join_ends_when_the_last_item_taken_after_the_shutdown_is_done) {
    TypeParam q(2);
    q.put(1);
    q.put(2);
    std::atomic<int> told{0};
    std::thread putter([&] { EXPECT_THROW(q.put(3), queue::ShutDown); });
    std::thread joiner([&] {
        EXPECT_TRUE(q.join());
        EXPECT_EQ(told, 2);
    });
    wait_until_parked(2);
    q.shutdown();
    putter.join();
    for (int i = 0; i < 2; ++i) {
        q.get();
        ++told;
        q.task_done();
    }
    joiner.join();
    EXPECT_THROW(q.get(true, 1s), queue::ShutDown);
}

// Items that a waiter was woken for and that it may be cancelled before it takes.
class QueueOfPairs : public testing::AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(QueueOfPairs);

TEST_P(QueueOfPairs, a_getter_cancelled_after_the_put_has_the_item_or_leaves_it) {
    for (int readers = 1; readers <= 3; readers += 2) {
        queue::Queue<int> q;
        testing::Log<int> got;
        std::vector<testing::Actor*> all;
        for (int i = 0; i < readers; ++i) {
            all.push_back(&stage.waiter([&](testing::Actor& me) -> Co<> {
                got.add(co_await me.call([&] { return q.get(); }, [&] { return q.async_get(); }));
            }));
            wait_until_parked(all.back()->agent());
        }
        stage.wake([&](testing::Actor&) -> Co<> {
            q.put(1);
            q.put(2);
            all[0]->cancel();
            co_return;
        });
        stage.join(*all[0]);
        std::vector<int> expected{1, 2};
        if (!all[0]->was_cancelled()) { // it has an item, which one of the others waits for
            if (readers == 1) {
                EXPECT_EQ(got.list(), std::vector<int>{1});
            } else {
                expected.push_back(3);
                q.put(3);
            }
        }
        stage.join(); // what the cancelled one did not take is there: for the others, or in the queue
        auto items = got.list();
        while (auto left = q.try_get()) items.push_back(*left);
        std::sort(items.begin(), items.end());
        EXPECT_EQ(items, expected);
    }
}

TEST_P(QueueOfPairs, a_putter_cancelled_after_the_get_has_put_its_item_or_has_it_still) {
    queue::Queue<int> q(1);
    q.put(1);
    testing::Actor& writer = stage.waiter([&](testing::Actor& me) -> Co<> {
        if (me.is_coroutine())
            co_await q.async_put(2);
        else
            q.put(2);
    });
    wait_until_parked(writer.agent());
    stage.wake([&](testing::Actor&) -> Co<> {
        EXPECT_EQ(q.get_nowait(), 1);
        writer.cancel();
        co_return;
    });
    stage.join();
    if (writer.was_cancelled()) {
        EXPECT_EQ(q.qsize(), 0U);
        q.put_nowait(2); // there is room: again
    }
    EXPECT_EQ(q.get_nowait(), 2);
    EXPECT_TRUE(q.empty());
}

TEST_P(QueueOfPairs, more_items_than_room_pass_between_putters_and_getters) {
    for (const std::int64_t maxsize : {1, 2}) {
        constexpr int items = 50;
        queue::Queue<int> q(maxsize);
        testing::Log<int> got;
        stage.waiter([&](testing::Actor& me) -> Co<> {
            for (int i = 0; i < items; ++i)
                got.add(co_await me.call([&] { return q.get(); }, [&] { return q.async_get(); }));
        });
        stage.waker([&](testing::Actor& me) -> Co<> {
            for (int i = 0; i < items; ++i) {
                if (me.is_coroutine())
                    co_await q.async_put(i);
                else
                    q.put(i);
            }
        });
        stage.join();
        const auto list = got.list();
        EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
        EXPECT_EQ(list.size(), static_cast<std::size_t>(items));
    }
}

TEST(Queue, is_first_in_first_out) {
    queue::Queue<std::string> q;
    for (const char* s : {"a", "b", "c"}) q.put(s);
    const std::string first = q.get(), second = q.get(), third = q.get();
    EXPECT_EQ(first + second + third, "abc");
}

TEST(LifoQueue, is_last_in_first_out) {
    queue::LifoQueue<std::string> q;
    for (const char* s : {"a", "b", "c"}) q.put(s);
    const std::string first = q.get(), second = q.get(), third = q.get();
    EXPECT_EQ(first + second + third, "cba");
}

TEST(PriorityQueue, gives_the_smallest_first_and_equal_ones_in_order_of_insertion) {
    struct Job {
        int priority;
        char name;
        bool operator<(const Job& other) const { return priority < other.priority; }
    };
    queue::PriorityQueue<Job> q;
    for (Job j : {Job{2, 'c'}, Job{1, 'a'}, Job{2, 'd'}, Job{1, 'b'}, Job{2, 'e'}}) q.put(j);
    std::string order;
    while (!q.empty()) order += q.get().name;
    EXPECT_EQ(order, "abcde");
    queue::PriorityQueue<int, std::greater<int>> largest;
    for (int i : {3, 9, 1}) largest.put(i);
    EXPECT_EQ(largest.get(), 9);
}

TEST(Queue, holds_what_only_moves_and_what_has_no_default) {
    queue::Queue<std::unique_ptr<int>> q(1);
    q.put(std::make_unique<int>(5));
    EXPECT_EQ(*q.get(), 5);
    queue::Queue<Fragile> f;
    f.put(Fragile(4));
    EXPECT_EQ(f.get().value, 4);
}

TEST(Queue, a_move_that_throws_changes_nothing) {
    queue::Queue<Fragile> q;
    Fragile item(1);
    Fragile::throw_in = 0;
    EXPECT_THROW(q.try_put(item), std::runtime_error);
    Fragile::throw_in = -1;
    EXPECT_EQ(q.qsize(), 0U);
    EXPECT_TRUE(q.join()) << "what was not put is not unfinished";
    q.put(Fragile(2));
    Fragile::throw_in = 0;
    EXPECT_THROW(q.get(), std::runtime_error);
    Fragile::throw_in = -1;
    EXPECT_EQ(q.qsize(), 1U) << "what was not taken is still there";
    EXPECT_EQ(q.get().value, 2);
}

// A blocked put has moved its item already when it begins to wait.
TEST(Queue, a_move_that_throws_in_a_get_that_has_waited_leaves_the_item) {
    queue::Queue<Fragile> q(1);
    std::thread getter([&] { EXPECT_THROW(q.get(), std::runtime_error); });
    wait_until_parked(1);
    Fragile four(4);
    Fragile::throw_in = 1; // ours into the queue, then the getter's
    EXPECT_TRUE(q.try_put(four));
    getter.join();
    Fragile::throw_in = -1;
    EXPECT_EQ(q.qsize(), 1U);
    EXPECT_EQ(q.get().value, 4);
}

TEST(SimpleQueue, may_be_used_from_the_destructor_of_an_item) {
    struct Echo {
        queue::SimpleQueue<int>* to;
        explicit Echo(queue::SimpleQueue<int>* t) : to(t) {}
        Echo(Echo&& other) noexcept : to(std::exchange(other.to, nullptr)) {}
        ~Echo() {
            if (to) to->put(1);
        }
    };
    queue::SimpleQueue<int> echoes;
    queue::Queue<Echo> q;
    for (int i = 0; i < 3; ++i) q.put(Echo(&echoes));
    { Echo taken = q.get(); }
    q.shutdown(true); // drops two, outside of any lock
    EXPECT_EQ(echoes.qsize(), 3U);
}

TEST(SimpleQueue, puts_and_gets) {
    queue::SimpleQueue<int> q;
    EXPECT_THROW(q.get_nowait(), queue::Empty);
    EXPECT_THROW(q.get(true, 1ms), queue::Empty);
    for (int i = 0; i < 10; ++i) q.put(i);
    EXPECT_EQ(q.qsize(), 10U);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(q.get(), i);
    EXPECT_TRUE(q.empty());
}

TEST(Queue, waiters_are_served_first_come_first_served) {
    queue::Queue<int> q;
    TestLoop loop;
    loop.start();
    std::atomic<int> got[3] = {-1, -1, -1};
    for (int i = 0; i < 3; ++i) {
        auto& t = loop.spawn([&, i]() -> Co<> { got[i] = co_await q.async_get(); });
        wait_until_parked(t);
    }
    for (int i = 0; i < 3; ++i) {
        q.put(i);
        const Deadline limit(30s);
        while (got[i] != i && !limit.has_passed()) std::this_thread::yield();
    }
    loop.join();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(got[i], i);
}

TEST(Queue, async_twins_time_out_as_the_blocking_ones) {
    queue::Queue<int> q(1);
    TestLoop loop;
    int empty = 0, full = 0, joined = 2;
    loop.spawn([&]() -> Co<> {
        try {
            co_await q.async_get(2ms);
        } catch (const queue::Empty&) {
            ++empty;
        }
        try {
            co_await q.async_get(false);
        } catch (const queue::Empty&) {
            ++empty;
        }
        co_await q.async_put(1);
        try {
            co_await q.async_put(2, 2ms);
        } catch (const queue::Full&) {
            ++full;
        }
        joined = co_await q.async_join(2ms);
        co_await q.async_get();
        q.task_done();
        joined += 2 * co_await q.async_join();
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
    EXPECT_EQ(empty, 2);
    EXPECT_EQ(full, 1);
    EXPECT_EQ(joined, 2);
}

} // namespace
} // namespace sennit
