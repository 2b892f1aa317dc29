// What CPython's _TestCondition knows, and ConditionTests where it makes sense between processes: within one process for every pair of
// agents, and across fork(). The table of cases is docs/conformance/multiprocessing.md.
#include "conformance.hpp"

#include <sennit/multiprocessing/condition.hpp>

#include <csignal>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;
namespace mp = multiprocessing;

class SharedCondition : public AgentPairTest {
  protected:
    static Co<bool> wait(Actor& me, mp::Condition& c, Deadline deadline = forever) {
        return me.call([&c, deadline] { return c.wait(deadline); }, [&c, deadline] { return c.async_wait(deadline); });
    }
    // Notifies under the lock, by the waker.
    void notify(mp::Condition& condition, std::size_t n = 1) {
        stage.wake([&, n](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            condition.notify(n);
            condition.release();
        });
    }
};
SENNIT_FOR_ALL_PAIRS(SharedCondition);

// A child that waits, and has told so when this returns: it has the lock till its wait() releases it.
pid_t waiting_child(mp::Condition& condition) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        condition.acquire();
        static_cast<void>(!::write(ends[1], "x", 1));
        const bool notified = condition.wait(60s);
        condition.release();
        ::_exit(notified ? 0 : 1);
    }
    char c = 0;
    EXPECT_EQ(::read(ends[0], &c, 1), 1);
    ::close(ends[0]);
    ::close(ends[1]);
    condition.acquire(); // it waits now
    condition.release();
    return child;
}
int status_of(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

TEST_P(SharedCondition, has_a_recursive_lock_of_its_own_or_uses_a_given_one) {
    stage.join(stage.waiter([](Actor& me) -> Co<> {
        mp::Condition own;
        co_await me.acquire(own);
        const bool again = co_await me.acquire(own, false);
        EXPECT_TRUE(again);
        own.release();
        own.release();
        EXPECT_THROW(own.release(), UsageError);

        mp::Lock lock;
        mp::Condition given(lock);
        co_await me.acquire(given);
        EXPECT_TRUE(lock.locked());
        given.release();
        co_await me.acquire(lock);
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

TEST_P(SharedCondition, wait_and_notify_without_the_lock_are_refused) {
    mp::Lock lock;
    mp::Condition own, of_lock(lock);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (mp::Condition* c : {&own, &of_lock}) {
            EXPECT_THROW(c->notify(), UsageError);
            EXPECT_THROW(c->notify_all(), UsageError);
            bool refused = false;
            try {
                co_await wait(me, *c);
            } catch (const UsageError&) {
                refused = true;
            }
            EXPECT_TRUE(refused);
        }
    }));
}

TEST_P(SharedCondition, notify_wakes_as_many_as_it_says_and_nobody_who_comes_later) {
    mp::Lock lock;
    mp::Condition condition(lock);
    Log<int> woken;
    const auto waiter = [&](int number) {
        return [&, number](Actor& me) -> Co<> {
            co_await me.acquire(condition);
            const bool notified = co_await wait(me, condition);
            EXPECT_TRUE(notified);
            condition.release();
            woken.add(number);
        };
    };
    notify(condition, 5); // forgotten
    for (int i = 0; i < 3; ++i) stage.parked(stage.waiter(waiter(i)), condition);
    notify(condition, 0);
    notify(condition, 2);
    woken.wait_for_size(2);
    stage.parked(stage.waiter(waiter(3)), condition);
    EXPECT_EQ(woken.size(), 2U);
    notify(condition, 1);
    woken.wait_for_size(3);
    EXPECT_EQ(woken.size(), 3U);
    notify(condition, static_cast<std::size_t>(-1));
    stage.join();
    EXPECT_EQ(woken.sorted(), (std::vector<int>{0, 1, 2, 3}));
}

TEST_P(SharedCondition, wait_gives_back_and_restores_every_level_of_the_lock) {
    mp::RLock lock;
    mp::Condition condition(lock);
    bool ready = false; // plain: under the lock
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        co_await me.acquire(condition);
        const bool got = co_await me.call([&] { return condition.wait_for([&] { return ready; }); },
                                          [&] { return condition.async_wait_for([&] { return ready; }); });
        EXPECT_TRUE(got);
        EXPECT_TRUE(lock.is_owned());
        condition.release();
        EXPECT_TRUE(lock.is_owned());
        condition.release();
        EXPECT_FALSE(lock.is_owned());
    });
    stage.parked(waiter, condition);
    notify(condition); // in vain: it waits on
    stage.parked(waiter, condition);
    stage.wake([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        ready = true;
        condition.notify_all();
        condition.release();
    });
    stage.join();
}

