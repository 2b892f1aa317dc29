// F32: every call of sync, queue and threading that takes a deadline × the deadlines that go wrong elsewhere.
#include <sennit/base/errors.hpp>
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>
#include <sennit/threading.hpp>

#include "support/agent_pair.hpp"
#include "support/watchdog.hpp"

#include <chrono>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Actor;
using testing::Co;

// A call that waits. It is asked to end by the clock alone, or after ready().
struct Call {
    virtual ~Call() = default;
    virtual std::string name() const = 0;
    virtual Co<bool> wait(Actor& me, Deadline deadline) = 0; // false, Empty, Full and a broken barrier: at the deadline
    virtual void ready() = 0;                                // by the test's thread: lets it through
    virtual void again() {}                                  // after it went through: as at first
    virtual bool for_coroutines() const { return true; }
};

template <class L>
struct LockCall : Call {
    L lock;
    std::unique_ptr<std::thread> holder; // an RLock's owner must be another agent
    sync::Event release, held;
    LockCall() { hold(); }
    ~LockCall() override { let_go(); }
    void hold() {
        holder = std::make_unique<std::thread>([this] {
            lock.acquire();
            held.set();
            release.wait();
            lock.release();
        });
        held.wait();
    }
    void let_go() {
        release.set();
        holder->join();
        release.clear();
        held.clear();
    }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        const bool got = co_await me.acquire(lock, deadline);
        if (got) lock.release();
        co_return got;
    }
    void ready() override { let_go(); }
    void again() override { hold(); }
};
struct OfLock final : LockCall<sync::Lock> {
    std::string name() const override { return "Lock.acquire"; }
};
struct OfRLock final : LockCall<sync::RLock> {
    std::string name() const override { return "RLock.acquire"; }
};
struct OfConditionAcquire final : LockCall<sync::Lock> {
    sync::Condition condition{lock};
    std::string name() const override { return "Condition.acquire"; }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        const bool got = co_await me.acquire(condition, deadline);
        if (got) condition.release();
        co_return got;
    }
};
struct OfTryLockFor final : LockCall<sync::Lock> {
    std::string name() const override { return "Lock.try_lock_until"; }
    bool for_coroutines() const override { return false; }
    Co<bool> wait(Actor&, Deadline deadline) override {
        // The standard's form, for what it can express.
        const std::chrono::steady_clock::time_point at{std::chrono::nanoseconds(deadline.monotonic_ns())};
        const bool got = lock.try_lock_until(at);
        if (got) lock.unlock();
        co_return got;
    }
};
struct OfEvent final : Call {
    sync::Event event;
    std::string name() const override { return "Event.wait"; }
    Co<bool> wait(Actor& me, Deadline deadline) override { return me.wait(event, deadline); }
    void ready() override { event.set(); }
    void again() override { event.clear(); }
};
struct OfCondition : Call {
    sync::Condition condition;
    bool there = false;
    std::string name() const override { return "Condition.wait"; }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        co_await me.acquire(condition);
        const bool notified = there || co_await me.wait(condition, deadline);
        condition.release();
        co_return notified;
    }
    void ready() override {
        const std::scoped_lock guard(condition);
        there = true;
        condition.notify_all();
    }
    void again() override { there = false; }
};
struct OfWaitFor final : OfCondition {
    std::string name() const override { return "Condition.wait_for"; }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        co_await me.acquire(condition);
        const bool seen = co_await me.wait_for(
            condition, [this] { return there; }, deadline);
        condition.release();
        co_return seen;
    }
};
template <class S>
struct SemaphoreCall : Call {
    S permits{1};
    SemaphoreCall() { permits.acquire(); }
    Co<bool> wait(Actor& me, Deadline deadline) override { return me.acquire(permits, deadline); }
    void ready() override { permits.release(); }
};
struct OfSemaphore final : SemaphoreCall<sync::Semaphore> {
    std::string name() const override { return "Semaphore.acquire"; }
};
struct OfBoundedSemaphore final : SemaphoreCall<sync::BoundedSemaphore> {
    std::string name() const override { return "BoundedSemaphore.acquire"; }
};
struct OfBarrier final : Call {
    sync::Barrier barrier{2};
    std::unique_ptr<std::thread> other;
    std::string name() const override { return "Barrier.wait"; }
    ~OfBarrier() override { again(); }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        bool passed = true;
        try {
            co_await me.wait(barrier, deadline);
        } catch (const BrokenBarrierError&) {
            passed = false;
        }
        if (!passed) barrier.reset();
        co_return passed;
    }
    void ready() override {
        other = std::make_unique<std::thread>([this] { barrier.wait(); });
    }
    void again() override {
        if (other) other->join();
        other.reset();
    }
};
struct OfGet final : Call {
    queue::Queue<int> items;
    std::string name() const override { return "Queue.get"; }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        bool got = true;
        try {
            co_await me.call([&] { return items.get(deadline); }, [&] { return items.async_get(deadline); });
        } catch (const queue::Empty&) {
            got = false;
        }
        co_return got;
    }
    void ready() override { items.put(1); }
};
struct OfPut final : Call {
    queue::PriorityQueue<int> items{1};
    OfPut() { items.put(1); }
    std::string name() const override { return "PriorityQueue.put"; }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        bool put = true;
        try {
            if (me.is_coroutine())
                co_await items.async_put(1, deadline);
            else
                items.put(1, deadline);
        } catch (const queue::Full&) {
            put = false;
        }
        co_return put;
    }
    void ready() override { items.get(); }
};
struct OfJoin final : Call {
    queue::Queue<int> items;
    OfJoin() { again(); }
    std::string name() const override { return "Queue.join"; }
    Co<bool> wait(Actor& me, Deadline deadline) override {
        return me.call([this, deadline] { return items.join(deadline); },
                       [this, deadline] { return items.async_join(deadline); });
    }
    void ready() override { items.task_done(); }
    void again() override {
        items.put(1);
        items.get();
    }
};
struct OfThread final : Call {
    sync::Event may_end;
    std::unique_ptr<threading::Thread> thread;
    OfThread() { again(); }
    ~OfThread() override { may_end.set(); }
    std::string name() const override { return "Thread.join"; }
    bool for_coroutines() const override { return false; }
    Co<bool> wait(Actor&, Deadline deadline) override { co_return thread->join(deadline); }
    void ready() override { may_end.set(); }
    void again() override {
        may_end.clear();
        thread = std::make_unique<threading::Thread>([this] { may_end.wait(); });
        thread->start();
    }
};

