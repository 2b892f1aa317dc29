// What Python's ConditionTests and asyncio's ConditionTests know, for every pair of who waits and who wakes. The table of cases
// is docs/conformance/sync.md.
#include "conformance.hpp"

#include <sennit/sync.hpp>

#include <mutex>
#include <stdexcept>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;

class Condition : public AgentPairTest {
  protected:
    // Notifies under the lock, by the waker.
    void notify(sync::Condition& condition, std::size_t n = 1) {
        stage.wake([&, n](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            condition.notify(n);
            condition.release();
        });
    }
    void notify_all(sync::Condition& condition) { notify(condition, static_cast<std::size_t>(-1)); }
};
SENNIT_FOR_ALL_PAIRS(Condition);

TEST_P(Condition, has_a_recursive_lock_of_its_own_or_uses_a_given_one) {
    stage.join(stage.waiter([](Actor& me) -> Co<> {
        sync::Condition own;
        co_await me.acquire(own);
        const bool again = co_await me.acquire(own, false);
        EXPECT_TRUE(again);
        own.release();
        own.release();
        EXPECT_THROW(own.release(), UsageError);

        sync::Lock lock;
        sync::Condition given(lock);
        co_await me.acquire(given);
        EXPECT_TRUE(lock.locked());
        given.release();
        const bool free = co_await me.acquire(lock, false);
        EXPECT_TRUE(free);
        const bool taken = co_await me.acquire(given, false);
        EXPECT_FALSE(taken);
        lock.release();
        if (me.is_coroutine()) {
            auto guard = co_await given.async_scoped_lock();
            EXPECT_TRUE(lock.locked());
        } else {
            const std::scoped_lock guard(given);
            EXPECT_TRUE(lock.locked());
        }
        EXPECT_FALSE(lock.locked());
    }));
}

TEST_P(Condition, wait_and_notify_without_the_lock_are_refused) {
    sync::Lock lock;
    sync::RLock rlock;
    sync::Condition own, of_lock(lock), of_rlock(rlock);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (sync::Condition* c : {&own, &of_lock, &of_rlock}) {
            EXPECT_THROW(c->notify(), UsageError);
            EXPECT_THROW(c->notify_all(), UsageError);
            bool refused = false;
            try {
                co_await me.wait(*c);
            } catch (const UsageError&) {
                refused = true;
            }
            EXPECT_TRUE(refused);
            refused = false;
            try {
                co_await me.wait_for(*c, [] { return false; });
            } catch (const UsageError&) {
                refused = true;
            }
            EXPECT_TRUE(refused);
            const bool needed_no_wait = co_await me.wait_for(*c, [] { return true; });
            EXPECT_TRUE(needed_no_wait);
        }
    }));
}

TEST_P(Condition, notify_without_waiters_is_forgotten) {
    sync::Condition condition;
    notify(condition);
    notify_all(condition);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        const bool notified = co_await me.wait(condition, 5ms);
        EXPECT_FALSE(notified);
        condition.release();
    }));
}

TEST_P(Condition, notify_wakes_at_most_n_and_none_who_came_later) {
    constexpr std::size_t n = 5;
    sync::Condition condition;
    for (int round = 0; round < 2; ++round) {
        Log<int> first, second;
        std::atomic<int> phase{0};
        for (std::size_t i = 0; i < n; ++i)
            stage.waiter([&](Actor& me) -> Co<> {
                co_await me.acquire(condition);
                bool notified = co_await me.wait(condition);
                EXPECT_TRUE(notified);
                first.add(phase);
                notified = co_await me.wait(condition); // begins under the lock, so after the notify of its phase
                EXPECT_TRUE(notified);
                second.add(phase);
                condition.release();
            });
        wait_until_parked_on(&condition, n);
        EXPECT_EQ(first.size(), 0U);
        phase = 1;
        notify(condition, 3);
        first.wait_for_size(3);
        wait_until_parked_on(&condition, n); // three are in their second wait
        EXPECT_EQ(first.list(), (std::vector<int>{1, 1, 1}));
        EXPECT_EQ(second.size(), 0U);
        phase = 2;
        notify(condition, 5);
        first.wait_for_size(5);
        second.wait_for_size(3);
        wait_until_parked_on(&condition, 2);
        EXPECT_EQ(first.list(), (std::vector<int>{1, 1, 1, 2, 2}));
        EXPECT_EQ(second.list(), (std::vector<int>{2, 2, 2}));
        phase = 3;
        notify_all(condition);
        stage.join();
        EXPECT_EQ(second.list(), (std::vector<int>{2, 2, 2, 3, 3}));
    }
}

