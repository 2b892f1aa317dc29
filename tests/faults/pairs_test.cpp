// F29: one agent waits and another one wakes it, for 12 primitives, every pair of agents, and three races: none, a deadline about as
// long as a wake-up takes, cancellations at random. Each time as many waits must succeed as were woken: one wake-up less hangs,
// and one more is counted.
#include <sennit/base/errors.hpp>
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>

#include "support/agent_pair.hpp"
#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <sched.h>
#include <string>
#include <utility>

namespace sennit {
namespace {

using testing::Actor;
using testing::Co;

enum class Race { none, deadline, cancel };

// Each give() lets one wait() through.
class Primitive {
  public:
    virtual ~Primitive() = default;
    virtual Co<bool> wait(Actor& me, Deadline deadline) = 0;
    virtual Co<> give(Actor& me) = 0;
    // What is there too much or too little once as many waits as gives have succeeded.
    virtual long left() = 0;
};

template <class L>
class OfLock final : public Primitive {
  public:
    Co<bool> wait(Actor& me, Deadline deadline) override {
        const bool got = co_await me.acquire(lock_, deadline);
        if (!got) co_return false;
        --balance_;
        lock_.release();
        co_return true;
    }
    // The other one takes it, too, and keeps it for a moment.
    Co<> give(Actor& me) override {
        co_await me.acquire(lock_);
        ++balance_;
        if (++turns_ % 4 == 0) {
            if (me.is_coroutine())
                co_await me.wait(never_, std::chrono::microseconds(1));
            else
                ::sched_yield();
        }
        lock_.release();
    }
    long left() override { return balance_ + (lock_.locked() ? 1'000'000 : 0); }

  private:
    L lock_;
    sync::Event never_;
    long balance_ = 0; // plain: two at once would lose a count
    long turns_ = 0;
};

class OfEvent final : public Primitive {
  public:
    Co<bool> wait(Actor& me, Deadline deadline) override {
        const bool set = co_await me.wait(event_, deadline);
        if (set) event_.clear();
        co_return set;
    }
    Co<> give(Actor&) override {
        event_.set();
        co_return;
    }
    long left() override { return event_.is_set() ? 1 : 0; }

  private:
    sync::Event event_;
};

template <class L>
class OfCondition final : public Primitive {
  public:
    Co<bool> wait(Actor& me, Deadline deadline) override {
        co_await me.acquire(condition_);
        bool cancelled = false;
        if (tokens_ == 0) {
            try {
                co_await me.wait(condition_, deadline);
            } catch (const CancelledError&) {
                cancelled = true;
            }
        }
        // One that was cancelled leaves the token to its next try.
        const bool got = !cancelled && tokens_ > 0;
        if (got) --tokens_;
        condition_.release();
        if (cancelled) throw CancelledError();
        co_return got;
    }
    Co<> give(Actor& me) override {
        co_await me.acquire(condition_);
        ++tokens_;
        condition_.notify();
        condition_.release();
    }
    long left() override { return tokens_ + (lock_.locked() ? 1'000'000 : 0); }

  private:
    L lock_;
    sync::Condition condition_{lock_};
    long tokens_ = 0;
};

template <class S>
class OfSemaphore final : public Primitive {
  public:
    OfSemaphore() { permits_.acquire(); }
    Co<bool> wait(Actor& me, Deadline deadline) override { return me.acquire(permits_, deadline); }
    Co<> give(Actor&) override {
        permits_.release();
        co_return;
    }
    long left() override { return permits_.value(); }

  private:
    S permits_{1};
};

class OfBarrier final : public Primitive {
  public:
    Co<bool> wait(Actor& me, Deadline deadline) override {
        bool passed = true;
        try {
            co_await me.wait(barrier_, deadline);
        } catch (const BrokenBarrierError&) {
            passed = false;
        }
        if (!passed) barrier_.reset();
        co_return passed;
    }
    Co<> give(Actor& me) override {
        for (bool passed = false; !passed;) {
            try {
                co_await me.wait(barrier_);
                passed = true;
            } catch (const BrokenBarrierError&) {} // by the other one's deadline; it resets
            if (!passed) ::sched_yield();
        }
    }
    long left() override { return static_cast<long>(barrier_.n_waiting()) + (barrier_.broken() ? 1'000'000 : 0); }

