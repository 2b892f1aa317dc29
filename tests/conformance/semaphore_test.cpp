// What Python's SemaphoreTests and BoundedSemaphoreTests and asyncio's SemaphoreTests know, for every pair of who waits and who
// wakes. The table of cases is docs/conformance/sync.md.
#include "conformance.hpp"

#include <sennit/sync.hpp>

#include <cstdint>
#include <limits>
#include <mutex>
#include <stdexcept>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;

// For both kinds: BaseSemaphoreTests.
namespace base_semaphore {

template <class S>
void fewer_than_no_permits_are_refused(Stage&) {
    EXPECT_THROW(S{-1}, UsageError);
    EXPECT_THROW(S{std::numeric_limits<std::int64_t>::min()}, UsageError);
    EXPECT_THROW(S{std::numeric_limits<std::int64_t>::max()}, UsageError);
    S none(0);
    EXPECT_TRUE(none.locked());
    EXPECT_EQ(none.value(), 0);
    EXPECT_FALSE(none.acquire(false));
    S one;
    EXPECT_EQ(one.value(), 1);
    EXPECT_FALSE(one.locked());
}

template <class S>
void acquire_takes_permits_while_there_are_any(Stage& stage) {
    S semaphore(2);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (int i = 0; i < 2; ++i) {
            const bool got = co_await me.acquire(semaphore);
            EXPECT_TRUE(got);
        }
        EXPECT_TRUE(semaphore.locked());
        const bool none = co_await me.acquire(semaphore, false);
        EXPECT_FALSE(none);
    }));
    stage.wake([&](Actor& me) -> Co<> {
        semaphore.release();
        EXPECT_FALSE(semaphore.locked());
        const bool got = co_await me.acquire(semaphore, false);
        EXPECT_TRUE(got);
        semaphore.release();
        semaphore.release();
        EXPECT_EQ(semaphore.value(), 2);
    });
}

// CPython's acquire_contended and multirelease: `at_once` permits a release.
template <class S>
void let_in_as_many_as_permits(Stage& stage, bool at_once) {
    constexpr int permits = 7, agents = 10;
    S semaphore(permits);
    ASSERT_TRUE(semaphore.acquire());
    Log<int> phases;
    std::atomic<int> phase{0};
    for (int i = 0; i < agents; ++i)
        stage.waiter([&](Actor& me) -> Co<> {
            for (int k = 0; k < 2; ++k) {
                const bool got = co_await me.acquire(semaphore);
                EXPECT_TRUE(got);
                phases.add(phase);
            }
        });
    const auto release = [&](int n) {
        stage.wake([&, n](Actor&) -> Co<> {
            if (at_once)
                semaphore.release(n);
            else
                for (int i = 0; i < n; ++i) semaphore.release();
            co_return;
        });
    };
    phases.wait_for_size(6);
    wait_until_parked_on(&semaphore, 7);
    phase = 1;
    release(7);
    phases.wait_for_size(13);
    wait_until_parked_on(&semaphore, 3);
    EXPECT_EQ(phases.size(), 13U);
    phase = 2;
    release(6);
    phases.wait_for_size(19);
    wait_until_parked_on(&semaphore, 1);
    std::vector<int> expected(6, 0);
    expected.insert(expected.end(), 7, 1);
    expected.insert(expected.end(), 6, 2);
    EXPECT_EQ(phases.sorted(), expected);
    EXPECT_FALSE(semaphore.acquire(false));
    release(1);
    stage.join();
    EXPECT_EQ(semaphore.value(), 0);
}
template <class S>
void as_many_get_in_as_permits_are_released(Stage& stage) {
    let_in_as_many_as_permits<S>(stage, false);
}
template <class S>
void release_of_n_lets_n_in(Stage& stage) {
    let_in_as_many_as_permits<S>(stage, true);
}

