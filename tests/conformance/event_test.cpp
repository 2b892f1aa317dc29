// What Python's EventTests and asyncio's EventTests know, for every pair of who waits and who wakes. The table of cases is
// docs/conformance/sync.md.
#include "conformance.hpp"

#include <sennit/sync.hpp>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;

class Event : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(Event);

TEST_P(Event, is_set_between_set_and_clear_and_twice_is_as_once) {
    sync::Event event;
    const auto look = [&](bool expected) {
        stage.join(stage.waiter([&, expected](Actor& me) -> Co<> {
            EXPECT_EQ(event.is_set(), expected);
            const bool polled = co_await me.wait(event, 0s);
            EXPECT_EQ(polled, expected);
        }));
    };
    look(false);
    for (const bool up : {true, true, false, false}) {
        stage.wake([&, up](Actor&) -> Co<> {
            up ? event.set() : event.clear();
            co_return;
        });
        look(up);
    }
}

TEST_P(Event, set_releases_all_who_wait_again_and_again) {
    constexpr int n = 5;
    sync::Event event;
    for (int round = 0; round < 2; ++round) {
        Log<bool> first, second;
        for (int i = 0; i < n; ++i)
            stage.waiter([&](Actor& me) -> Co<> {
                first.add(co_await me.wait(event));
                second.add(co_await me.wait(event)); // does not wait: it is still set
            });
        wait_until_parked_on(&event, n);
        EXPECT_EQ(first.size(), 0U);
        stage.wake([&](Actor&) -> Co<> {
            event.set();
            co_return;
        });
        stage.join();
        EXPECT_EQ(first.list(), std::vector<bool>(n, true));
        EXPECT_EQ(second.list(), std::vector<bool>(n, true));
        event.clear();
    }
}

TEST_P(Event, a_set_before_the_wait_is_not_lost) {
    sync::Event event;
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        co_return;
    });
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (const Deadline d : {forever, Deadline(1h), Deadline(0s), Deadline(-1s)}) {
            const bool set = co_await me.wait(event, d);
            EXPECT_TRUE(set);
        }
    }));
}

TEST_P(Event, wait_gives_false_at_the_deadline_and_not_before) {
    sync::Event event;
    for (int i = 0; i < 3; ++i)
        stage.waiter([&](Actor& me) -> Co<> {
            const bool zero = co_await me.wait(event, 0.0s);
            EXPECT_FALSE(zero);
            const bool negative = co_await me.wait(event, -5s);
            EXPECT_FALSE(negative);
            const std::int64_t began = base::monotonic_ns();
            const bool set = co_await me.wait(event, 20ms);
            EXPECT_FALSE(set);
            EXPECT_GE(base::monotonic_ns() - began, 20'000'000);
        });
    stage.join();
    // Who timed out has left: set() does not meet him.
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        co_return;
    });
    EXPECT_TRUE(event.is_set());
}

TEST_P(Event, who_waited_at_the_set_gets_true_though_clear_follows_at_once) {
    constexpr int n = 5;
    sync::Event event;
    Log<bool> results;
    for (int i = 0; i < n; ++i) stage.waiter([&](Actor& me) -> Co<> { results.add(co_await me.wait(event, 1h)); });
    wait_until_parked_on(&event, n);
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        event.clear();
        co_return;
    });
    stage.join();
    EXPECT_EQ(results.list(), std::vector<bool>(n, true));
    EXPECT_FALSE(event.is_set());
}

TEST_P(Event, who_comes_after_the_clear_waits_for_the_next_set) {
    sync::Event event;
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        event.clear();
        co_return;
    });
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        const bool set = co_await me.wait(event);
        EXPECT_TRUE(set);
    });
    stage.parked(waiter, event);
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        event.set();
        co_return;
    });
    stage.join();
}

TEST_P(Event, a_cancelled_waiter_leaves_and_the_others_wait_on) {
    sync::Event event;
    const auto wait = [&](Actor& me) -> Co<> {
        const bool set = co_await me.wait(event);
        EXPECT_TRUE(set);
    };
    Actor& first = stage.waiter(wait);
    Actor& second = stage.waiter(wait);
    stage.parked(first, event);
    stage.parked(second, event);
    first.cancel();
    stage.join(first);
    EXPECT_TRUE(first.was_cancelled());
    stage.parked(second, event);
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        co_return;
    });
    stage.join();
    EXPECT_FALSE(second.was_cancelled());
}

TEST_P(Event, a_cancellation_after_the_set_comes_at_the_next_wait) {
    sync::Event event, never;
    std::atomic<bool> go{false};
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        while (!go) ::sched_yield(); // runs: the cancellation finds no wait
        const bool set = co_await me.wait(event);
        EXPECT_TRUE(set) << "does not wait, so it is not cancelled";
        co_await me.wait(never);
        ADD_FAILURE() << "the cancellation was lost";
    });
    event.set();
    waiter.cancel();
    go = true;
    stage.join();
    EXPECT_TRUE(waiter.was_cancelled());
}

TEST_P(Event, what_was_done_before_the_set_is_visible_after_the_wait) {
    for (int round = 0; round < 20; ++round) {
        sync::Event event;
        int value = 0; // plain: ThreadSanitizer sees an order that is missing
        stage.waiter([&](Actor& me) -> Co<> {
            co_await me.wait(event);
            EXPECT_EQ(value, 7);
        });
        stage.waker([&](Actor&) -> Co<> {
            value = 7;
            event.set();
            co_return;
        });
        stage.join();
    }
}

TEST_P(Event, a_signal_neither_ends_nor_prolongs_a_wait) {
    sync::Event event;
    Interrupter signals;
    std::atomic<pthread_t> thread{};
    std::atomic<bool> timed_out{false};
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        thread = ::pthread_self();
        const std::int64_t began = base::monotonic_ns();
        const bool early = co_await me.wait(event, 30ms);
        EXPECT_FALSE(early);
        EXPECT_GE(base::monotonic_ns() - began, 30'000'000);
        timed_out = true;
        const bool set = co_await me.wait(event);
        EXPECT_TRUE(set);
    });
    stage.parked(waiter, event);
    while (!timed_out) signals.interrupt(thread);
    for (int i = 0; i < 20; ++i) {
        stage.parked(waiter, event);
        signals.interrupt(thread);
    }
    EXPECT_FALSE(waiter.ended());
    stage.wake([&](Actor&) -> Co<> {
        event.set();
        co_return;
    });
    stage.join();
}

// Only coroutines of one loop run one after another, so that their order can be seen.
TEST(EventOrder, set_releases_the_oldest_first) {
    sync::Event event;
    Log<int> order;
    Stage stage(Pair{Kind::coroutine, Kind::thread, false});
    for (int i = 1; i <= 4; ++i) {
        Actor& waiter = stage.waiter([&, i](Actor& me) -> Co<> {
            co_await me.wait(event);
            order.add(i);
        });
        stage.parked(waiter, event);
    }
    event.set();
    stage.join();
    EXPECT_EQ(order.list(), (std::vector<int>{1, 2, 3, 4}));
}

TEST(EventAfterFork, reset_forgets_the_parents_waiters_and_keeps_the_flag) {
    sync::Event event;
    event.set();
    event.reset_after_fork();
    EXPECT_TRUE(event.is_set());
    EXPECT_TRUE(event.wait());
    event.clear();
    event.reset_after_fork();
    EXPECT_FALSE(event.wait(0s));
}

} // namespace
} // namespace sennit
