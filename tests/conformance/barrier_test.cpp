// What Python's BarrierTests and asyncio's BarrierTests know, for every pair of agents. The table of cases is
// docs/conformance/sync.md.
#include "conformance.hpp"

#include <sennit/sync.hpp>

#include <array>
#include <numeric>
#include <stdexcept>
#include <thread>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;

constexpr int parties = 5;

class Barrier : public AgentPairTest {
  protected:
    // Some of one kind, some of the other.
    void start(int n, const Actor::Body& body) {
        for (int i = 0; i < n; ++i)
            stage.start(i % 2 ? stage.pair().waker : stage.pair().waiter, body, stage.pair().one_loop || i % 2 == 0);
    }
};
SENNIT_FOR_ALL_PAIRS(Barrier);

std::vector<int> numbers(int n) {
    std::vector<int> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

TEST_P(Barrier, less_than_one_party_is_refused_and_one_passes_at_once) {
    EXPECT_THROW(sync::Barrier(0), UsageError);
    sync::Barrier one(1);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (int i = 0; i < 2; ++i) {
            int number = co_await me.wait(one);
            EXPECT_EQ(number, 0);
            number = co_await me.wait(one, 0s);
            EXPECT_EQ(number, 0);
        }
    }));
    EXPECT_EQ(one.n_waiting(), 0U);
    EXPECT_FALSE(one.broken());
}

TEST_P(Barrier, is_passed_in_lockstep_ten_times) {
    sync::Barrier barrier(parties);
    EXPECT_EQ(barrier.parties(), static_cast<std::size_t>(parties));
    std::atomic<int> before{0}, after{0};
    start(parties, [&](Actor& me) -> Co<> {
        for (int i = 0; i < 10; ++i) {
            ++before;
            EXPECT_EQ(after, i * parties);
            co_await me.wait(barrier);
            ++after;
            EXPECT_EQ(before, (i + 1) * parties);
            co_await me.wait(barrier);
        }
    });
    stage.join();
    EXPECT_EQ(barrier.n_waiting(), 0U);
    EXPECT_FALSE(barrier.broken());
}

TEST_P(Barrier, gives_each_one_another_number_the_last_to_come_the_greatest) {
    sync::Barrier barrier(parties);
    for (int round = 0; round < 3; ++round) {
        Log<int> got;
        start(parties - 1, [&](Actor& me) -> Co<> { got.add(co_await me.wait(barrier)); });
        wait_until_parked_on(&barrier, parties - 1);
        EXPECT_EQ(barrier.n_waiting(), static_cast<std::size_t>(parties - 1));
        EXPECT_EQ(got.size(), 0U);
        stage.wake([&](Actor& me) -> Co<> {
            const int last = co_await me.wait(barrier);
            EXPECT_EQ(last, parties - 1);
        });
        stage.join();
        EXPECT_EQ(got.sorted(), numbers(parties - 1));
        EXPECT_EQ(barrier.n_waiting(), 0U);
    }
}

TEST_P(Barrier, runs_its_action_once_a_round_before_anybody_is_released) {
    int done = 0; // plain: whoever passes has to see it, and nobody runs while it changes
    sync::Barrier barrier(parties, [&] { ++done; });
    start(parties, [&](Actor& me) -> Co<> {
        for (int round = 1; round <= 6; ++round) {
            co_await me.wait(barrier);
            EXPECT_EQ(done, round); // it stays so until all have come again
        }
    });
    stage.join();
    EXPECT_EQ(done, 6);
}

TEST_P(Barrier, an_action_that_throws_breaks_it_and_its_runner_alone_gets_the_exception) {
    sync::Barrier barrier(parties, [] { throw std::runtime_error("an action that throws"); });
    std::atomic<int> broken{0}, thrown{0};
    start(parties, [&](Actor& me) -> Co<> {
        try {
            co_await me.wait(barrier);
        } catch (const BrokenBarrierError&) {
            ++broken;
        } catch (const std::runtime_error&) {
            ++thrown;
        }
    });
    stage.join();
    EXPECT_EQ(thrown, 1);
    EXPECT_EQ(broken, parties - 1);
    EXPECT_TRUE(barrier.broken());
    barrier.reset();
    EXPECT_FALSE(barrier.broken());
}

TEST_P(Barrier, abort_sends_those_who_wait_and_all_who_come_away) {
    sync::Barrier barrier(parties);
    Log<int> ends;
    start(parties - 1, [&](Actor& me) -> Co<> { ends.add(co_await end_of(me.wait(barrier))); });
    wait_until_parked_on(&barrier, parties - 1);
    stage.wake([&](Actor& me) -> Co<> {
        barrier.abort();
        barrier.abort();
        const int late = co_await end_of(me.wait(barrier));
        EXPECT_EQ(late, -1);
    });
    stage.join();
    EXPECT_EQ(ends.list(), std::vector<int>(parties - 1, -1));
    EXPECT_TRUE(barrier.broken());
    EXPECT_EQ(barrier.n_waiting(), 0U);
}

