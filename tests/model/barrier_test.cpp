#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include <chrono>
#include <stdexcept>

namespace sennit {
namespace {

using model::agent_thread;
using model::expect;
using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

enum class End { passed, broken, cancelled };

End come(sync::Barrier& barrier, Deadline deadline = forever, int* index = nullptr) {
    try {
        const int i = barrier.wait(deadline);
        if (index) *index = i;
        return End::passed;
    } catch (const BrokenBarrierError&) {
        return End::broken;
    } catch (const CancelledError&) {
        return End::cancelled;
    }
}

SCENARIO(BarrierModel, lets_two_pass_together_with_a_number_each, .surprises = 3) {
    sync::Barrier barrier(2);
    model::var<int> mine{0}, theirs{0};
    int index = -1, other_index = -1;
    {
        agent_thread other([&] {
            theirs = 1;
            expect(come(barrier, forever, &other_index) == End::passed, "passed");
            expect(mine == 1, "what the other did before");
        });
        mine = 1;
        expect(come(barrier, forever, &index) == End::passed, "passed");
        expect(theirs == 1, "what the other did before");
    }
    expect(index + other_index == 1 && index >= 0 && other_index >= 0, "0 and 1");
}

SCENARIO(BarrierModel, rounds_do_not_mix) {
    sync::Barrier barrier(3);
    model::var<int> round[3]{0, 0, 0};
    const auto work = [&](int me) {
        for (int r = 1; r <= 2; ++r) {
            round[me] = r;
            barrier.wait();
            for (auto& other : round) expect(other == r, "all are in this round");
            barrier.wait();
        }
    };
    agent_thread a([&] { work(0); }), b([&] { work(1); });
    work(2);
}

SCENARIO(BarrierModel, the_action_runs_once_before_anybody_is_released, .surprises = 3) {
    model::var<int> runs{0};
    sync::Barrier barrier(2, [&] { ++runs; });
    {
        agent_thread other([&] {
            barrier.wait();
            expect(runs == 1, "the action has run");
        });
        barrier.wait();
        expect(runs == 1, "the action has run");
    }
    expect(runs == 1, "once");
}

SCENARIO(BarrierModel, an_action_that_throws_breaks_it_for_the_others, .surprises = 3) {
    sync::Barrier barrier(2, [] { throw std::runtime_error("the action"); });
    const auto wait = [&] {
        try {
            barrier.wait();
        } catch (const BrokenBarrierError&) {
            return 1;
        } catch (const std::runtime_error&) {
            return 10;
        }
        return 0;
    };
    int mine = 0, theirs = 0;
    {
        agent_thread other([&] { theirs = wait(); });
        mine = wait();
    }
    expect(mine + theirs == 11, "one has its error, the other a broken barrier");
    expect(barrier.broken(), "and so it stays");
}

SCENARIO(BarrierModel, a_deadline_breaks_it_for_all_or_for_nobody, .surprises = 3) {
    sync::Barrier barrier(2);
    End mine{}, theirs{};
    {
        agent_thread other([&] { theirs = come(barrier, 5ms); });
        mine = come(barrier);
    }
    expect(mine == theirs, "both passed, or both found it broken");
    expect(barrier.broken() == (mine == End::broken), "broken, or as new");
    expect(barrier.n_waiting() == 0, "nobody is left");
}

SCENARIO(BarrierModel, a_deadline_against_an_action_breaks_it_for_all_or_for_nobody, .surprises = 3) {
    model::var<int> runs{0};
    sync::Barrier barrier(2, [&] { ++runs; });
    End mine{}, theirs{};
    {
        agent_thread other([&] {
            theirs = come(barrier, 5ms);
            if (theirs == End::passed) expect(runs == 1, "the action has run");
        });
        mine = come(barrier);
    }
    expect(mine == theirs, "both passed, or both found it broken");
    expect(runs == (mine == End::passed ? 1 : 0), "the action ran if the round was full");
}

SCENARIO(BarrierModel, a_cancelled_waiter_leaves_and_does_not_break_it, .surprises = 2) {
    sync::Barrier barrier(2);
    End cancelled{};
    {
        agent_thread other([&] { cancelled = come(barrier); });
        other.agent().cancel();
        // Two who come anyway: they pass with each other, or one of them with the other agent.
        agent_thread third([&] { come(barrier, 5ms); });
        const End mine = come(barrier, 5ms);
        if (cancelled == End::cancelled) expect(mine != End::cancelled, "nobody else is cancelled");
    }
    expect(barrier.n_waiting() == 0, "nobody is left");
}

SCENARIO(BarrierModel, abort_sends_away_who_waits_and_who_comes, .surprises = 3) {
    sync::Barrier barrier(2);
    agent_thread waiter([&] { expect(come(barrier) == End::broken, "broken"); });
    barrier.abort();
    waiter.join();
    expect(barrier.broken() && barrier.n_waiting() == 0, "broken and empty");
}

SCENARIO(BarrierModel, reset_sends_away_who_waits_and_it_is_as_new, .surprises = 3) {
    sync::Barrier barrier(2);
    End first{};
    agent_thread waiter([&] { first = come(barrier, 5ms); });
    barrier.reset();
    waiter.join();
    expect(first == End::broken, "it was reset, or its deadline has passed");
    barrier.reset();
    agent_thread other([&] { expect(come(barrier) == End::passed, "passed"); });
    expect(come(barrier) == End::passed, "passed");
    other.join();
}

SCENARIO(BarrierModel, threads_and_a_coroutine_pass_together) {
    sync::Barrier barrier(3);
    int sum[3] = {0, 0, 0};
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        for (int i = 0; i < 2; ++i) sum[0] += co_await barrier.async_wait();
    });
    {
        agent_thread a([&] {
            for (int i = 0; i < 2; ++i) sum[1] += barrier.wait();
        });
        for (int i = 0; i < 2; ++i) sum[2] += barrier.wait();
    }
    loop.join();
    expect(sum[0] + sum[1] + sum[2] == 6, "0, 1 and 2, twice");
}

SCENARIO(BarrierModel, deadlines_cancellations_and_resets_leave_nobody_behind) {
    sync::Barrier barrier(2);
    {
        agent_thread a([&] { come(barrier, 5ms); });
        agent_thread b([&] { come(barrier, 3ms); });
        agent_thread c([&] {
            a.agent().cancel();
            barrier.reset();
        });
        come(barrier, 4ms);
    }
    expect(barrier.n_waiting() == 0, "nobody is left");
}

} // namespace
} // namespace sennit
