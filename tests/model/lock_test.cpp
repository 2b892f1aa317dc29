#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace sennit {
namespace {

using model::agent_thread;
using model::expect;
using namespace std::chrono_literals;

void expect_usable(sync::Lock& lock) {
    expect(!lock.locked(), "the lock is free at the end");
    expect(lock.acquire(true, 1s), "and nothing is left in it that keeps one out");
    lock.release();
}

SCENARIO(LockModel, excludes_three_threads) {
    sync::Lock lock;
    model::var<int> counter{0};
    {
        const auto add = [&] {
            for (int i = 0; i < 2; ++i) {
                lock.acquire();
                ++counter;
                lock.release();
            }
        };
        agent_thread a(add), b(add), c(add);
    }
    expect(counter == 6, "six increments");
    expect_usable(lock);
}

SCENARIO(LockModel, excludes_two_threads, .surprises = 3) {
    sync::Lock lock;
    model::var<int> counter{0};
    const auto add = [&] {
        lock.acquire();
        ++counter;
        lock.release();
    };
    {
        agent_thread other(add);
        add();
        add();
    }
    expect(counter == 3, "three increments");
    expect_usable(lock);
}

SCENARIO(LockModel, a_waiter_whose_time_is_up_takes_no_wake_up_with_it, .surprises = 2) {
    sync::Lock lock;
    model::var<int> counter{0};
    int got = 0;
    {
        agent_thread impatient([&] {
            if (!lock.acquire(true, 5ms)) return;
            ++counter;
            ++got;
            lock.release();
        });
        agent_thread patient([&] { // for ever, if its wake-up were lost
            lock.acquire();
            ++counter;
            lock.release();
        });
        lock.acquire();
        ++counter;
        lock.release();
    }
    expect(counter == 2 + got, "who was told to have it had it");
    expect_usable(lock);
}

SCENARIO(LockModel, a_cancelled_waiter_takes_no_wake_up_with_it, .surprises = 2) {
    sync::Lock lock;
    model::var<int> counter{0};
    int got = 0;
    {
        agent_thread cancelled([&] {
            try {
                lock.acquire();
            } catch (const CancelledError&) {
                return;
            }
            ++counter;
            ++got;
            lock.release();
            wait::current_agent().take_cancel();
        });
        agent_thread patient([&] {
            lock.acquire();
            ++counter;
            lock.release();
        });
        lock.acquire();
        cancelled.agent().cancel();
        ++counter;
        lock.release();
    }
    expect(counter == 2 + got, "who was told to have it had it");
    expect_usable(lock);
}

SCENARIO(LockModel, time_out_and_cancellation_and_release_race_for_four) {
    sync::Lock lock;
    model::var<int> counter{0};
    int got[2] = {0, 0};
    {
        const auto impatient = [&](int i) {
            try {
                if (!lock.acquire(true, 5ms)) return;
            } catch (const CancelledError&) {
                return;
            }
            ++counter;
            ++got[i];
            lock.release();
        };
        agent_thread a([&] { impatient(0); });
        agent_thread b([&] { impatient(1); });
        agent_thread c([&] {
            lock.acquire();
            ++counter;
            lock.release();
        });
        lock.acquire();
        ++counter;
        a.agent().cancel();
        lock.release();
    }
    expect(counter == 2 + got[0] + got[1], "who was told to have it had it");
    expect_usable(lock);
}

// The model knows where a lock ends, and that nobody touches it afterwards.
SCENARIO(LockModel, who_takes_the_lock_may_destroy_it_though_its_releaser_has_not_returned, .surprises = 3) {
    std::optional<sync::Lock> lock(std::in_place);
    lock->acquire();
    agent_thread releaser([&] { lock->release(); });
    lock->acquire();
    lock->release();
    lock.reset();
}

SCENARIO(LockModel, a_waiter_that_leaves_gives_the_lock_to_nobody_before_its_releaser_is_done, .surprises = 3,
         .jumps = true) {
    std::optional<sync::Lock> lock(std::in_place);
    lock->acquire();
    agent_thread impatient([&] {
        if (lock->acquire(true, 5ms)) lock->release();
    });
    model::let_all_park();
    agent_thread releaser([&] { lock->release(); });
    impatient.join();
    lock->acquire();
    lock->release();
    lock.reset();
}

// Any agent may release what another holds; but of a release too many, whoever makes it, exactly one is refused.
SCENARIO(LockModel, a_release_too_many_is_refused_once_and_changes_nothing, .surprises = 2) {
    sync::Lock lock;
    int refused[3] = {0, 0, 0};
    const auto release = [&](int i) {
        try {
            lock.release();
        } catch (const UsageError&) {
            ++refused[i];
        }
    };
    {
        agent_thread wrong([&] { release(0); });
        agent_thread other([&] {
            lock.acquire();
            release(1);
        });
        lock.acquire();
        release(2);
    }
    expect(refused[0] + refused[1] + refused[2] == 1, "two acquires, three releases");
    expect_usable(lock);
}

SCENARIO(LockModel, a_release_too_many_does_not_disturb_one_that_wakes_a_waiter, .surprises = 2) {
    sync::Lock lock;
    int refused = 0;
    const auto release = [&] {
        try {
            lock.release();
        } catch (const UsageError&) {
            return 1;
        }
        return 0;
    };
    {
        lock.acquire();
        int by_other = 0, by_wrong = 0;
        agent_thread other([&] {
            lock.acquire();
            by_other = release();
        });
        model::let_all_park();
        agent_thread wrong([&] { by_wrong = release(); });
        const int by_me = release();
        other.join();
        wrong.join();
        refused = by_other + by_wrong + by_me;
    }
    expect(refused == 1, "two acquires, three releases");
    expect_usable(lock);
}

// The grant and the release that is taken back are both changes of `held`: the one must not vanish in the other.
SCENARIO(LockModel, a_release_too_many_does_not_undo_the_grant_to_a_starved_waiter, .surprises = 3, .jumps = true) {
    sync::Lock lock;
    int by_other = 0, by_wrong = 0, by_me = 0;
    const auto release = [&] {
        try {
            lock.release();
        } catch (const UsageError&) {
            return 1;
        }
        return 0;
    };
    {
        lock.acquire();
        agent_thread other([&] {
            lock.acquire();
            by_other = release();
        });
        model::let_all_park();
        model::pass_time(5'000'000); // now it has starved
        agent_thread wrong([&] { by_wrong = release(); });
        by_me = release();
    }
    expect(by_other + by_wrong + by_me == 1, "two acquires, three releases");
    expect_usable(lock);
}

SCENARIO(LockModel, two_releases_too_many_are_refused_while_others_wait) {
    sync::Lock lock;
    int refused[4] = {0, 0, 0, 0};
    const auto release = [&](int i) {
        try {
            lock.release();
        } catch (const UsageError&) {
            ++refused[i];
        }
    };
    {
        agent_thread wrong([&] { release(0); });
        agent_thread wrong_too([&] { release(1); });
        agent_thread other([&] {
            lock.acquire();
            release(2);
        });
        lock.acquire();
        release(3);
    }
    expect(refused[0] + refused[1] + refused[2] + refused[3] == 2, "two acquires, four releases");
    expect_usable(lock);
}

} // namespace
} // namespace sennit
