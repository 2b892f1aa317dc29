// The one-state rule, on the least that can be waited for. tests/model/waiter.pml is the same in Promela.
#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/wait/registry.hpp>
#include <sennit/wait/wait_queue.hpp>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using model::agent_thread;
using model::expect;
using wait::Outcome;

/// Hands out permits, oldest waiter first.
class Gate {
  public:
    /// Takes a permit; else tells how the wait ended.
    Outcome pass(Deadline deadline = forever, bool interruptible = true) {
        Op op(*this, interruptible);
        wait::current_agent().wait(op, deadline);
        return op.outcome();
    }
    void give() {
        wait::WakeList wakes;
        wait::WaitQueue::Guard guard(queue_);
        if (!queue_.claim_first(guard, wakes)) ++permits_;
    }
    int permits() {
        wait::WaitQueue::Guard guard(queue_);
        return permits_;
    }
    bool has_waiters() {
        wait::WaitQueue::Guard guard(queue_);
        return !queue_.empty(guard);
    }

    class Op final : public wait::Wait {
      public:
        explicit Op(Gate& gate, bool interruptible = true) : Wait(&gate, pass_site), gate_(gate) {
            interruptible_ = interruptible;
        }
        bool step() noexcept override {
            if (linked_) {
                if (outcome() != Outcome::woken) {
                    wait::WaitQueue::Guard guard(gate_.queue_);
                    gate_.queue_.remove(guard, *this);
                }
                return true;
            }
            wait::WaitQueue::Guard guard(gate_.queue_);
            if (gate_.permits_ > 0) {
                --gate_.permits_;
                settle(Outcome::woken);
                return true;
            }
            arm();
            gate_.queue_.push_back(guard, *this);
            linked_ = true;
            return false;
        }

      private:
        Gate& gate_;
        bool linked_ = false;
    };

  private:
    static constexpr wait::WaitSite pass_site{"Gate", "pass"};
    wait::WaitQueue queue_;
    plain<int> permits_ = 0;
};

/// Cancellations come at a wait; the request is taken as the exception at the face of a primitive would.
bool passes(Gate& gate, Deadline deadline = forever) {
    const Outcome o = gate.pass(deadline);
    if (o == Outcome::cancelled) expect(wait::current_agent().take_cancel(), "a cancelled wait was asked for");
    return o == Outcome::woken;
}

// ---- exhaustive: every schedule with a few surprises

SCENARIO(WaitModel, a_notification_wakes_the_waiter, .surprises = 3) {
    Gate gate;
    agent_thread waiter([&] { expect(gate.pass() == Outcome::woken, "woken"); });
    gate.give();
}

SCENARIO(WaitModel, a_notification_for_each_waiter_wakes_all, .surprises = 2) {
    Gate gate;
    agent_thread a([&] { expect(gate.pass() == Outcome::woken, "woken"); });
    agent_thread b([&] { expect(gate.pass() == Outcome::woken, "woken"); });
    gate.give();
    gate.give();
}

SCENARIO(WaitModel, a_notification_or_the_deadline_ends_the_wait_and_no_permit_is_lost, .surprises = 3) {
    Gate gate;
    int passed = 0;
    {
        agent_thread waiter([&] { passed = gate.pass(5ms) == Outcome::woken; });
        gate.give();
    }
    expect(passed + gate.permits() == 1, "the permit is used or left");
    expect(!gate.has_waiters(), "nobody is left in the queue");
}

SCENARIO(WaitModel, a_notification_or_a_cancellation_ends_the_wait_and_neither_is_lost, .surprises = 3) {
    Gate gate;
    int passed = 0;
    bool pending = false;
    {
        agent_thread waiter([&] { passed = passes(gate); });
        agent_thread canceller([&] { waiter.agent().cancel(); });
        gate.give();
        canceller.join();
        model::let_all_park();
        pending = waiter.agent().take_cancel();
    }
    expect(passed + gate.permits() == 1, "the permit is used or left");
    expect(passed == pending, "the cancellation has ended the wait, or is left for the next");
}

