// CPython's _TestBarrier, and BarrierTests where it makes sense between processes: within one process for every pair of agents, and
// across fork(). The table of cases is docs/conformance/multiprocessing.md.
#include "conformance.hpp"

#include <sennit/multiprocessing/barrier.hpp>
#include <sennit/multiprocessing/sharedctypes.hpp>

#include <csignal>
#include <numeric>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;
namespace mp = multiprocessing;

constexpr int parties = 4;

class SharedBarrier : public AgentPairTest {
  protected:
    static Co<int> wait(Actor& me, mp::Barrier& b) {
        return me.call([&b] { return b.wait(); }, [&b] { return b.async_wait(); });
    }
    static Co<int> wait(Actor& me, mp::Barrier& b, Deadline deadline) {
        return me.call([&b, deadline] { return b.wait(deadline); }, [&b, deadline] { return b.async_wait(deadline); });
    }
    // Some of one kind, some of the other.
    void start(int n, const Actor::Body& body) {
        for (int i = 0; i < n; ++i)
            stage.start(i % 2 ? stage.pair().waker : stage.pair().waiter, body, stage.pair().one_loop || i % 2 == 0);
    }
};
SENNIT_FOR_ALL_PAIRS(SharedBarrier);

std::vector<int> numbers(int n) {
    std::vector<int> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

TEST_P(SharedBarrier, less_than_one_party_is_refused_and_one_passes_at_once) {
    EXPECT_THROW(mp::Barrier(0), UsageError);
    mp::Barrier one(1);
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        for (int i = 0; i < 2; ++i) {
            int number = co_await wait(me, one);
            EXPECT_EQ(number, 0);
            number = co_await wait(me, one, 0s);
            EXPECT_EQ(number, 0);
        }
    }));
    EXPECT_EQ(one.n_waiting(), 0U);
    EXPECT_FALSE(one.broken());
}

TEST_P(SharedBarrier, is_passed_in_lockstep_with_an_action_before_anybody_is_released) {
    int done = 0; // plain: whoever passes has to see it, and nobody runs while it changes
    mp::Barrier barrier(parties, [&] { ++done; });
    EXPECT_EQ(barrier.parties(), static_cast<std::size_t>(parties));
    Log<int> got;
    start(parties, [&](Actor& me) -> Co<> {
        for (int round = 1; round <= 5; ++round) {
            const int number = co_await wait(me, barrier);
            if (round == 3) got.add(number);
            EXPECT_EQ(done, round); // it stays so until all have come again
        }
    });
    stage.join();
    EXPECT_EQ(done, 5);
    EXPECT_EQ(got.sorted(), numbers(parties));
    EXPECT_EQ(barrier.n_waiting(), 0U);
    EXPECT_FALSE(barrier.broken());
}