template <class S>
void acquire_without_blocking_gives_each_permit_once(Stage& stage) {
    S semaphore(4);
    semaphore.acquire();
    std::atomic<int> got{0}, refused{0};
    for (int i = 0; i < 5; ++i)
        stage.start(i % 2 ? stage.pair().waker : stage.pair().waiter, [&](Actor& me) -> Co<> {
            for (int k = 0; k < 2; ++k) {
                const bool here = co_await me.acquire(semaphore, false);
                ++(here ? got : refused);
            }
        });
    stage.join();
    EXPECT_EQ(got, 3);
    EXPECT_EQ(refused, 7);
}

template <class S>
void a_time_out_is_not_early_and_takes_no_permit(Stage& stage) {
    S semaphore(2);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        bool refused = false;
        try {
            co_await me.acquire(semaphore, false, 1s);
        } catch (const UsageError&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
        EXPECT_EQ(semaphore.value(), 2);
        for (int i = 0; i < 2; ++i) {
            const bool got = co_await me.acquire(semaphore, 5ms);
            EXPECT_TRUE(got);
        }
        for (const Deadline d : {Deadline(0s), Deadline(-1s), Deadline(1ns)}) {
            const bool polled = co_await me.acquire(semaphore, d);
            EXPECT_FALSE(polled);
        }
        const std::int64_t began = base::monotonic_ns();
        const bool got = co_await me.acquire(semaphore, 20ms);
        EXPECT_FALSE(got);
        EXPECT_GE(base::monotonic_ns() - began, 20'000'000);
        EXPECT_EQ(semaphore.value(), 0);
    }));
    stage.wake([&](Actor&) -> Co<> {
        semaphore.release();
        co_return;
    });
    EXPECT_EQ(semaphore.value(), 1) << "it went to nobody";
    EXPECT_TRUE(semaphore.acquire(5ms));
}

template <class S>
void without_a_number_there_is_one_permit(Stage& stage) {
    S semaphore;
    semaphore.acquire();
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(semaphore);
        semaphore.release();
    });
    stage.parked(waiter, semaphore);
    stage.wake([&](Actor&) -> Co<> {
        semaphore.release();
        co_return;
    });
    stage.join();
    EXPECT_EQ(semaphore.value(), 1);
}

template <class S>
void a_guard_gives_the_permit_back_also_when_an_exception_passes(Stage&) {
    S semaphore(2);
    for (const bool with_error : {false, true}) {
        try {
            const std::scoped_lock guard(semaphore);
            EXPECT_TRUE(semaphore.acquire(false));
            semaphore.release();
            const std::unique_lock second(semaphore);
            EXPECT_FALSE(semaphore.acquire(false));
            if (with_error) throw std::runtime_error("passes");
        } catch (const std::runtime_error&) {
            EXPECT_TRUE(with_error);
        }
        EXPECT_EQ(semaphore.value(), 2);
    }
}

template <class S>
void release_of_less_than_one_is_refused_and_changes_nothing(Stage&) {
    S semaphore(2);
    semaphore.acquire();
    EXPECT_THROW(semaphore.release(0), UsageError);
    EXPECT_THROW(semaphore.release(-1), UsageError);
    EXPECT_THROW(semaphore.release(std::numeric_limits<std::int64_t>::min()), UsageError);
    EXPECT_THROW(semaphore.release(std::numeric_limits<std::int64_t>::max()), UsageError);
    EXPECT_EQ(semaphore.value(), 1);
}