SCENARIO(WaitModel, exactly_one_of_notification_deadline_and_cancellation_wins, .surprises = 2) {
    Gate gate;
    int passed = 0;
    {
        agent_thread waiter([&] { passed = passes(gate, 5ms); });
        agent_thread canceller([&] { waiter.agent().cancel(); });
        gate.give();
    }
    expect(passed + gate.permits() == 1, "the permit is used or left");
    expect(!gate.has_waiters(), "nobody is left in the queue");
}

SCENARIO(WaitModel, a_notification_that_meets_a_timed_out_waiter_goes_to_the_next, .surprises = 2) {
    Gate gate;
    int first = 0;
    {
        agent_thread a([&] { first = gate.pass(5ms) == Outcome::woken; });
        agent_thread b([&] { expect(gate.pass() == Outcome::woken, "woken"); }); // for ever, if it were lost
        gate.give();
        gate.give();
    }
    expect(first + gate.permits() == 1, "the other permit is used or left");
}

SCENARIO(WaitModel, a_notification_that_meets_a_cancelled_waiter_goes_to_the_next, .surprises = 2) {
    Gate gate;
    int first = 0;
    {
        agent_thread a([&] { first = passes(gate); });
        agent_thread b([&] { expect(gate.pass() == Outcome::woken, "woken"); });
        a.agent().cancel();
        gate.give();
        gate.give();
    }
    expect(first + gate.permits() == 1, "the other permit is used or left");
}

SCENARIO(WaitModel, one_cancellation_ends_one_wait, .surprises = 3) {
    Gate gate;
    int cancelled = 0;
    {
        agent_thread waiter([&] {
            for (int i = 0; i < 2; ++i) {
                const Outcome o = gate.pass(5ms);
                if (o != Outcome::cancelled) continue;
                ++cancelled;
                wait::current_agent().take_cancel();
            }
        });
        waiter.agent().cancel();
    }
    expect(cancelled <= 1, "at most one wait is cancelled");
}

SCENARIO(WaitModel, a_cancellation_before_the_wait_ends_it, .surprises = 3) {
    Gate gate;
    agent_thread waiter([&] {
        model::let_all_park();
        expect(gate.pass() == Outcome::cancelled, "cancelled");
    });
    waiter.agent().cancel();
}

SCENARIO(WaitModel, two_cancellers_at_once_end_one_wait_at_least_and_the_wait_outlives_both, .surprises = 2) {
    Gate gate;
    agent_thread waiter([&] { expect(gate.pass() == Outcome::cancelled, "cancelled"); });
    agent_thread other([&] { waiter.agent().cancel(); });
    waiter.agent().cancel();
}

SCENARIO(WaitModel, an_uninterruptible_wait_is_not_cancelled_and_the_next_one_is, .surprises = 3) {
    Gate gate;
    agent_thread waiter([&] {
        expect(gate.pass(forever, false) == Outcome::woken, "woken, not cancelled");
        expect(gate.pass() == Outcome::cancelled, "cancelled");
    });
    waiter.agent().cancel();
    gate.give();
}

SCENARIO(WaitModel, who_inspects_an_agent_reads_the_wait_only_while_it_lasts, .surprises = 3) {
    Gate gate;
    agent_thread waiter([&] {
        gate.pass(5ms);
        gate.pass(5ms);
    });
    for (int i = 0; i < 2; ++i) {
        const auto s = waiter.agent().snapshot();
        expect(!s.site || s.object == &gate, "the wait, or none");
    }
}

SCENARIO(WaitModel, who_inspects_and_who_cancels_do_not_disturb_each_other, .surprises = 2) {
    Gate gate;
    agent_thread waiter([&] { expect(gate.pass() == Outcome::cancelled, "cancelled"); });
    agent_thread inspector([&] { expect(waiter.agent().snapshot().id == waiter.agent().id(), "its id"); });
    waiter.agent().cancel();
}