  private:
    sync::Barrier barrier_{2};
};

template <class Q>
class OfGet final : public Primitive {
  public:
    Co<bool> wait(Actor& me, Deadline deadline) override {
        bool got = true;
        try {
            const int item = co_await me.call([&] { return q_.get(deadline); }, [&] { return q_.async_get(deadline); });
            EXPECT_EQ(item, 7);
        } catch (const queue::Empty&) {
            got = false;
        }
        co_return got;
    }
    Co<> give(Actor&) override {
        q_.put(7);
        co_return;
    }
    long left() override { return static_cast<long>(q_.qsize()); }

  private:
    Q q_;
};

class OfPut final : public Primitive {
  public:
    OfPut() { q_.put(7); }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        bool put = true;
        try {
            if (me.is_coroutine())
                co_await q_.async_put(7, deadline);
            else
                q_.put(7, deadline);
        } catch (const queue::Full&) {
            put = false;
        }
        co_return put;
    }
    Co<> give(Actor&) override {
        EXPECT_EQ(q_.get(false), 7);
        co_return;
    }
    long left() override { return static_cast<long>(q_.qsize()) - 1; }

  private:
    queue::Queue<int> q_{1};
};

class OfJoin final : public Primitive {
  public:
    OfJoin() { begin(); }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        const bool joined =
            co_await me.call([&] { return q_.join(deadline); }, [&] { return q_.async_join(deadline); });
        if (joined) begin();
        co_return joined;
    }
    Co<> give(Actor&) override {
        q_.task_done();
        co_return;
    }
    long left() override { return q_.join(Deadline::poll()) ? 1 : 0; }

  private:
    void begin() {
        q_.put(7);
        q_.get();
    }
    queue::Queue<int> q_;
};

struct Named {
    const char* name;
    std::unique_ptr<Primitive> (*make)();
};
template <class P>
std::unique_ptr<Primitive> make() {
    return std::make_unique<P>();
}
const Named primitives[] = {
    {"Lock", make<OfLock<sync::Lock>>},
    {"RLock", make<OfLock<sync::RLock>>},
    {"Event", make<OfEvent>},
    {"Condition", make<OfCondition<sync::Lock>>},
    {"ConditionOfRLock", make<OfCondition<sync::RLock>>},
    {"Semaphore", make<OfSemaphore<sync::Semaphore>>},
    {"BoundedSemaphore", make<OfSemaphore<sync::BoundedSemaphore>>},
    {"Barrier", make<OfBarrier>},
    {"QueueGet", make<OfGet<queue::Queue<int>>>},
    {"PriorityQueueGet", make<OfGet<queue::PriorityQueue<int>>>},
    {"QueuePut", make<OfPut>},
    {"QueueJoin", make<OfJoin>},
};