TEST_P(Barrier, abort_by_one_that_has_passed_breaks_the_next_round) {
    sync::Barrier barrier(parties);
    std::atomic<int> passed{0}, broken{0};
    start(parties, [&](Actor& me) -> Co<> {
        const int number = co_await me.wait(barrier);
        if (number == parties / 2) {
            barrier.abort();
            co_return;
        }
        const int second = co_await end_of(me.wait(barrier));
        ++(second < 0 ? broken : passed);
    });
    stage.join();
    EXPECT_EQ(passed, 0);
    EXPECT_EQ(broken, parties - 1);
    EXPECT_TRUE(barrier.broken());
}

TEST_P(Barrier, reset_sends_those_who_wait_away_and_it_is_as_new) {
    sync::Barrier barrier(parties);
    Log<int> ends, again;
    start(parties - 1, [&](Actor& me) -> Co<> {
        ends.add(co_await end_of(me.wait(barrier)));
        again.add(co_await me.wait(barrier));
    });
    wait_until_parked_on(&barrier, parties - 1);
    stage.wake([&](Actor& me) -> Co<> {
        barrier.reset();
        EXPECT_FALSE(barrier.broken());
        again.add(co_await me.wait(barrier));
    });
    stage.join();
    EXPECT_EQ(ends.list(), std::vector<int>(parties - 1, -1));
    EXPECT_EQ(again.sorted(), numbers(parties));
    EXPECT_EQ(barrier.n_waiting(), 0U);
    EXPECT_FALSE(barrier.broken());
    barrier.reset(); // nobody waits
    EXPECT_FALSE(barrier.broken());
}

TEST_P(Barrier, works_again_when_it_is_reset_after_an_abort) {
    sync::Barrier barrier(parties), meeting(parties);
    std::atomic<int> passed{0}, broken{0}, at_last{0};
    start(parties, [&](Actor& me) -> Co<> {
        const int number = co_await me.wait(barrier);
        if (number == parties / 2) {
            barrier.abort();
        } else {
            const int second = co_await end_of(me.wait(barrier));
            ++(second < 0 ? broken : passed);
        }
        const int met = co_await me.wait(meeting);
        if (met == parties / 2) barrier.reset();
        co_await me.wait(meeting);
        co_await me.wait(barrier);
        ++at_last;
    });
    stage.join();
    EXPECT_EQ(passed, 0);
    EXPECT_EQ(broken, parties - 1);
    EXPECT_EQ(at_last, parties);
}

TEST_P(Barrier, one_time_out_breaks_it_for_all_until_the_reset) {
    sync::Barrier barrier(parties);
    Log<int> ends;
    start(parties - 2, [&](Actor& me) -> Co<> { ends.add(co_await end_of(me.wait(barrier))); });
    wait_until_parked_on(&barrier, parties - 2);
    stage.wake([&](Actor& me) -> Co<> {
        const std::int64_t began = base::monotonic_ns();
        const int end = co_await end_of(me.wait(barrier, 20ms));
        EXPECT_EQ(end, -1);
        EXPECT_GE(base::monotonic_ns() - began, 20'000'000);
    });
    stage.join();
    EXPECT_EQ(ends.list(), std::vector<int>(parties - 2, -1));
    EXPECT_TRUE(barrier.broken());
    EXPECT_EQ(barrier.n_waiting(), 0U);
    barrier.reset();
    EXPECT_FALSE(barrier.broken());
}

TEST_P(Barrier, a_deadline_of_zero_or_less_breaks_it_unless_the_round_is_full) {
    for (const Deadline d : {Deadline(0s), Deadline(-1s)}) {
        sync::Barrier barrier(2);
        stage.join(stage.waiter([&](Actor& me) -> Co<> {
            const int alone = co_await end_of(me.wait(barrier, d));
            EXPECT_EQ(alone, -1);
        }));
        EXPECT_TRUE(barrier.broken());
        barrier.reset();
        Actor& first = stage.waiter([&](Actor& me) -> Co<> { co_await me.wait(barrier); });
        stage.parked(first, barrier);
        stage.wake([&](Actor& me) -> Co<> {
            const int last = co_await end_of(me.wait(barrier, d));
            EXPECT_EQ(last, 1);
        });
        stage.join();
    }
}

TEST_P(Barrier, has_a_time_out_of_its_own_that_begins_anew_with_each_wait) {
    sync::Barrier barrier(2, {}, 20ms);
    for (int round = 0; round < 2; ++round) {
        stage.join(stage.waiter([&](Actor& me) -> Co<> {
            const std::int64_t began = base::monotonic_ns();
            const int end = co_await end_of(me.wait(barrier));
            EXPECT_EQ(end, -1);
            EXPECT_GE(base::monotonic_ns() - began, 20'000'000);
        }));
        EXPECT_TRUE(barrier.broken());
        barrier.reset();
    }
}