// ---- seeded: larger ones

SCENARIO(WaitModel, permits_are_conserved_among_four_agents) {
    Gate gate;
    int a = 0, b = 0;
    {
        agent_thread first([&] {
            for (int i = 0; i < 3; ++i) a += passes(gate, 5ms);
        });
        agent_thread second([&] {
            for (int i = 0; i < 3; ++i) b += passes(gate, 3ms);
        });
        agent_thread canceller([&] {
            first.agent().cancel();
            second.agent().cancel();
            first.agent().cancel();
        });
        for (int i = 0; i < 4; ++i) gate.give();
    }
    expect(a + b + gate.permits() == 4, "four permits");
    expect(!gate.has_waiters(), "nobody is left in the queue");
}

SCENARIO(WaitModel, the_list_of_agents_is_right_while_they_come_and_go) {
    Gate gate;
    std::size_t most = 0;
    {
        agent_thread a([&] { passes(gate, 5ms); }), b([&] { passes(gate, 5ms); });
        agent_thread inspector([&] {
            for (int i = 0; i < 2; ++i) {
                const auto all = wait::Registry::snapshot();
                most = std::max(most, all.size());
                for (const auto& s : all) expect(!s.site || s.object == &gate, "what they wait for");
            }
        });
        gate.give();
    }
    expect(most >= 1 && most <= 3, "as many agents as there are");
    expect(wait::Registry::snapshot().empty(), "none is left");
}

// ---- coroutines

testing::Co<Outcome> async_pass(Gate& gate, Deadline deadline = forever) {
    struct Awaiter {
        Gate::Op op;
        Deadline deadline;
        Awaiter(Gate& g, Deadline d) : op(g), deadline(d) {} // gcc 12 would copy an aggregate
        bool await_ready() { return false; }
        bool await_suspend(std::coroutine_handle<> caller) {
            op.set_continuation(caller.address());
            return wait::current_agent().suspend(op, deadline);
        }
        Outcome await_resume() { return op.outcome(); }
    };
    co_return co_await Awaiter(gate, deadline);
}

SCENARIO(WaitModel, a_coroutine_is_woken_by_a_thread) {
    Gate gate;
    testing::TestLoop loop;
    loop.start();
    loop.spawn([&]() -> testing::Co<> { expect(co_await async_pass(gate) == Outcome::woken, "woken"); });
    gate.give();
    loop.join();
}

SCENARIO(WaitModel, a_coroutine_s_wait_ends_once_by_notification_deadline_or_cancellation) {
    Gate gate;
    int passed = 0;
    {
        testing::TestLoop loop;
        loop.start();
        auto& task = loop.spawn([&]() -> testing::Co<> {
            for (int i = 0; i < 2; ++i) passed += co_await async_pass(gate, 5ms) == Outcome::woken;
        });
        agent_thread canceller([&] { task.cancel(); });
        gate.give();
        gate.give();
        canceller.join();
        loop.join();
    }
    expect(passed + gate.permits() == 2, "two permits");
    expect(!gate.has_waiters(), "nobody is left in the queue");
}

SCENARIO(WaitModel, a_thread_and_a_coroutine_share_the_queue_and_lose_no_permit) {
    Gate gate;
    int coroutine = 0, thread = 0;
    {
        testing::TestLoop loop;
        loop.start();
        loop.spawn([&]() -> testing::Co<> { coroutine += co_await async_pass(gate, 5ms) == Outcome::woken; });
        agent_thread waiter([&] { thread += passes(gate, 5ms); });
        gate.give();
        waiter.join();
        loop.join();
    }
    expect(coroutine + thread + gate.permits() == 1, "one permit");
}

} // namespace
} // namespace sennit