std::vector<std::unique_ptr<Call>> all_calls() {
    std::vector<std::unique_ptr<Call>> all;
    all.push_back(std::make_unique<OfLock>());
    all.push_back(std::make_unique<OfRLock>());
    all.push_back(std::make_unique<OfConditionAcquire>());
    all.push_back(std::make_unique<OfTryLockFor>());
    all.push_back(std::make_unique<OfEvent>());
    all.push_back(std::make_unique<OfCondition>());
    all.push_back(std::make_unique<OfWaitFor>());
    all.push_back(std::make_unique<OfSemaphore>());
    all.push_back(std::make_unique<OfBoundedSemaphore>());
    all.push_back(std::make_unique<OfBarrier>());
    all.push_back(std::make_unique<OfGet>());
    all.push_back(std::make_unique<OfPut>());
    all.push_back(std::make_unique<OfJoin>());
    all.push_back(std::make_unique<OfThread>());
    return all;
}

using Steady = std::chrono::steady_clock;

struct Short {
    const char* name;
    std::function<Deadline()> make;
    std::chrono::nanoseconds at_least; // it takes
};
std::vector<Short> short_ones() {
    return {
        {"0", [] { return Deadline(0s); }, 0ns},
        {"0.0", [] { return Deadline(0.0s); }, 0ns},
        {"-0.0", [] { return Deadline(std::chrono::duration<double>(-0.0)); }, 0ns},
        {"-1 ns", [] { return Deadline(-1ns); }, 0ns},
        {"-1 s", [] { return Deadline(-1s); }, 0ns},
        {"least ns", [] { return Deadline(std::chrono::nanoseconds::min()); }, 0ns},
        {"least h", [] { return Deadline(std::chrono::hours::min()); }, 0ns},
        {"-infinity", [] { return Deadline(std::chrono::duration<double>(-INFINITY)); }, 0ns},
        {"-1e100", [] { return Deadline(std::chrono::duration<double>(-1e100)); }, 0ns},
        {"1 ns", [] { return Deadline(1ns); }, 1ns},
        {"0.1 ns", [] { return Deadline(std::chrono::duration<double, std::nano>(0.1)); }, 0ns},
        {"1 us", [] { return Deadline(1us); }, 1us},
        {"2 ms", [] { return Deadline(2ms); }, 2ms},
        {"now", [] { return Deadline(Steady::now()); }, 0ns},
        {"a second ago", [] { return Deadline(Steady::now() - 1s); }, 0ns},
        {"the epoch", [] { return Deadline(Steady::time_point{}); }, 0ns},
        {"the least time point", [] { return Deadline(Steady::time_point::min()); }, 0ns},
        {"in 1 ms", [] { return Deadline(Steady::now() + 1ms); }, 1ms},
    };
}