TEST_P(Condition, notify_wakes_the_longest_waiting_first) {
    sync::Lock lock;
    sync::Condition condition(lock);
    Log<int> order;
    for (int i = 1; i <= 4; ++i) {
        Actor& waiter = stage.waiter([&, i](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            co_await me.wait(condition);
            order.add(i);
            condition.release();
        });
        stage.parked(waiter, condition);
    }
    notify(condition);
    order.wait_for_size(1);
    notify(condition, 2);
    order.wait_for_size(3);
    EXPECT_EQ(order.list()[0], 1);
    EXPECT_EQ(order.sorted(), (std::vector<int>{1, 2, 3}));
    notify(condition, 2048);
    stage.join();
    EXPECT_EQ(order.list()[3], 4);
}

TEST_P(Condition, who_was_notified_goes_on_when_the_lock_is_free) {
    sync::Lock lock;
    sync::Condition condition(lock);
    Sequencer steps;
    std::atomic<bool> went_on{false};
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        const bool notified = co_await me.wait(condition);
        EXPECT_TRUE(notified);
        EXPECT_TRUE(lock.locked());
        went_on = true;
        condition.release();
    });
    stage.parked(waiter, condition);
    EXPECT_FALSE(lock.locked()) << "given up while it waits";
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        condition.notify();
        steps.done(1);
        co_await steps.at(me, 3);
        EXPECT_FALSE(went_on);
        condition.release();
    });
    steps.at(2);
    stage.parked(waiter, condition); // again: it takes the lock
    EXPECT_FALSE(went_on);
    steps.done(2);
    stage.join();
    EXPECT_TRUE(went_on);
    EXPECT_FALSE(lock.locked());
}

TEST_P(Condition, wait_gives_false_at_the_deadline_and_not_before_with_the_lock_held) {
    sync::Condition condition;
    for (int i = 0; i < 3; ++i)
        stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            const std::int64_t began = base::monotonic_ns();
            const bool notified = co_await me.wait(condition, 20ms);
            EXPECT_FALSE(notified);
            EXPECT_GE(base::monotonic_ns() - began, 20'000'000);
            condition.release(); // throws if it were not held
        });
    stage.join();
    notify_all(condition);
}

TEST_P(Condition, wait_of_zero_or_less_releases_the_lock_takes_it_again_and_gives_false) {
    sync::Lock lock;
    sync::Condition condition(lock);
    std::atomic<long> got{0};
    // Somebody who wants the lock gets it in between, sooner or later.
    stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        while (got == 0) {
            for (const Deadline d : {Deadline(0s), Deadline(-1s)}) {
                const bool notified = co_await me.wait(condition, d);
                EXPECT_FALSE(notified);
                EXPECT_TRUE(lock.locked());
            }
            if (me.is_coroutine()) { // let others of its loop run
                sync::Event never;
                co_await me.wait(never, 100us);
            }
        }
        condition.release();
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        ++got;
        lock.release();
    });
    stage.join();
    EXPECT_EQ(got, 1);
}

TEST_P(Condition, wait_for_waits_until_the_predicate_is_true) {
    sync::Condition condition;
    int state = 0;
    stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        const bool there = co_await me.wait_for(condition, [&] { return state == 4; });
        EXPECT_TRUE(there);
        EXPECT_EQ(state, 4);
        condition.release();
    });
    for (int i = 0; i < 4; ++i) {
        wait_until_parked_on(&condition, 1);
        stage.wake([&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            ++state;
            condition.notify();
            condition.release();
        });
    }
    stage.join();
}