TEST_P(Barrier, a_cancelled_waiter_leaves_its_place_and_breaks_nothing) {
    sync::Barrier barrier(3);
    Log<int> ends;
    const auto wait = [&](Actor& me) -> Co<> { ends.add(co_await me.wait(barrier)); };
    Actor& first = stage.waiter(wait);
    stage.parked(first, barrier);
    EXPECT_EQ(barrier.n_waiting(), 1U);
    Actor& second = stage.waiter(wait);
    stage.parked(second, barrier);
    EXPECT_EQ(barrier.n_waiting(), 2U);
    first.cancel();
    stage.join(first);
    EXPECT_TRUE(first.was_cancelled());
    EXPECT_EQ(barrier.n_waiting(), 1U);
    EXPECT_FALSE(barrier.broken());
    Actor& third = stage.waker(wait);
    stage.parked(third, barrier);
    EXPECT_EQ(barrier.n_waiting(), 2U);
    stage.waker(wait);
    stage.join();
    EXPECT_EQ(ends.sorted(), numbers(3));
    EXPECT_FALSE(barrier.broken());
}

// asyncio's "draining" is no state here: a full round is taken out at once, so what comes then belongs to the next one.
TEST_P(Barrier, who_comes_while_a_round_leaves_belongs_to_the_next_one) {
    constexpr int again = 2;
    sync::Barrier barrier(parties), others(parties - again);
    std::atomic<int> early{again}, met{0};
    start(parties, [&](Actor& me) -> Co<> {
        co_await me.wait(barrier);
        if (early.fetch_sub(1) > 0) {
            co_await me.wait(barrier);
        } else {
            co_await me.wait(others); // full only if those who were early did not get through
            ++met;
            co_await me.wait(barrier);
        }
    });
    stage.join();
    EXPECT_EQ(met, parties - again);
    EXPECT_EQ(barrier.n_waiting(), 0U);
}

TEST_P(Barrier, reset_and_abort_do_not_touch_a_round_that_was_full) {
    for (const bool abort : {false, true}) {
        sync::Barrier barrier(parties);
        Log<int> first, second;
        std::atomic<int> out{0};
        start(parties, [&](Actor& me) -> Co<> {
            first.add(co_await end_of(me.wait(barrier)));
            // Half way out: some of the round have not run yet.
            if (++out == parties / 2) abort ? barrier.abort() : barrier.reset();
        });
        stage.join();
        EXPECT_EQ(first.sorted(), numbers(parties));
        EXPECT_EQ(barrier.broken(), abort);
        EXPECT_EQ(barrier.n_waiting(), 0U);
    }
}

TEST_P(Barrier, reset_while_a_round_leaves_breaks_only_those_who_wait_again) {
    sync::Barrier barrier(parties);
    constexpr int again = parties / 2;
    Log<int> second;
    std::atomic<int> out{0};
    std::array<std::atomic<Actor*>, again> early{}; // those who wait again
    start(parties, [&](Actor& me) -> Co<> {
        co_await me.wait(barrier);
        const auto n = static_cast<std::size_t>(out.fetch_add(1));
        if (n >= again) co_return;
        early[n] = &me;
        second.add(co_await end_of(me.wait(barrier)));
    });
    for (const std::atomic<Actor*>& one : early) {
        while (!one) std::this_thread::yield();
        stage.parked(*one, barrier);
    }
    stage.wake([&](Actor&) -> Co<> {
        barrier.reset();
        co_return;
    });
    stage.join();
    EXPECT_EQ(second.list(), std::vector<int>(again, -1));
    EXPECT_FALSE(barrier.broken());
}

TEST_P(Barrier, a_signal_neither_ends_nor_prolongs_a_wait) {
    sync::Barrier barrier(2);
    Interrupter signals;
    std::atomic<pthread_t> thread{};
    std::atomic<bool> timed_out{false};
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        thread = ::pthread_self();
        const std::int64_t began = base::monotonic_ns();
        const int end = co_await end_of(me.wait(barrier, 30ms));
        EXPECT_EQ(end, -1);
        EXPECT_GE(base::monotonic_ns() - began, 30'000'000);
        barrier.reset();
        timed_out = true;
        const int number = co_await end_of(me.wait(barrier));
        EXPECT_EQ(number, 0);
    });
    stage.parked(waiter, barrier);
    while (!timed_out) signals.interrupt(thread);
    for (int i = 0; i < 20; ++i) {
        stage.parked(waiter, barrier);
        signals.interrupt(thread);
    }
    stage.wake([&](Actor& me) -> Co<> { co_await me.wait(barrier); });
    stage.join();
}

} // namespace
} // namespace sennit
