// F33: tasks cancelled at a random await. What they take and give is conserved: items, permits, locks, frames; and each request is
// seen by the scope it was meant for.
#include <sennit/asyncio.hpp>
#include <sennit/threading.hpp>

#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/snapshot.hpp"
#include "support/tier.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using testing::Random;

constexpr int permits = 4;

// What all tasks of a round share, whatever their loop. The counts are atomic for the two loops' sake.
struct World {
    bool one_loop = true; // so nobody cancels between two lines
    Lock lock;
    Semaphore semaphore{permits};
    Queue<int> queue{8};
    Lock condition_lock;
    Condition condition{condition_lock};
    Event event;
    std::atomic<int> frames{0}, holders{0}, permits_taken{0}, puts{0}, gets{0}, violations{0};
    std::atomic<long> sum_put{0}, sum_got{0};
};

// Counts up while it lives; more than `most` at a time is a violation.
class Counted {
  public:
    Counted(World& w, std::atomic<int>& n, int most) : count_(n) {
        if (++count_ > most) ++w.violations;
    }
    ~Counted() { --count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;

  private:
    std::atomic<int>& count_;
};
struct Release {
    Semaphore& semaphore;
    ~Release() { semaphore.release(); }
};

Coro<> turns(std::uint64_t n) {
    while (n-- > 0) co_await sleep(0s);
}

Coro<> with_lock(World& w, std::uint64_t n) {
    const Counted frame(w, w.frames, INT_MAX);
    const auto guard = co_await w.lock.async_scoped_lock();
    const Counted holder(w, w.holders, 1);
    co_await turns(n);
}
Coro<int> with_permit(World& w, std::uint64_t n) {
    const Counted frame(w, w.frames, INT_MAX);
    co_await w.semaphore.async_acquire();
    const Release release{w.semaphore};
    const Counted taken(w, w.permits_taken, permits);
    co_await turns(n);
    co_return 1;
}
Coro<> put(World& w, int value, Deadline deadline) {
    const Counted frame(w, w.frames, INT_MAX);
    try {
        co_await w.queue.async_put(value, true, deadline);
        ++w.puts;
        w.sum_put += value;
    } catch (const QueueFull&) {}
}
Coro<> get(World& w, Deadline deadline) {
    const Counted frame(w, w.frames, INT_MAX);
    try {
        const int value = co_await w.queue.async_get(true, deadline);
        ++w.gets;
        w.sum_got += value;
    } catch (const QueueEmpty&) {}
}
Coro<> with_condition(World& w, bool notify) {
    const Counted frame(w, w.frames, INT_MAX);
    const auto guard = co_await w.condition_lock.async_scoped_lock();
    if (notify)
        w.condition.notify();
    else
        co_await w.condition.async_wait(1ms);
    if (!w.condition_lock.locked()) ++w.violations;
}
// A scope whose own limit passes, with what was its own before: an outer request is not eaten by it.
Coro<> in_time(World& w, std::uint64_t n) {
    const Counted frame(w, w.frames, INT_MAX);
    const int before = current_task().cancelling();
    try {
        co_await timeout(std::chrono::microseconds(n * 50), with_lock(w, n));
    } catch (const TimeoutError&) {
        if (w.one_loop && current_task().cancelling() != before) ++w.violations;
    }
}

Coro<> work(World& w, std::uint64_t seed, int steps) {
    const Counted frame(w, w.frames, INT_MAX);
    Random random(seed);
    const TaskRef me = current_task();
    for (int i = 0; i < steps; ++i) {
        const std::uint64_t n = random.below(4);
        switch (random.below(11)) {
        case 0:
            co_await with_lock(w, n);
            break;
        case 1:
            co_await with_permit(w, n);
            break;
        case 2:
            co_await put(w, static_cast<int>(random.below(1000)), 2ms);
            break;
        case 3:
            co_await get(w, 2ms);
            break;
        case 4:
            co_await gather(with_permit(w, n), with_lock(w, n));
            break;
        case 5:
            co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
                g.create_task(with_lock(w, n));
                g.create_task(put(w, 7, 1ms));
                co_await get(w, 1ms);
            });
            break;
        case 6:
            co_await in_time(w, n);
            break;
        case 7:
            co_await shield(with_permit(w, n));
            break;
        case 8:
            co_await with_condition(w, random.percent(60));
            break;
        case 9:
            w.event.set();
            co_await w.event.async_wait(1ms);
            w.event.clear();
            break;
        default:
            try {
                co_await wait_for(with_permit(w, n), random.percent(50) ? Deadline(0s) : Deadline(1ms));
            } catch (const TimeoutError&) {
                if (me.cancelling() > 1) ++w.violations;
            }
        }
    }
}