TEST_P(Condition, wait_for_gives_the_predicates_last_value_at_the_deadline) {
    sync::Condition condition;
    int state = 0;
    stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        const std::int64_t began = base::monotonic_ns();
        const bool there = co_await me.wait_for(
            condition, [&] { return state == 4; }, 20ms);
        EXPECT_FALSE(there);
        EXPECT_GE(base::monotonic_ns() - began, 20'000'000) << "three notifications came before";
        state = 0;
        // True at the last look, though nobody notified.
        int looks = 0;
        const bool at_the_end = co_await me.wait_for(
            condition, [&] { return ++looks == 2; }, 5ms);
        EXPECT_TRUE(at_the_end);
        EXPECT_EQ(looks, 2);
        const bool polled = co_await me.wait_for(
            condition, [] { return false; }, 0s);
        EXPECT_FALSE(polled);
        condition.release();
    });
    for (int i = 0; i < 3; ++i)
        stage.wake([&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            ++state;
            condition.notify();
            condition.release();
        });
    stage.join();
}

TEST_P(Condition, what_the_predicate_throws_comes_out_with_the_lock_held) {
    sync::Lock lock;
    sync::Condition condition(lock);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        bool thrown = false;
        int looks = 0;
        try {
            co_await me.wait_for(condition, [&]() -> bool {
                if (++looks == 2) throw std::runtime_error("a predicate that throws");
                return false;
            });
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        EXPECT_TRUE(thrown);
        EXPECT_TRUE(lock.locked());
        condition.release();
    });
    stage.parked(waiter, condition);
    notify(condition);
    stage.join();
}

TEST_P(Condition, gives_up_and_restores_the_depth_of_its_rlock) {
    sync::RLock lock;
    sync::Condition condition(lock);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        for (int i = 0; i < 3; ++i) co_await me.acquire(lock);
        const bool notified = co_await me.wait(condition);
        EXPECT_TRUE(notified);
        for (int i = 0; i < 3; ++i) {
            EXPECT_TRUE(lock.is_owned());
            lock.release();
        }
        EXPECT_FALSE(lock.is_owned());
    });
    stage.parked(waiter, condition);
    EXPECT_FALSE(lock.locked());
    notify(condition);
    stage.join();
}

TEST_P(Condition, a_cancelled_waiter_takes_the_lock_again_first) {
    sync::Lock lock;
    sync::Condition condition(lock);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        const End end = co_await end_of(me.wait(condition));
        EXPECT_EQ(end, End::cancelled);
        EXPECT_TRUE(lock.locked());
        condition.release();
    });
    stage.parked(waiter, condition);
    // While another one holds it, the cancellation has to wait.
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        steps.done(1);
        co_await steps.at(me, 3);
        condition.release();
    });
    steps.at(2);
    waiter.cancel();
    stage.parked(waiter, condition); // in its second part, which a cancellation does not end
    EXPECT_FALSE(waiter.ended());
    steps.done(2);
    stage.join();
    EXPECT_FALSE(lock.locked());
}

TEST_P(Condition, a_cancellation_while_the_lock_is_taken_again_comes_at_the_next_wait) {
    sync::Lock lock;
    sync::Condition condition(lock);
    sync::Event never;
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        const End end = co_await end_of(me.wait(condition));
        EXPECT_EQ(end, End::yes) << "it was notified first";
        EXPECT_TRUE(lock.locked());
        condition.release();
        co_await me.wait(never);
    });
    stage.parked(waiter, condition);
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        condition.notify();
        steps.done(1);
        co_await steps.at(me, 3);
        condition.release();
    });
    steps.at(2);
    stage.parked(waiter, condition);
    waiter.cancel();
    stage.parked(waiter, condition);
    steps.done(2);
    stage.join();
    EXPECT_TRUE(waiter.was_cancelled());
    EXPECT_FALSE(lock.locked());
}

