// CPython's BaseLockTests and what else holds for Lock and RLock alike, for every pair of agents: BASE_LOCK_TESTS(suite, type).
#pragma once

#include "conformance.hpp"

#include <sennit/sync.hpp>

#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>

namespace sennit::testing::base_lock {

using namespace std::chrono_literals;

template <class L>
void acquire_takes_it_and_release_frees_it(Stage& stage) {
    stage.join(stage.waiter([](Actor& me) -> Co<> {
        L lock;
        EXPECT_FALSE(lock.locked());
        for (int i = 0; i < 2; ++i) {
            const bool got = co_await me.acquire(lock);
            EXPECT_TRUE(got);
            EXPECT_TRUE(lock.locked());
            lock.release();
            EXPECT_FALSE(lock.locked());
            const bool got_at_once = co_await me.acquire(lock, false);
            EXPECT_TRUE(got_at_once);
            lock.release();
        }
    }));
}

template <class L>
void acquire_without_blocking_gives_false_while_another_agent_holds_it(Stage& stage) {
    L lock;
    Sequencer steps;
    stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
        steps.done(3);
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await steps.at(me, 2);
        const bool held = co_await me.acquire(lock, false);
        EXPECT_FALSE(held);
        const bool zero = co_await me.acquire(lock, 0s);
        EXPECT_FALSE(zero);
        const bool negative = co_await me.acquire(lock, -1s);
        EXPECT_FALSE(negative);
        steps.done(2);
        co_await steps.at(me, 4);
        const bool free = co_await me.acquire(lock, false);
        EXPECT_TRUE(free);
        lock.release();
    });
    stage.join();
}

template <class L>
void all_contenders_get_in(Stage& stage) {
    constexpr int n = 5;
    L lock;
    std::atomic<int> got{0};
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
    });
    steps.at(2);
    for (int i = 0; i < n; ++i)
        stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(lock);
            ++got;
            lock.release();
        });
    wait_until_parked_on(&lock, n);
    EXPECT_EQ(got, 0);
    steps.done(2);
    stage.join();
    EXPECT_EQ(got, n);
    EXPECT_FALSE(lock.locked());
}

template <class L>
void a_guard_releases_it_also_when_an_exception_passes(Stage& stage) {
    L lock;
    for (const bool with_error : {false, true}) {
        stage.join(stage.waiter([&, with_error](Actor& me) -> Co<> {
            try {
                if (me.is_coroutine()) {
                    auto guard = co_await lock.async_scoped_lock();
                    EXPECT_TRUE(lock.locked());
                    if (with_error) throw std::runtime_error("passes");
                } else {
                    const std::scoped_lock guard(lock);
                    EXPECT_TRUE(lock.locked());
                    if (with_error) throw std::runtime_error("passes");
                }
            } catch (const std::runtime_error&) {
                EXPECT_TRUE(with_error);
            }
            EXPECT_FALSE(lock.locked());
        }));
        stage.wake([&](Actor& me) -> Co<> {
            const bool got = co_await me.acquire(lock, false);
            EXPECT_TRUE(got);
            lock.release();
        });
    }
}

template <class L>
void foreign_threads_that_used_it_leave_no_agent_behind(Stage&) {
    L lock;
    const std::size_t before = wait::Registry::snapshot().size();
    for (int i = 0; i < 15; ++i)
        std::thread([&] {
            lock.acquire();
            lock.release();
        }).join();
    EXPECT_EQ(wait::Registry::snapshot().size(), before);
}

template <class L>
void a_deadline_without_blocking_or_that_is_nan_is_refused(Stage& stage) {
    L lock;
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (const bool held : {false, true}) {
            if (held) {
                // By this agent: an RLock is refused to its owner as well.
                co_await me.acquire(lock);
            }
            bool refused = false;
            try {
                co_await me.acquire(lock, false, 1s);
            } catch (const UsageError&) {
                refused = true;
            }
            EXPECT_TRUE(refused);
            EXPECT_EQ(lock.locked(), held) << "a refused call changes nothing";
            EXPECT_THROW(Deadline(std::chrono::duration<double>(std::nan(""))), UsageError);
        }
        lock.release();
        EXPECT_FALSE(lock.locked());
    }));
}

