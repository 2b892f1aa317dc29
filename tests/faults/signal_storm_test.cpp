// F23: signals at 1 kHz, whose handler was installed without SA_RESTART, to every thread while four of them wait. No wait ends
// early, and none begins anew (a wait of 5 ms that did would never end under a signal a millisecond).
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>
#include <sennit/threading.hpp>

#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/signal_storm.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;

// Something to wait for. What wake() has done ends one wait.
struct Waitable {
    virtual ~Waitable() = default;
    virtual bool wait(Deadline deadline) = 0; // false: at the deadline
    virtual void wake() = 0;
};

struct OfLock final : Waitable {
    sync::Lock lock;
    OfLock() { lock.acquire(); }
    bool wait(Deadline deadline) override { return lock.acquire(deadline); }
    void wake() override { lock.release(); }
};
struct OfEvent final : Waitable {
    sync::Event event;
    bool wait(Deadline deadline) override {
        if (!event.wait(deadline)) return false;
        event.clear();
        return true;
    }
    void wake() override { event.set(); }
};
struct OfCondition final : Waitable {
    sync::Condition changed;
    bool there = false;
    bool wait(Deadline deadline) override {
        const std::scoped_lock guard(changed);
        return changed.wait_for([&] { return there; }, deadline) && std::exchange(there, false);
    }
    void wake() override {
        const std::scoped_lock guard(changed);
        there = true;
        changed.notify();
    }
};
struct OfSemaphore final : Waitable {
    sync::Semaphore permits{0};
    bool wait(Deadline deadline) override { return permits.acquire(deadline); }
    void wake() override { permits.release(); }
};
struct OfBarrier final : Waitable {
    sync::Barrier barrier{2};
    bool wait(Deadline deadline) override {
        try {
            barrier.wait(deadline);
            return true;
        } catch (const BrokenBarrierError&) {
            barrier.reset();
            return false;
        }
    }
    void wake() override { barrier.wait(); }
};
struct OfQueue final : Waitable {
    queue::Queue<int> items;
    bool wait(Deadline deadline) override {
        try {
            items.get(deadline == forever ? forever : deadline);
            return true;
        } catch (const queue::Empty&) {
            return false;
        }
    }
    void wake() override { items.put(1); }
};
struct OfFullQueue final : Waitable {
    queue::Queue<int> items{1};
    OfFullQueue() { items.put(1); }
    bool wait(Deadline deadline) override {
        try {
            items.put(1, deadline);
            return true;
        } catch (const queue::Full&) {
            return false;
        }
    }
    void wake() override { items.get(); }
};
struct OfThread final : Waitable {
    sync::Event may_end;
    std::unique_ptr<threading::Thread> thread;
    OfThread() { begin(); }
    ~OfThread() override { may_end.set(); }
    void begin() {
        may_end.clear();
        thread = std::make_unique<threading::Thread>([this] { may_end.wait(); });
        thread->start();
    }
    bool wait(Deadline deadline) override {
        if (!thread->join(deadline)) return false;
        begin();
        return true;
    }
    void wake() override { may_end.set(); }
};

struct Report {
    std::atomic<long> timed{0}, woken{0}, early{0};
    std::atomic<std::int64_t> latest_ns{0};
};

// Two threads: one waits, one wakes.
void storm_pair(std::uint64_t seed, std::chrono::steady_clock::time_point end, Report& report) {
    std::vector<std::unique_ptr<Waitable>> all;
    all.push_back(std::make_unique<OfLock>());
    all.push_back(std::make_unique<OfEvent>());
    all.push_back(std::make_unique<OfCondition>());
    all.push_back(std::make_unique<OfSemaphore>());
    all.push_back(std::make_unique<OfBarrier>());
    all.push_back(std::make_unique<OfQueue>());
    all.push_back(std::make_unique<OfFullQueue>());
    all.push_back(std::make_unique<OfThread>());
    std::atomic<Waitable*> wanted{nullptr};
    std::atomic<bool> over{false}, released{false};
    std::thread waker([&] {
        testing::Random random(seed + 1);
        while (!over) {
            Waitable* w = wanted.exchange(nullptr);
            if (!w) {
                std::this_thread::yield();
                continue;
            }
            // A while, in which some signals come.
            const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random.below(3'000));
            while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
            released = true;
            w->wake();
        }
    });
    testing::Random random(seed);
    for (std::size_t i = 0; std::chrono::steady_clock::now() < end; ++i) {
        testing::Watchdog::kick(); // one that does not end is not followed by another
        Waitable& w = *all[i % all.size()];
        if (random.percent(50)) {
            const auto timeout = std::chrono::microseconds(100 + random.below(5'000));
            const auto began = std::chrono::steady_clock::now();
            if (w.wait(timeout)) ++report.early; // nobody woke it
            const auto took = std::chrono::steady_clock::now() - began;
            if (took < timeout) ++report.early;
            const std::int64_t late = std::chrono::nanoseconds(took - timeout).count();
            std::int64_t latest = report.latest_ns;
            while (late > latest && !report.latest_ns.compare_exchange_weak(latest, late)) {}
            ++report.timed;
        } else {
            released = false;
            wanted = &w;
            if (!w.wait(forever)) ++report.early;
            if (!released) ++report.early;
            ++report.woken;
        }
    }
    over = true;
    waker.join();
}

TEST(F23SignalStorm, ends_no_wait_early_and_begins_none_anew) {
    const auto length = std::chrono::milliseconds(testing::by_tier(4'000, 60'000, 300'000));
    const auto end = std::chrono::steady_clock::now() + length;
    Report report;
    testing::FaultRow row("F23");
    const std::uint64_t before = testing::SignalStorm::handled();
    {
        testing::SignalStorm storm(testing::by_tier(1'000, 1'000, 5'000));
        std::thread second([&] { storm_pair(testing::seed() + 10, end, report); });
        storm_pair(testing::seed() + 20, end, report);
        second.join();
    }
    const std::uint64_t signals = testing::SignalStorm::handled() - before;
    std::printf("F23: %llu signals, %ld timed waits, %ld woken, %ld of them early; the latest came %.2f ms late\n",
                static_cast<unsigned long long>(signals), report.timed.load(), report.woken.load(), report.early.load(),
                static_cast<double>(report.latest_ns) / 1e6);
    const long waits = report.timed + report.woken;
    for (long i = 0; i < waits; ++i)
        row.trial(i == 0 ? static_cast<std::int64_t>(signals) : 0, std::chrono::nanoseconds(report.latest_ns));
    EXPECT_EQ(report.early, 0);
    EXPECT_GT(report.timed, 8);
    EXPECT_GT(report.woken, 8);
    EXPECT_GT(signals, 100U);
}

} // namespace
} // namespace sennit