TEST_P(SharedBarrier, an_action_that_throws_breaks_it_and_its_runner_alone_gets_the_exception) {
    mp::Barrier barrier(parties, [] { throw std::runtime_error("an action that throws"); });
    std::atomic<int> broken{0}, thrown{0};
    start(parties, [&](Actor& me) -> Co<> {
        try {
            co_await wait(me, barrier);
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

TEST_P(SharedBarrier, abort_and_reset_send_those_who_wait_away) {
    mp::Barrier barrier(parties);
    for (const bool reset : {false, true}) {
        Log<int> ends;
        start(parties - 1, [&](Actor& me) -> Co<> { ends.add(co_await end_of(wait(me, barrier))); });
        wait_until_parked_on(&barrier, parties - 1);
        EXPECT_EQ(barrier.n_waiting(), static_cast<std::size_t>(parties - 1));
        if (reset)
            barrier.reset();
        else
            barrier.abort();
        stage.join();
        EXPECT_EQ(ends.list(), std::vector<int>(parties - 1, -1));
        EXPECT_EQ(barrier.broken(), !reset);
        if (!reset) {
            stage.wake([&](Actor& me) -> Co<> {
                const int late = co_await end_of(wait(me, barrier));
                EXPECT_EQ(late, -1);
            });
            barrier.reset();
        }
    }
    start(parties, [&](Actor& me) -> Co<> { co_await wait(me, barrier); });
    stage.join();
}

TEST_P(SharedBarrier, one_time_out_breaks_it_for_all_and_its_own_default_may_be_given) {
    mp::Barrier barrier(parties, {}, 20ms);
    Log<int> ends;
    start(parties - 2, [&](Actor& me) -> Co<> { ends.add(co_await end_of(wait(me, barrier, forever))); });
    wait_until_parked_on(&barrier, parties - 2);
    start(1, [&](Actor& me) -> Co<> { ends.add(co_await end_of(wait(me, barrier))); });
    stage.join();
    EXPECT_EQ(ends.list(), std::vector<int>(parties - 1, -1));
    EXPECT_TRUE(barrier.broken());
}

TEST_P(SharedBarrier, a_cancelled_waiter_leaves_and_no_longer_counts) {
    mp::Barrier barrier(2);
    Actor& gone = stage.waiter([&](Actor& me) -> Co<> { co_await wait(me, barrier); });
    stage.parked(gone, barrier);
    gone.cancel();
    stage.join(gone);
    EXPECT_TRUE(gone.was_cancelled());
    EXPECT_EQ(barrier.n_waiting(), 0U);
    EXPECT_FALSE(barrier.broken());
    Log<int> got;
    start(2, [&](Actor& me) -> Co<> { got.add(co_await wait(me, barrier)); });
    stage.join();
    EXPECT_EQ(got.sorted(), numbers(2));
}

int status_of(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

TEST(SharedBarrierAcrossFork, is_passed_together_round_after_round) {
    const mp::RawValue<int> done(0);
    mp::Barrier barrier(3, [&] { *done = *done + 1; });
    const auto rounds = [&] {
        for (int round = 1; round <= 200; ++round) {
            barrier.wait();
            if (*done != round) return 1;
        }
        return 0;
    };
    pid_t children[2];
    for (pid_t& c : children) {
        c = ::fork();
        if (c == 0) ::_exit(rounds());
    }
    EXPECT_EQ(rounds(), 0);
    for (const pid_t c : children) EXPECT_EQ(status_of(c), 0);
}

TEST(SharedBarrierAcrossFork, breaks_when_one_that_waits_is_killed) {
    mp::Barrier barrier(3);
    const pid_t doomed = ::fork();
    if (doomed == 0) {
        barrier.wait();
        ::_exit(0);
    }
    const pid_t other = ::fork();
    if (other == 0) {
        try {
            barrier.wait();
        } catch (const BrokenBarrierError&) {
            ::_exit(7);
        }
        ::_exit(0);
    }
    while (barrier.n_waiting() < 2) ::sched_yield();
    ::kill(doomed, SIGKILL);
    status_of(doomed);
    EXPECT_EQ(WEXITSTATUS(status_of(other)), 7);
    EXPECT_TRUE(barrier.broken());
    EXPECT_THROW(barrier.wait(), BrokenBarrierError);
    barrier.reset();
    EXPECT_FALSE(barrier.broken());
    EXPECT_EQ(barrier.n_waiting(), 0U);
}

TEST(SharedBarrierAcrossFork, breaks_when_the_runner_of_the_action_dies_in_it) {
    bool in_child = false;
    mp::Barrier barrier(2, [&] {
        if (in_child) ::raise(SIGKILL);
    });
    const pid_t doomed = ::fork();
    if (doomed == 0) {
        in_child = true;
        while (barrier.n_waiting() < 1) ::sched_yield();
        barrier.wait();
        ::_exit(0);
    }
    EXPECT_THROW(barrier.wait(), BrokenBarrierError);
    EXPECT_TRUE(WIFSIGNALED(status_of(doomed)));
}

TEST(SharedBarrierAcrossFork, is_one_for_every_handle_also_one_made_from_its_place) {
    mp::Barrier barrier(2);
    mp::Barrier attached{
        mp::SharedBlock(os::duplicate(barrier.block().fd()), barrier.block().offset(), barrier.block().size())};
    const pid_t child = ::fork();
    if (child == 0) ::_exit(attached.wait() < 2 ? 0 : 1);
    barrier.wait();
    EXPECT_EQ(status_of(child), 0);
    EXPECT_THROW(mp::Barrier(mp::SharedBlock(4096)), InvalidStateError);
}

} // namespace
} // namespace sennit