template <class L>
void a_time_out_is_not_early_and_a_huge_one_is_forever(Stage& stage) {
    L lock;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        // Free: none of these waits.
        for (const Deadline d :
             {Deadline(std::chrono::hours(24 * 365 * 400LL)), Deadline(std::chrono::nanoseconds::max()),
              Deadline(std::chrono::duration<double>(1e100)), Deadline(5s)}) {
            const bool got = co_await me.acquire(lock, d);
            EXPECT_TRUE(got);
            lock.release();
        }
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
    });
    steps.at(2);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        const std::int64_t began = base::monotonic_ns();
        const bool got = co_await me.acquire(lock, 20ms);
        EXPECT_FALSE(got);
        EXPECT_GE(base::monotonic_ns() - began, 20'000'000);
        EXPECT_TRUE(lock.locked()) << "as it was: another agent's";
        const bool got_at_last = co_await me.acquire(lock, std::chrono::nanoseconds::max());
        EXPECT_TRUE(got_at_last);
        lock.release();
    });
    while (!waiter.ended()) { // until it is in the second wait
        const auto now = waiter.agent().snapshot();
        if (now.parked && !now.settled && now.object == &lock && !now.has_deadline) break;
        ::sched_yield();
    }
    steps.done(2);
    stage.join();
    EXPECT_FALSE(lock.locked());
}

template <class L>
void waiters_get_it_in_the_order_in_which_they_came(Stage& stage) {
    L lock;
    Log<int> order;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
    });
    steps.at(2);
    for (int i = 1; i <= 4; ++i) {
        Actor& waiter = stage.waiter([&, i](Actor& me) -> Co<> {
            co_await me.acquire(lock);
            order.add(i);
            lock.release();
        });
        stage.parked(waiter, lock);
    }
    steps.done(2);
    stage.join();
    EXPECT_EQ(order.list(), (std::vector<int>{1, 2, 3, 4}));
}

template <class L>
void who_has_waited_for_long_is_handed_it(Stage& stage) {
    L lock;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
        const bool overtook = co_await me.acquire(lock, false);
        EXPECT_FALSE(overtook);
        steps.done(3);
    });
    steps.at(2);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        co_await steps.at(me, 4);
        lock.release();
    });
    wait_until_waited(waiter.agent(), &lock, 1'000'000);
    steps.done(2);
    stage.join();
}

template <class L>
void a_cancelled_waiter_leaves_and_the_next_gets_it(Stage& stage) {
    L lock;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
    });
    steps.at(2);
    const auto take = [&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        lock.release();
    };
    Actor& first = stage.waiter(take);
    stage.parked(first, lock);
    Actor& second = stage.waiter(take);
    stage.parked(second, lock);
    first.cancel();
    stage.join(first);
    EXPECT_TRUE(first.was_cancelled());
    EXPECT_TRUE(lock.locked());
    EXPECT_FALSE(second.ended());
    steps.done(2);
    stage.join();
    EXPECT_FALSE(second.was_cancelled());
    EXPECT_FALSE(lock.locked());
}

// CPython's cancel_race, cancel_release_race and finished_waiter_cancelled: the head of the queue is cancelled as the lock is
// released, before or after; one other gets it, and only one.
template <class L>
void a_release_that_meets_a_cancelled_head_of_the_queue_lets_exactly_one_in(Stage& stage) {
    for (const bool cancel_first : {true, false}) {
        L lock;
        std::atomic<int> inside{0};
        sync::Event leave;
        Sequencer steps;
        stage.waker([&](Actor& me) -> Co<> {
            co_await me.acquire(lock);
            steps.done(1);
            co_await steps.at(me, 3);
            lock.release();
            steps.done(3);
        });
        steps.at(2);
        std::vector<Actor*> waiters;
        for (int i = 0; i < 3; ++i) {
            waiters.push_back(&stage.waiter([&](Actor& me) -> Co<> {
                co_await me.acquire(lock);
                EXPECT_EQ(++inside, 1);
                // A cancellation that came too late for the lock comes here.
                const End end = co_await end_of(me.wait(leave));
                EXPECT_NE(end, End::no);
                --inside;
                lock.release();
            }));
            stage.parked(*waiters.back(), lock);
        }
        if (cancel_first) waiters[0]->cancel();
        steps.done(2);
        steps.at(4);
        if (!cancel_first) waiters[0]->cancel(); // it was woken already
        stage.join(*waiters[0]);
        stage.parked(*waiters[1], leave);
        stage.parked(*waiters[2], lock);
        EXPECT_EQ(inside, 1);
        EXPECT_EQ(waiters[0]->was_cancelled(), cancel_first);
        leave.set();
        stage.join();
        EXPECT_FALSE(lock.locked());
    }
}