class F29Pairs : public ::testing::TestWithParam<std::tuple<Named, testing::Pair>> {
  protected:
    void race(Race kind) {
        const auto& [named, pair] = GetParam();
        const std::unique_ptr<Primitive> it = named.make();
        const long rounds =
            testing::by_tier(1'000, 5'000, 50'000) / (testing::sanitized() && testing::fault_tier() == 1 ? 4 : 1);
        testing::Stage stage(pair);
        sync::Semaphore turn(1); // the giver is at most one ahead
        std::atomic<long> timed_out{0}, cancelled{0};
        std::atomic<bool> waits_over{false}, cancels_over{kind != Race::cancel};
        sync::Event begin;
        testing::Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
            co_await me.wait(begin);
            testing::Random random(testing::seed());
            for (long got = 0; got < rounds;) {
                bool ok = false, was_cancelled = false;
                const Deadline deadline = kind == Race::deadline
                                              ? Deadline(std::chrono::nanoseconds(random.below(40'000)))
                                              : Deadline(forever);
                try {
                    ok = co_await it->wait(me, deadline);
                } catch (const CancelledError&) {
                    was_cancelled = true;
                }
                if (ok) {
                    ++got;
                    turn.release();
                } else {
                    ++(was_cancelled ? cancelled : timed_out);
                }
                if (!ok || got % 100 == 0) co_await let_others_run(me);
            }
            waits_over = true;
            while (!cancels_over) co_await let_others_run(me);
            wait::current_agent().take_cancel();
        });
        stage.waker([&](Actor& me) -> Co<> {
            co_await me.wait(begin);
            for (long i = 0; i < rounds; ++i) {
                co_await me.acquire(turn);
                co_await it->give(me);
                if (i % 100 == 0) co_await let_others_run(me);
            }
        });
        begin.set();
        if (kind == Race::cancel) {
            testing::Random random(testing::seed() + 1);
            while (!waits_over) {
                waiter.cancel();
                for (std::uint64_t i = random.below(3'000); i > 0 && !waits_over; --i) cpu_relax();
                if (random.percent(20)) ::sched_yield();
            }
            cancels_over = true;
        }
        stage.join();
        // A trial is a round; injected: the deadlines and cancellations that ended a wait.
        testing::FaultRow row("F29", false);
        row.trials(rounds, timed_out + cancelled);
        EXPECT_EQ(it->left(), 0) << named.name;
        EXPECT_EQ(turn.value(), 1);
        if (kind == Race::none) {
            EXPECT_EQ(timed_out + cancelled, 0);
        }
    }
    // A round that fills as one of its waiters is cancelled is full for the others all the same; so the other one may pass more
    // often, by as many cancellations at most.
    void cancel_at_a_barrier() {
        const long rounds =
            testing::by_tier(1'000, 5'000, 50'000) / (testing::sanitized() && testing::fault_tier() == 1 ? 4 : 1);
        testing::Stage stage(std::get<1>(GetParam()));
        sync::Barrier barrier(2);
        long passed = 0, got = 0, cancelled = 0;
        std::atomic<bool> waits_over{false}, cancels_over{false};
        testing::Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
            while (got < rounds) {
                bool was_cancelled = false;
                try {
                    co_await me.wait(barrier);
                } catch (const CancelledError&) {
                    was_cancelled = true;
                }
                ++(was_cancelled ? cancelled : got);
                if (was_cancelled || got % 100 == 0) co_await let_others_run(me);
            }
            waits_over = true;
            while (!cancels_over) co_await let_others_run(me);
            barrier.abort();
            wait::current_agent().take_cancel();
        });
        stage.waker([&](Actor& me) -> Co<> {
            for (bool broken = false; !broken;) {
                try {
                    co_await me.wait(barrier);
                    ++passed;
                } catch (const BrokenBarrierError&) {
                    broken = true;
                }
            }
        });
        testing::Random random(testing::seed() + 1);
        while (!waits_over) {
            waiter.cancel();
            for (std::uint64_t i = random.below(3'000); i > 0 && !waits_over; --i) cpu_relax();
            if (random.percent(20)) ::sched_yield();
        }
        cancels_over = true;
        stage.join();
        testing::FaultRow row("F29", false);
        row.trials(rounds, cancelled);
        EXPECT_GE(passed, got);
        EXPECT_LE(passed, got + cancelled);
        EXPECT_EQ(barrier.n_waiting(), 0U);
    }
    // To the loop and back, for a coroutine: so that the others of its loop come.
    Co<> let_others_run(Actor& me) {
        if (!me.is_coroutine()) {
            ::sched_yield();
            co_return;
        }
        try {
            co_await me.acquire(nobodys_, std::chrono::microseconds(1));
        } catch (const CancelledError&) {}
    }
    sync::Semaphore nobodys_{0};
};
INSTANTIATE_TEST_SUITE_P(all, F29Pairs,
                         ::testing::Combine(::testing::ValuesIn(primitives), ::testing::ValuesIn(testing::all_pairs())),
                         [](const auto& info) {
                             return std::string(std::get<0>(info.param).name) + "_" +
                                    testing::name_of(std::get<1>(info.param));
                         });

TEST_P(F29Pairs, every_wake_up_ends_one_wait) { race(Race::none); }
TEST_P(F29Pairs, a_deadline_at_the_moment_of_the_wake_up_loses_nothing) { race(Race::deadline); }
TEST_P(F29Pairs, a_cancellation_at_the_moment_of_the_wake_up_loses_nothing) {
    if (std::get<0>(GetParam()).make == &make<OfBarrier>)
        cancel_at_a_barrier();
    else
        race(Race::cancel);
}

} // namespace
} // namespace sennit