void check(World& w) {
    EXPECT_EQ(w.violations, 0);
    EXPECT_EQ(w.frames, 0);
    EXPECT_FALSE(w.lock.locked());
    EXPECT_FALSE(w.condition_lock.locked());
    int free = 0;
    while (w.semaphore.acquire(false)) ++free;
    EXPECT_EQ(free, permits);
    EXPECT_EQ(w.puts, w.gets + static_cast<int>(w.queue.qsize()));
    while (const auto left = w.queue.try_get()) w.sum_got += *left;
    EXPECT_EQ(w.sum_put, w.sum_got);
}

// What became of tasks of which each was cancelled at most once.
void check_end(World& w, const std::vector<Task<>>& tasks) {
    for (const auto& t : tasks) {
        if (!t.done()) ++w.violations;
        if (t.cancelled() && t.cancelling() != 1) ++w.violations; // nobody else's, and not taken back
        if (t.base().failed()) {
            ADD_FAILURE() << "a task failed";
            t.base().mark_error_seen();
        }
    }
}

class F33CancelledTasks : public testing::SnapshotTest {
  protected:
    F33CancelledTasks() { wait::current_agent(); } // this thread is one from before the first look on
};

TEST_F(F33CancelledTasks, conserve_items_permits_locks_and_frames) {
    testing::FaultRow row("F33");
    const auto rounds = 10, count = static_cast<int>(testing::by_tier(1'000, 10'000, 10'000));
    for (int round = 0; round < rounds; ++round) {
        World w;
        testing::FaultRow::Trial trial(row);
        run([&]() -> Coro<> {
            Random random(testing::seed() + static_cast<std::uint64_t>(round));
            std::vector<Task<>> tasks;
            for (int i = 0; i < count; ++i) tasks.push_back(create_task(work(w, random(), 3)));
            std::vector<Task<>> victims = tasks;
            std::shuffle(victims.begin(), victims.end(), random);
            // Some before their first step, the others a few a turn.
            for (const std::uint64_t a_turn = 1 + static_cast<std::uint64_t>(count) / 200; !victims.empty();) {
                for (std::uint64_t n = random.below(2 * a_turn + 1); n > 0 && !victims.empty(); --n) {
                    trial.injected += victims.back().cancel() ? 1 : 0;
                    victims.pop_back();
                }
                co_await sleep(0s);
            }
            co_await wait(tasks);
            check_end(w, tasks);
        });
        check(w);
    }
    EXPECT_GT(row.injected(), rounds * count / 4);
}

// The same on two loops in two threads, with one set of primitives, cancelled by a third thread.
TEST_F(F33CancelledTasks, of_two_loops_conserve_them_when_other_threads_cancel) {
    testing::FaultRow row("F33");
    const auto rounds = 4, count = static_cast<int>(testing::by_tier(200, 2'000, 5'000));
    for (int round = 0; round < rounds; ++round) {
        World w;
        w.one_loop = false;
        testing::FaultRow::Trial trial(row);
        std::vector<Task<>> tasks[2];
        Barrier made(3);
        std::vector<std::unique_ptr<threading::Thread>> threads;
        for (int l = 0; l < 2; ++l) {
            threads.push_back(std::make_unique<threading::Thread>([&, l, round] {
                run([&]() -> Coro<> {
                    Random random(testing::base_seed() + static_cast<std::uint64_t>(2 * round + l));
                    for (int i = 0; i < count; ++i) tasks[l].push_back(create_task(work(w, random(), 3)));
                    co_await made.async_wait();
                    co_await wait(tasks[l]);
                    check_end(w, tasks[l]);
                });
            }));
            threads.back()->start();
        }
        made.wait();
        Random random(testing::seed() + static_cast<std::uint64_t>(round));
        std::vector<Task<>> victims(tasks[0]);
        victims.insert(victims.end(), tasks[1].begin(), tasks[1].end());
        std::shuffle(victims.begin(), victims.end(), random);
        for (const auto& t : victims) trial.injected += t.cancel() ? 1 : 0;
        victims.clear();
        for (auto& t : threads) t->join();
        for (auto& t : tasks) t.clear();
        check(w);
    }
    EXPECT_GT(row.injected(), 0);
}

} // namespace
} // namespace sennit::asyncio