template <class S>
void permits_are_handed_over_in_the_order_of_coming_and_nobody_overtakes(Stage& stage) {
    S semaphore(1);
    semaphore.acquire();
    Log<int> order;
    for (int i = 1; i <= 4; ++i) {
        Actor& waiter = stage.waiter([&, i](Actor& me) -> Co<> {
            for (int k = 0; k < 2; ++k) {
                co_await me.acquire(semaphore);
                order.add(i + 10 * k);
                semaphore.release();
            }
        });
        stage.parked(waiter, semaphore);
    }
    stage.wake([&](Actor& me) -> Co<> {
        semaphore.release();
        // Handed to the first waiter at once: there is no moment in which a newcomer gets it, till all four have been served.
        const bool overtook = co_await me.acquire(semaphore, false);
        if (overtook) {
            EXPECT_GE(order.size(), 4U);
            semaphore.release();
        }
    });
    stage.join();
    auto got = order.list();
    ASSERT_EQ(got.size(), 8U);
    EXPECT_EQ(std::vector<int>(got.begin(), got.begin() + 4), (std::vector<int>{1, 2, 3, 4}));
    // Who is slow to come again comes later; coroutines of one loop are not.
    if (stage.pair().waiter == Kind::thread) std::sort(got.begin() + 4, got.end());
    EXPECT_EQ(std::vector<int>(got.begin() + 4, got.end()), (std::vector<int>{11, 12, 13, 14}));
}

template <class S>
void a_cancelled_waiter_leaves_and_the_permits_go_to_the_others(Stage& stage) {
    S semaphore(4);
    for (int i = 0; i < 4; ++i) semaphore.acquire();
    Log<int> got;
    std::vector<Actor*> waiters;
    for (int i = 1; i <= 4; ++i) {
        waiters.push_back(&stage.waiter([&, i](Actor& me) -> Co<> {
            co_await me.acquire(semaphore);
            got.add(i);
        }));
        stage.parked(*waiters.back(), semaphore);
    }
    waiters[0]->cancel();
    waiters[1]->cancel();
    stage.wake([&](Actor&) -> Co<> {
        semaphore.release();
        co_return;
    });
    stage.join(*waiters[2]);
    stage.join(*waiters[0]);
    stage.join(*waiters[1]);
    EXPECT_TRUE(waiters[0]->was_cancelled());
    EXPECT_TRUE(waiters[1]->was_cancelled());
    EXPECT_EQ(got.list(), std::vector<int>{3});
    stage.parked(*waiters[3], semaphore);
    waiters[3]->cancel();
    stage.join();
    EXPECT_EQ(semaphore.value(), 0);
    semaphore.release();
    EXPECT_EQ(semaphore.value(), 1);
}

template <class S>
void a_cancellation_after_the_grant_leaves_the_permit_with_the_waiter(Stage& stage) {
    S semaphore(1);
    semaphore.acquire();
    sync::Event never;
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        const bool got = co_await me.acquire(semaphore);
        EXPECT_TRUE(got);
        const End end = co_await end_of(me.wait(never)); // here it comes
        EXPECT_EQ(end, End::cancelled);
        semaphore.release();
    });
    stage.parked(waiter, semaphore);
    Actor& next = stage.waiter([&](Actor& me) -> Co<> { co_await me.acquire(semaphore); });
    stage.parked(next, semaphore);
    stage.wake([&](Actor&) -> Co<> {
        semaphore.release();
        waiter.cancel();
        co_return;
    });
    stage.join();
    EXPECT_EQ(semaphore.value(), 0) << "the next one has it";
}

template <class S>
void a_signal_neither_ends_nor_prolongs_an_acquire(Stage& stage) {
    S semaphore(1);
    semaphore.acquire();
    Interrupter signals;
    std::atomic<pthread_t> thread{};
    std::atomic<bool> timed_out{false};
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        thread = ::pthread_self();
        const std::int64_t began = base::monotonic_ns();
        const bool early = co_await me.acquire(semaphore, 30ms);
        EXPECT_FALSE(early);
        EXPECT_GE(base::monotonic_ns() - began, 30'000'000);
        timed_out = true;
        const bool got = co_await me.acquire(semaphore);
        EXPECT_TRUE(got);
    });
    stage.parked(waiter, semaphore);
    while (!timed_out) signals.interrupt(thread);
    for (int i = 0; i < 20; ++i) {
        stage.parked(waiter, semaphore);
        signals.interrupt(thread);
    }
    EXPECT_FALSE(waiter.ended());
    stage.wake([&](Actor&) -> Co<> {
        semaphore.release();
        co_return;
    });
    stage.join();
}