template <class L>
void a_signal_neither_ends_nor_prolongs_an_acquire(Stage& stage) {
    L lock;
    Interrupter signals;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
    });
    steps.at(2);
    std::atomic<pthread_t> thread{};
    std::atomic<bool> timed_out{false};
    Actor& timed = stage.waiter([&](Actor& me) -> Co<> {
        thread = ::pthread_self();
        const std::int64_t began = base::monotonic_ns();
        const bool got = co_await me.acquire(lock, 30ms);
        EXPECT_FALSE(got);
        EXPECT_GE(base::monotonic_ns() - began, 30'000'000);
        timed_out = true;
        const bool got_at_last = co_await me.acquire(lock);
        EXPECT_TRUE(got_at_last);
        lock.release();
    });
    stage.parked(timed, lock);
    while (!timed_out) signals.interrupt(thread); // for ever, if each one began the wait anew
    for (int i = 0; i < 20; ++i) {
        stage.parked(timed, lock);
        signals.interrupt(thread);
    }
    EXPECT_FALSE(timed.ended());
    steps.done(2);
    stage.join();
}

template <class L>
void reset_after_fork_frees_it(Stage&) {
    L lock;
    lock.acquire();
    lock.reset_after_fork();
    EXPECT_FALSE(lock.locked());
    EXPECT_THROW(lock.release(), UsageError);
    EXPECT_TRUE(lock.acquire(false));
    lock.release();
    EXPECT_FALSE(lock.locked());
}

template <class L>
void who_gets_it_last_may_destroy_it(Stage& stage) {
    for (int round = 0; round < 50; ++round) {
        auto lock = std::make_unique<L>();
        Sequencer steps;
        stage.waker([&](Actor& me) -> Co<> {
            L& mine = *lock;
            co_await me.acquire(mine);
            steps.done(1);
            co_await steps.at(me, 3);
            mine.release();
        });
        steps.at(2);
        Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
            co_await me.acquire(*lock);
            lock->release();
            lock.reset();
        });
        if (round % 2) stage.parked(waiter, *lock);
        steps.done(2);
        stage.join();
    }
}

#define SENNIT_BASE_LOCK_TEST(suite, type, name) \
    TEST_P(suite, name) { testing::base_lock::name<type>(stage); }
#define BASE_LOCK_TESTS(suite, type)                                                                           \
    SENNIT_BASE_LOCK_TEST(suite, type, acquire_takes_it_and_release_frees_it)                                  \
    SENNIT_BASE_LOCK_TEST(suite, type, acquire_without_blocking_gives_false_while_another_agent_holds_it)      \
    SENNIT_BASE_LOCK_TEST(suite, type, all_contenders_get_in)                                                  \
    SENNIT_BASE_LOCK_TEST(suite, type, a_guard_releases_it_also_when_an_exception_passes)                      \
    SENNIT_BASE_LOCK_TEST(suite, type, foreign_threads_that_used_it_leave_no_agent_behind)                     \
    SENNIT_BASE_LOCK_TEST(suite, type, a_deadline_without_blocking_or_that_is_nan_is_refused)                  \
    SENNIT_BASE_LOCK_TEST(suite, type, a_time_out_is_not_early_and_a_huge_one_is_forever)                      \
    SENNIT_BASE_LOCK_TEST(suite, type, waiters_get_it_in_the_order_in_which_they_came)                         \
    SENNIT_BASE_LOCK_TEST(suite, type, who_has_waited_for_long_is_handed_it)                                   \
    SENNIT_BASE_LOCK_TEST(suite, type, a_cancelled_waiter_leaves_and_the_next_gets_it)                         \
    SENNIT_BASE_LOCK_TEST(suite, type, a_release_that_meets_a_cancelled_head_of_the_queue_lets_exactly_one_in) \
    SENNIT_BASE_LOCK_TEST(suite, type, a_signal_neither_ends_nor_prolongs_an_acquire)                          \
    SENNIT_BASE_LOCK_TEST(suite, type, reset_after_fork_frees_it)                                              \
    SENNIT_BASE_LOCK_TEST(suite, type, who_gets_it_last_may_destroy_it)

} // namespace sennit::testing::base_lock