TEST_P(SharedCondition, a_time_out_gives_false_with_the_lock_held) {
    mp::Lock lock;
    mp::Condition condition(lock);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        for (const auto d : {-1ms, 0ms, 20ms}) {
            const auto start = std::chrono::steady_clock::now();
            const bool notified = co_await wait(me, condition, Deadline(d));
            EXPECT_FALSE(notified);
            EXPECT_GE(std::chrono::steady_clock::now() - start, d);
            EXPECT_THROW(condition.acquire(false, 1s), UsageError);
            EXPECT_TRUE(lock.locked());
        }
        condition.notify(3); // nobody is left behind in the count
        const bool late = co_await wait(me, condition, Deadline(1ms));
        EXPECT_FALSE(late);
        condition.release();
    }));
}

TEST_P(SharedCondition, a_cancelled_waiter_takes_the_lock_again_and_leaves_its_notification_to_another) {
    mp::Lock lock;
    mp::Condition condition(lock);
    std::atomic<int> notified{0};
    const auto body = [&](Actor& me) -> Co<> {
        co_await me.acquire(condition);
        try {
            if (co_await wait(me, condition)) ++notified;
        } catch (const CancelledError&) {
            EXPECT_TRUE(lock.locked());
            condition.release();
            throw;
        }
        condition.release();
    };
    Actor& first = stage.waiter(body);
    stage.parked(first, condition);
    Actor& second = stage.waiter(body);
    stage.parked(second, condition);
    lock.acquire();
    first.cancel();
    condition.notify();
    lock.release();
    stage.join();
    EXPECT_TRUE(first.was_cancelled() || notified == 2);
    EXPECT_EQ(notified, first.was_cancelled() ? 1 : 2);
}

TEST_P(SharedCondition, loses_no_notification_between_time_outs_and_cancellations) {
    mp::Lock lock;
    mp::Condition condition(lock);
    int items = 0, taken = 0; // plain: under the lock
    constexpr int all = 300;
    const auto consumer = [&](Actor& me) -> Co<> {
        mp::Condition mine = condition;
        co_await me.acquire(mine);
        for (int round = 0; taken < all; ++round) {
            while (items == 0 && taken < all) co_await wait(me, mine, Deadline(round % 3 == 0 ? 1us : 50ms));
            if (items > 0) --items, ++taken;
        }
        mine.notify_all();
        mine.release();
    };
    stage.waiter(consumer);
    stage.waiter(consumer);
    stage.waker([&](Actor& me) -> Co<> {
        for (int i = 0; i < all; ++i) {
            co_await me.acquire(condition);
            ++items;
            condition.notify();
            condition.release();
        }
    });
    stage.join();
    EXPECT_EQ(taken, all);
    EXPECT_EQ(items, 0);
}

TEST(SharedConditionAcrossFork, wakes_children_by_number_and_all) {
    mp::Condition condition;
    pid_t children[4];
    for (pid_t& c : children) c = waiting_child(condition);
    condition.acquire();
    condition.notify();
    condition.release();
    int status = 0;
    const pid_t first = ::wait(&status);
    EXPECT_EQ(status, 0);
    condition.acquire();
    condition.notify_all();
    condition.release();
    for (const pid_t c : children) {
        if (c != first) {
            EXPECT_EQ(status_of(c), 0);
        }
    }
}

TEST(SharedConditionAcrossFork, a_notification_outlives_who_is_killed_waiting) {
    for (const bool before : {true, false}) {
        mp::Condition condition;
        const pid_t doomed = waiting_child(condition), heir = waiting_child(condition);
        condition.acquire();
        if (before) {
            ::kill(doomed, SIGKILL);
            status_of(doomed);
        }
        condition.notify();
        if (!before) { // it may have been woken, and waits for the lock
            ::kill(doomed, SIGKILL);
            status_of(doomed);
        }
        condition.release();
        EXPECT_EQ(status_of(heir), 0) << before;
    }
}

TEST(SharedConditionAcrossFork, tells_the_waiter_that_the_notifier_died_with_the_lock) {
    mp::Lock lock;
    mp::Condition condition(lock);
    condition.acquire();
    const pid_t child = ::fork();
    if (child == 0) {
        condition.acquire();
        condition.notify();
        ::raise(SIGKILL);
    }
    EXPECT_TRUE(condition.wait());
    EXPECT_TRUE(condition.owner_died());
    condition.make_consistent();
    condition.release();
    EXPECT_TRUE(WIFSIGNALED(status_of(child)));
}

TEST(SharedConditionAcrossFork, whose_lock_is_given_up_is_left_by_all_who_wait) {
    mp::Lock lock;
    mp::Condition condition(lock);
    condition.acquire();
    const pid_t child = ::fork();
    if (child == 0) {
        condition.acquire();
        condition.notify();
        lock.give_up();
        ::_exit(0);
    }
    EXPECT_THROW(condition.wait(), mp::LockGivenUp);
    status_of(child);
}

} // namespace
} // namespace sennit