template <class S>
void reset_after_fork_keeps_the_permits(Stage&) {
    S semaphore(3);
    semaphore.acquire();
    semaphore.reset_after_fork();
    EXPECT_EQ(semaphore.value(), 2);
    EXPECT_TRUE(semaphore.acquire());
    EXPECT_TRUE(semaphore.acquire(false));
    EXPECT_FALSE(semaphore.acquire(false));
}

} // namespace base_semaphore

class Semaphore : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(Semaphore);
class BoundedSemaphore : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(BoundedSemaphore);

#define FOR_BOTH(name)                                                        \
    TEST_P(Semaphore, name) { base_semaphore::name<sync::Semaphore>(stage); } \
    TEST_P(BoundedSemaphore, name) { base_semaphore::name<sync::BoundedSemaphore>(stage); }
FOR_BOTH(fewer_than_no_permits_are_refused)
FOR_BOTH(acquire_takes_permits_while_there_are_any)
FOR_BOTH(as_many_get_in_as_permits_are_released)
FOR_BOTH(release_of_n_lets_n_in)
FOR_BOTH(acquire_without_blocking_gives_each_permit_once)
FOR_BOTH(a_time_out_is_not_early_and_takes_no_permit)
FOR_BOTH(without_a_number_there_is_one_permit)
FOR_BOTH(a_guard_gives_the_permit_back_also_when_an_exception_passes)
FOR_BOTH(release_of_less_than_one_is_refused_and_changes_nothing)
FOR_BOTH(permits_are_handed_over_in_the_order_of_coming_and_nobody_overtakes)
FOR_BOTH(a_cancelled_waiter_leaves_and_the_permits_go_to_the_others)
FOR_BOTH(a_cancellation_after_the_grant_leaves_the_permit_with_the_waiter)
FOR_BOTH(a_signal_neither_ends_nor_prolongs_an_acquire)
FOR_BOTH(reset_after_fork_keeps_the_permits)

TEST_P(Semaphore, release_without_an_acquire_adds_a_permit) {
    sync::Semaphore semaphore(1);
    stage.wake([&](Actor&) -> Co<> {
        semaphore.release();
        co_return;
    });
    EXPECT_EQ(semaphore.value(), 2);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(semaphore);
        co_await me.acquire(semaphore);
        semaphore.release();
    }));
    EXPECT_EQ(semaphore.value(), 1);
}

TEST_P(BoundedSemaphore, more_than_the_first_permits_are_refused_and_nothing_is_released) {
    sync::BoundedSemaphore semaphore(3);
    stage.wake([&](Actor& me) -> Co<> {
        EXPECT_THROW(semaphore.release(), UsageError);
        co_await me.acquire(semaphore);
        semaphore.release();
        EXPECT_THROW(semaphore.release(), UsageError);
        co_await me.acquire(semaphore);
        co_await me.acquire(semaphore);
        EXPECT_THROW(semaphore.release(3), UsageError);
        EXPECT_EQ(semaphore.value(), 1) << "not even the two that would fit";
        semaphore.release(2);
        EXPECT_EQ(semaphore.value(), 3);
    });
    // Also while somebody waits: none of the waiters gets in by a release that is refused.
    for (int i = 0; i < 3; ++i) semaphore.acquire();
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> { co_await me.acquire(semaphore); });
    stage.parked(waiter, semaphore);
    stage.wake([&](Actor&) -> Co<> {
        EXPECT_THROW(semaphore.release(4), UsageError);
        co_return;
    });
    stage.parked(waiter, semaphore);
    semaphore.release(3);
    stage.join();
    EXPECT_EQ(semaphore.value(), 2);
}

} // namespace
} // namespace sennit