TEST_P(Condition, a_notification_that_meets_a_cancelled_or_timed_out_waiter_goes_to_the_next) {
    for (const bool cancel : {true, false}) {
        sync::Lock lock;
        sync::Condition condition(lock);
        int state = 0;
        const auto consume = [&](Actor& me, Deadline deadline) -> Co<> {
            co_await me.acquire(condition);
            bool there = false, cancelled = false;
            try {
                there = co_await me.wait_for(
                    condition, [&] { return state > 0; }, deadline);
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (there) --state;
            condition.release();
            EXPECT_EQ(there, deadline.is_forever() && !cancelled);
        };
        Actor& first = stage.waiter([&](Actor& me) -> Co<> { co_await consume(me, cancel ? forever : Deadline(1ms)); });
        if (cancel)
            stage.parked(first, condition);
        else
            stage.join(first);
        Actor& second = stage.waiter([&](Actor& me) -> Co<> { co_await consume(me, forever); });
        stage.parked(second, condition);
        // Under the lock: the first one can't go on between its cancellation and the notification.
        stage.wake([&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            if (cancel) first.cancel();
            ++state;
            condition.notify();
            condition.release();
        });
        stage.join();
        EXPECT_EQ(state, 0);
    }
}

// asyncio's cancelled_wakeup: the notification comes first; the waiter that is cancelled then has it, and acts on it.
TEST_P(Condition, a_notification_is_not_lost_to_a_cancellation_that_comes_after_it) {
    for (const bool wait_for_relock : {false, true}) {
        sync::Lock lock;
        sync::Condition condition(lock);
        int state = 0;
        const auto consumer = [&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            for (;;) {
                co_await me.wait_for(condition, [&] { return state != 0; });
                if (state < 0) break;
                --state;
                condition.notify_all(); // for the producer
            }
            condition.release();
        };
        Actor* consumers[2];
        for (auto& c : consumers) {
            c = &stage.waiter([&](Actor& me) -> Co<> {
                try {
                    co_await consumer(me);
                } catch (const CancelledError&) {
                    condition.release();
                }
            });
            stage.parked(*c, condition);
        }
        stage.waker([&](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            ++state;
            condition.notify();
            // One loop for both: the waiter can't run before this one waits.
            if (wait_for_relock && !stage.pair().one_loop) stage.parked(*consumers[0], condition);
            consumers[0]->cancel();
            const bool consumed = co_await me.wait_for(
                condition, [&] { return state == 0; }, 30s);
            EXPECT_TRUE(consumed);
            state = -1;
            condition.notify_all();
            condition.release();
        });
        stage.join();
    }
}

TEST_P(Condition, a_lock_of_its_own_choice_is_shared_with_others) {
    sync::Lock lock;
    sync::Condition a(lock), b(lock);
    EXPECT_FALSE(lock.locked());
    Actor& waits_for_a = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        const bool notified = co_await me.wait(a);
        EXPECT_TRUE(notified);
        b.notify();
        lock.release();
    });
    stage.parked(waits_for_a, a);
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        b.notify(); // nobody waits there
        a.notify();
        const bool notified = co_await me.wait(b);
        EXPECT_TRUE(notified);
        lock.release();
    });
    stage.join();
    EXPECT_FALSE(lock.locked());
}

TEST_P(Condition, a_signal_neither_ends_nor_prolongs_a_wait) {
    sync::Condition condition;
    Interrupter signals;
    std::atomic<pthread_t> thread{};
    std::atomic<bool> timed_out{false};
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        thread = ::pthread_self();
        co_await me.acquire(condition);
        const std::int64_t began = base::monotonic_ns();
        const bool early = co_await me.wait(condition, 30ms);
        EXPECT_FALSE(early);
        EXPECT_GE(base::monotonic_ns() - began, 30'000'000);
        timed_out = true;
        const bool notified = co_await me.wait(condition);
        EXPECT_TRUE(notified);
        condition.release();
    });
    stage.parked(waiter, condition);
    while (!timed_out) signals.interrupt(thread);
    for (int i = 0; i < 20; ++i) {
        stage.parked(waiter, condition);
        signals.interrupt(thread);
    }
    EXPECT_FALSE(waiter.ended());
    notify(condition);
    stage.join();
}

TEST(ConditionAfterFork, reset_frees_the_lock_and_forgets_the_waiters) {
    sync::Lock lock;
    sync::Condition of_lock(lock), own;
    of_lock.acquire();
    own.acquire();
    own.acquire();
    of_lock.reset_after_fork();
    own.reset_after_fork();
    EXPECT_FALSE(lock.locked());
    for (sync::Condition* c : {&of_lock, &own}) {
        const std::unique_lock guard(*c, std::try_to_lock);
        EXPECT_TRUE(guard.owns_lock());
        c->notify_all();
        EXPECT_FALSE(c->wait(1ms));
    }
}

} // namespace
} // namespace sennit