struct Long {
    const char* name;
    std::function<Deadline()> make;
};
std::vector<Long> long_ones() {
    return {
        {"forever", [] { return forever; }},
        {"greatest ns", [] { return Deadline(std::chrono::nanoseconds::max()); }},
        {"greatest s", [] { return Deadline(std::chrono::seconds::max()); }},
        {"greatest h", [] { return Deadline(std::chrono::hours::max()); }},
        {"292 years", [] { return Deadline(std::chrono::hours(292LL * 8766)); }},
        {"200 years", [] { return Deadline(std::chrono::hours(200LL * 8766)); }},
        {"1e100 s", [] { return Deadline(std::chrono::duration<double>(1e100)); }},
        {"infinity", [] { return Deadline(std::chrono::duration<double>(INFINITY)); }},
        {"the greatest time point", [] { return Deadline(Steady::time_point::max()); }},
        {"now + the greatest that fits",
         [] {
             const auto now = Steady::now();
             return Deadline(now + (Steady::time_point::max() - now));
         }},
        {"greatest ns - 1", [] { return Deadline(std::chrono::nanoseconds::max() - 1ns); }},
    };
}

class F32Deadlines : public testing::AgentTest {};
SENNIT_FOR_ALL_KINDS(F32Deadlines);

TEST_P(F32Deadlines, short_past_and_negative_ones_end_the_wait_by_themselves_and_not_early) {
    for (auto& call : all_calls()) {
        if (GetParam() != testing::Kind::thread && !call->for_coroutines()) continue;
        testing::Watchdog::kick(); // a busy machine is slow, not stuck
        run([&](Actor& me) -> Co<> {
            for (const Short& s : short_ones()) {
                const auto began = Steady::now();
                const bool ended_well = co_await call->wait(me, s.make());
                EXPECT_FALSE(ended_well) << call->name() << ", deadline " << s.name;
                EXPECT_GE(Steady::now() - began, s.at_least) << call->name() << ", deadline " << s.name;
            }
        });
        // And it left no trace: the next one goes through.
        call->ready();
        run([&](Actor& me) -> Co<> {
            const bool ended_well = co_await call->wait(me, 1h);
            EXPECT_TRUE(ended_well) << call->name();
        });
        call->again();
    }
}

TEST_P(F32Deadlines, huge_ones_saturate_and_wait_till_they_are_woken) {
    for (auto& call : all_calls()) {
        if (GetParam() != testing::Kind::thread && !call->for_coroutines()) continue;
        for (const Long& l : long_ones()) {
            testing::Watchdog::kick();
            const Deadline deadline = l.make();
            EXPECT_FALSE(deadline.has_passed()) << l.name;
            EXPECT_GT(deadline.remaining_ns(), 100LL * 365 * 24 * 3600 * 1'000'000'000) << l.name;
            Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
                const bool ended_well = co_await call->wait(me, deadline);
                EXPECT_TRUE(ended_well) << call->name() << ", deadline " << l.name;
            });
            testing::wait_until_parked(waiter.agent());
            EXPECT_FALSE(waiter.ended()) << call->name() << ", deadline " << l.name;
            call->ready();
            stage.join(waiter);
            call->again();
        }
    }
}

TEST(F32DeadlineValues, nan_is_refused_with_a_sentence) {
    for (const double nan : {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::quiet_NaN()}) {
        try {
            sync::Event().wait(std::chrono::duration<double>(nan));
            FAIL() << "NaN was taken";
        } catch (const UsageError& e) {
            EXPECT_NE(std::string(e.what()).find("NaN"), std::string::npos);
        }
        EXPECT_THROW(sync::Lock().try_lock_for(std::chrono::duration<float>(static_cast<float>(nan))), UsageError);
        EXPECT_THROW(queue::Queue<int>().get(std::chrono::duration<long double>(nan)), UsageError);
    }
}

TEST(F32DeadlineValues, the_table_of_what_polls_what_passes_and_what_is_forever) {
    for (const Short& s : short_ones()) {
        const Deadline d = s.make();
        EXPECT_FALSE(d.is_forever()) << s.name;
        EXPECT_LE(d.remaining_ns(), 2'000'000) << s.name;
    }
    for (const Long& l : long_ones()) EXPECT_FALSE(l.make().is_poll()) << l.name;
    EXPECT_TRUE(Deadline(std::chrono::nanoseconds::max()).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::duration<double>(INFINITY)).is_forever());
    EXPECT_TRUE(Deadline(Steady::time_point::min()).is_poll());
    EXPECT_TRUE(Deadline(-1ns).is_poll());
}

} // namespace
} // namespace sennit
