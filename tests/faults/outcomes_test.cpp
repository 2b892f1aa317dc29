// F30: two or three agents, a few calls each, as close to each other as threads come; and the table of the outcomes that may be.
// Each outcome seen is looked up in it.
#include <sennit/base/errors.hpp>
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>

#include "support/fault_row.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;

using Outcome = std::vector<int>; // what each agent gave, in order, then what end() gave

// One trial: fresh objects, and what each agent does with them. Nothing in it is atomic but sennit's own.
struct Trial {
    virtual ~Trial() = default;
    virtual int agent(int number) = 0; // at the same time
    virtual int end() { return 0; }    // after all of them
    wait::Agent* agents[3] = {};       // who they are
};

struct Shape {
    const char* name;
    int agents;
    std::unique_ptr<Trial> (*make)();
    std::vector<Outcome> allowed;
};

// Three threads that run batches of trials together. At each trial they wait for each other, but not for long: on a busy machine
// a thread that waits for one that has no core starves the test.
class Team {
  public:
    static constexpr int most = 64; // trials of a batch
    using Batch = std::vector<std::unique_ptr<Trial>>;

    Team() {
        for (int a = 0; a < 3; ++a)
            threads_.emplace_back([this, a] {
                agents_[a] = &wait::current_agent();
                ++known_;
                for (int seen = 0;;) {
                    turn_.wait(seen);
                    if (over_) return;
                    seen = turn_;
                    wait::current_agent().take_cancel(); // what was left of the last one
                    if (a < active_) run_batch(a);
                    ++finished_;
                    finished_.notify_one();
                }
            });
        while (known_ < 3) std::this_thread::yield();
    }
    ~Team() {
        over_ = true;
        ++turn_;
        turn_.notify_all();
        for (auto& t : threads_) t.join();
    }
    // The outcome of each trial.
    std::vector<Outcome> run(Batch& batch, int agents) {
        batch_ = &batch;
        for (auto& trial : batch)
            for (int a = 0; a < 3; ++a) trial->agents[a] = agents_[a];
        active_ = agents;
        for (auto& p : progress_) p = -1;
        finished_ = 0;
        ++turn_;
        turn_.notify_all();
        for (int done; (done = finished_) < 3;) finished_.wait(done);
        std::vector<Outcome> outcomes;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            outcomes.emplace_back(results_[i], results_[i] + agents);
            outcomes.back().push_back(batch[i]->end());
        }
        return outcomes;
    }

  private:
    void run_batch(int a) {
        const bool alone = batch_->size() == 1; // then all begin together: a cancellation is none of the last trial
        for (std::size_t i = 0; i < batch_->size(); ++i) {
            progress_[a] = static_cast<int>(i);
            for (int looks = 0; (looks < 300 || alone) && !all_at(static_cast<int>(i)); ++looks)
                looks < 300 ? cpu_relax() : std::this_thread::yield();
            results_[i][a] = (*batch_)[i]->agent(a);
        }
        progress_[a] = most;
    }
    bool all_at(int i) const {
        for (int a = 0; a < active_; ++a)
            if (progress_[a] < i) return false;
        return true;
    }
    std::vector<std::thread> threads_;
    wait::Agent* agents_[3] = {};
    int results_[most][3] = {};
    Batch* batch_ = nullptr;
    int active_ = 0;
    std::atomic<int> progress_[3] = {};
    std::atomic<int> turn_{0}, known_{0}, finished_{0};
    std::atomic<bool> over_{false};
};

constexpr int cancelled = 7, refused = 8;

template <class F>
int or_cancelled(F wait) {
    try {
        return wait();
    } catch (const CancelledError&) {
        return cancelled;
    }
}

// A shape: its name, its number of agents, the allowed outcomes, its state, agent 0, 1, 2, and the end.
#define OUTCOMES(...) \
    { __VA_ARGS__ }
#define SHAPE(NAME, AGENTS, ALLOWED, STATE, A0, A1, A2, END)       \
    {                                                              \
        NAME, AGENTS,                                              \
            []() -> std::unique_ptr<Trial> {                       \
                struct It final : Trial {                          \
                    STATE                                          \
                    int agent(int number) override {               \
                        if (number == 0) A0 if (number == 1) A1 A2 \
                    }                                              \
                    int end() override END                         \
                };                                                 \
                return std::make_unique<It>();                     \
            },                                                     \
            OUTCOMES ALLOWED                                       \
    }
#define NOTHING \
    { return 0; }

// clang-format off
const Shape shapes[] = {
    SHAPE("Event: what was written before set() is seen after is_set()", 2,
          ({1, 0, 0}, {1, 2, 0}),
          sync::Event e; int x = 0;,
          { x = 1; e.set(); return 1; },
          { return e.is_set() ? (x == 1 ? 2 : 3) : 0; }, NOTHING, NOTHING),
    SHAPE("Event: what was written before set() is seen after wait()", 2,
          ({1, 1, 0}),
          sync::Event e; int x = 0;,
          { x = 1; e.set(); return 1; },
          { return e.wait(1h) ? x : 9; }, NOTHING, NOTHING),
    SHAPE("Event: who waits at set(); clear() passes, who comes later does not", 2,
          ({0, 1, 0}, {0, 0, 0}),
          sync::Event e;,
          { e.set(); e.clear(); return 0; },
          { return e.wait(5us) ? 1 : 0; }, NOTHING,
          { return e.is_set(); }),
    SHAPE("Event: two set() and a clear() leave it as the last one did", 3,
          ({0, 0, 0, 0}, {0, 0, 0, 1}),
          sync::Event e;,
          { e.set(); return 0; }, { e.clear(); return 0; }, { e.set(); return 0; },
          { return e.is_set(); }),
    SHAPE("Lock: store buffering is not seen across critical sections", 2,
          ({1, 1, 0}, {0, 1, 0}, {1, 0, 0}),
          sync::Lock l; int x = 0; int y = 0;,
          { { std::scoped_lock g(l); x = 1; } std::scoped_lock g(l); return y; },
          { { std::scoped_lock g(l); y = 1; } std::scoped_lock g(l); return x; }, NOTHING, NOTHING),
    SHAPE("Lock: messages pass in the order of the critical sections", 2,
          ({0, 0, 0}, {0, 2, 0}, {0, 3, 0}),
          sync::Lock l; int x = 0; int y = 0;,
          { { std::scoped_lock g(l); x = 1; } std::scoped_lock g(l); y = 1; return 0; },
          { int a = 0; { std::scoped_lock g(l); a = y; } std::scoped_lock g(l); return a + 2 * x; }, NOTHING, NOTHING),
    SHAPE("Lock: no count is lost", 3,
          ({0, 0, 0, 3}),
          sync::Lock l; int n = 0;,
          { std::scoped_lock g(l); ++n; return 0; }, { std::scoped_lock g(l); ++n; return 0; },
          { std::scoped_lock g(l); ++n; return 0; },
          { return n; }),
    SHAPE("Lock: one of two tries gets it", 2,
          ({1, 0, 1}, {0, 1, 1}),
          sync::Lock l;,
          { return l.try_lock(); }, { return l.try_lock(); }, NOTHING,
          { return l.locked(); }),
    SHAPE("Lock: a try beside a critical section gets it or not", 2,
          ({0, 0, 0}, {0, 1, 0}),
          sync::Lock l;,
          { std::scoped_lock g(l); return 0; }, { if (!l.try_lock()) return 0; l.unlock(); return 1; }, NOTHING,
          { return l.locked(); }),
    SHAPE("Lock: who times out at the moment of the release has it or does not", 2,
          ({0, 1, 1}, {0, 0, 0}),
          sync::Lock l; It() { l.acquire(); },
          { l.release(); return 0; }, { return l.acquire(3us); }, NOTHING,
          { return l.locked(); }),
    SHAPE("Lock: who is cancelled at the moment of the release has it or does not", 3,
          ({0, 1, 0, 1}, {0, cancelled, 0, 0}),
          sync::Lock l; It() { l.acquire(); },
          { l.release(); return 0; }, { return or_cancelled([&] { return l.acquire() ? 1 : 0; }); },
          { agents[1]->cancel(); return 0; },
          { return l.locked(); }),
    SHAPE("Lock: two releases of one that is held once: one is refused", 2,
          ({1, 0, 0}, {0, 1, 0}),
          sync::Lock l; It() { l.acquire(); } int release() { try { l.release(); return 1; } catch (const UsageError&) { return 0; } },
          { return release(); }, { return release(); }, NOTHING,
          { return l.locked(); }),
    SHAPE("RLock: depth is its owner's alone", 2,
          ({0, 0, 4}),
          sync::RLock l; int n = 0;,
          { std::scoped_lock g(l); std::scoped_lock h(l); ++n; ++n; return l.is_owned() ? 0 : 1; },
          { std::scoped_lock g(l); std::scoped_lock h(l); ++n; ++n; return l.is_owned() ? 0 : 1; }, NOTHING,
          { return l.locked() ? 100 : n; }),
    SHAPE("RLock: one of two tries gets it", 2,
          ({3, 0, 1}, {0, 3, 1}),
          sync::RLock l;,
          { return l.try_lock() + 2 * l.is_owned(); }, { return l.try_lock() + 2 * l.is_owned(); }, NOTHING,
          { return l.locked(); }),
    SHAPE("Semaphore: one of three tries gets the permit", 3,
          ({1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}),
          sync::Semaphore s{1};,
          { return s.try_acquire(); }, { return s.try_acquire(); }, { return s.try_acquire(); },
          { return static_cast<int>(s.value()); }),
    SHAPE("Semaphore: a permit carries what was written before its release", 2,
          ({0, 0, 1}, {0, 2, 0}),
          sync::Semaphore s{0}; int x = 0;,
          { x = 1; s.release(); return 0; }, { return s.try_acquire() ? 1 + x : 0; }, NOTHING,
          { return static_cast<int>(s.value()); }),
    SHAPE("Semaphore: release(2) lets two in", 3,
          ({0, 1, 1, 0}),
          sync::Semaphore s{0};,
          { s.release(2); return 0; }, { return s.acquire(1h); }, { return s.acquire(1h); },
          { return static_cast<int>(s.value()); }),
    SHAPE("Semaphore: at most one of two pollers gets one permit", 3,
          ({0, 0, 0, 1}, {0, 1, 0, 0}, {0, 0, 1, 0}),
          sync::Semaphore s{0};,
          { s.release(); return 0; }, { return s.acquire(0s); }, { return s.acquire(2us); },
          { return static_cast<int>(s.value()); }),
    SHAPE("Semaphore: a permit released as its waiter is cancelled is taken or left", 3,
          ({0, 1, 0, 0}, {0, cancelled, 0, 1}),
          sync::Semaphore s{0};,
          { s.release(); return 0; }, { return or_cancelled([&] { return s.acquire() ? 1 : 0; }); },
          { agents[1]->cancel(); return 0; },
          { return static_cast<int>(s.value()); }),
    SHAPE("BoundedSemaphore: one of two releases is one too many", 2,
          ({1, 0, 1}, {0, 1, 1}),
          sync::BoundedSemaphore s{1}; It() { s.acquire(); }
          int release() { try { s.release(); return 1; } catch (const UsageError&) { return 0; } },
          { return release(); }, { return release(); }, NOTHING,
          { return static_cast<int>(s.value()); }),
    SHAPE("Event: a set() that meets a cancellation leaves the cancellation, or the wait is cancelled", 3,
          ({0, 1, 0, 1}, {0, cancelled, 0, 0}),
          sync::Event e;,
          { e.set(); return 0; }, { return or_cancelled([&] { return e.wait() ? 1 : 0; }); },
          { agents[1]->cancel(); return 0; },
          { return agents[1]->cancel_requested(); }),
    SHAPE("Condition: no notification under the lock is missed", 2,
          ({0, 1, 0}),
          sync::Condition c; int token = 0;,
          { std::scoped_lock g(c); token = 1; c.notify(); return 0; },
          { std::scoped_lock g(c); if (!token) { c.wait(); } return token; }, NOTHING, NOTHING),
    SHAPE("Condition: notify() wakes one of two at most", 3,
          ({0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}),
          sync::Condition c;,
          { std::scoped_lock g(c); c.notify(); return 0; },
          { std::scoped_lock g(c); return c.wait(5us); }, { std::scoped_lock g(c); return c.wait(5us); }, NOTHING),
    SHAPE("Condition: without a notification no wait is woken", 2,
          ({0, 0, 0}),
          sync::Condition c;,
          { for (int i = 0; i < 3; ++i) std::scoped_lock g(c); return 0; },
          { std::scoped_lock g(c); return c.wait(3us); }, NOTHING, NOTHING),
    SHAPE("Condition: a cancelled waiter has the lock again", 3,
          ({1, 1, 0, 0}, {1, 3, 0, 0}),
          sync::Condition c; int n = 0; bool notified = false;,
          { std::scoped_lock g(c); ++n; notified = true; c.notify(); return 1; },
          { try { std::scoped_lock g(c); try { while (!notified) c.wait(); } catch (const CancelledError&) { ++n; --n; return 3; } return 1; }
            catch (const CancelledError&) { return 3; } },
          { agents[1]->cancel(); return 0; },
          { return c.try_lock() ? (c.release(), 0) : 1; }),
    SHAPE("Barrier: each sees what the other wrote before it", 2,
          ({2, 3, 0}, {3, 2, 0}),
          sync::Barrier b{2}; int x = 0; int y = 0;,
          { x = 1; const int i = b.wait(); return y ? 2 + i : 9; }, { y = 1; const int i = b.wait(); return x ? 2 + i : 9; }, NOTHING, NOTHING),
    SHAPE("Barrier: three get three numbers", 3,
          ({0, 1, 2, 0}, {0, 2, 1, 0}, {1, 0, 2, 0}, {1, 2, 0, 0}, {2, 0, 1, 0}, {2, 1, 0, 0}),
          sync::Barrier b{3};,
          { return b.wait(); }, { return b.wait(); }, { return b.wait(); }, NOTHING),
    SHAPE("Barrier: its action runs once, before anybody goes on", 2,
          ({1, 1, 1}),
          int n = 0; sync::Barrier b; It() : b(2, [this] { ++n; }) {},
          { b.wait(); return n; }, { b.wait(); return n; }, NOTHING,
          { return n; }),
    SHAPE("Barrier: with a deadline both pass or neither", 2,
          ({0, 1, 0}, {1, 0, 0}, {9, 9, 1}),
          sync::Barrier b{2}; int wait() { try { return b.wait(4us); } catch (const BrokenBarrierError&) { return 9; } },
          { return wait(); }, { return wait(); }, NOTHING,
          { return b.broken(); }),
    SHAPE("Barrier: who is aborted does not pass", 2,
          ({0, 9, 1}),
          sync::Barrier b{2};,
          { b.abort(); return 0; }, { try { return b.wait(); } catch (const BrokenBarrierError&) { return 9; } }, NOTHING,
          { return b.broken(); }),
    SHAPE("Queue: one agent's items come in their order", 2,
          ({0, 12, 0}),
          queue::Queue<int> q;,
          { q.put(1); q.put(2); return 0; }, { const int first = q.get(); return 10 * first + q.get(); }, NOTHING,
          { return static_cast<int>(q.qsize()); }),
    SHAPE("Queue: two agents' items come in one order", 3,
          ({0, 0, 12, 0}, {0, 0, 21, 0}),
          queue::Queue<int> q;,
          { q.put(1); return 0; }, { q.put(2); return 0; }, { const int first = q.get(); return 10 * first + q.get(); },
          { return static_cast<int>(q.qsize()); }),
    SHAPE("Queue: one of two puts finds the one free place", 2,
          ({1, 0, 1}, {0, 1, 1}),
          queue::Queue<int> q{1};,
          { return q.try_put(1); }, { return q.try_put(2); }, NOTHING,
          { return static_cast<int>(q.qsize()); }),
    SHAPE("Queue: one of two gets finds the one item", 2,
          ({1, 0, 0}, {0, 1, 0}),
          queue::Queue<int> q; It() { q.put(1); },
          { return q.try_get().value_or(0); }, { return q.try_get().value_or(0); }, NOTHING,
          { return static_cast<int>(q.qsize()); }),
    SHAPE("Queue: an item carries what was written before its put", 2,
          ({0, 5, 0}),
          queue::Queue<int> q; int x = 0;,
          { x = 5; q.put(1); return 0; }, { q.get(); return x; }, NOTHING, NOTHING),
    SHAPE("Queue: a put beside an immediate shutdown is done and dropped, or refused", 2,
          ({1, 0, 0}, {refused, 0, 0}),
          queue::Queue<int> q;,
          { try { q.put(1); return 1; } catch (const queue::ShutDown&) { return refused; } }, { q.shutdown(true); return 0; }, NOTHING,
          { return static_cast<int>(q.qsize()); }),
    SHAPE("Queue: an item put as its getter is cancelled is taken or left", 3,
          ({0, 1, 0, 0}, {0, cancelled, 0, 1}),
          queue::Queue<int> q;,
          { q.put(1); return 0; }, { return or_cancelled([&] { return q.get(); }); }, { agents[1]->cancel(); return 0; },
          { return static_cast<int>(q.qsize()); }),
    SHAPE("PriorityQueue: the smaller one of two comes first once both are in", 2,
          ({0, 12, 0}, {0, 21, 0}),
          queue::PriorityQueue<int> q;,
          { q.put(2); q.put(1); return 0; }, { const int first = q.get(); return 10 * first + q.get(); }, NOTHING,
          { return static_cast<int>(q.qsize()); }),
};
// clang-format on

TEST(F30Outcomes, none_that_is_forbidden_is_seen) {
    const long trials = testing::by_tier(115'000, 1'150'000, 115'000'000) /
                        (testing::sanitized() && testing::fault_tier() == 1 ? 4 : 1) /
                        static_cast<long>(std::size(shapes));
    EXPECT_GE(std::size(shapes), 25U);
    Team team;
    testing::FaultRow row("F30");
    long all = 0;
    for (const Shape& shape : shapes) {
        // A cancellation must not meet another trial: one at a time, which costs the more.
        const bool alone = std::string(shape.name).find("cancel") != std::string::npos;
        std::map<Outcome, long> seen;
        for (long left = alone ? trials / 10 : trials; left > 0;) {
            Team::Batch batch(static_cast<std::size_t>(alone ? 1 : std::min<long>(left, Team::most)));
            for (auto& trial : batch) trial = shape.make();
            for (const Outcome& o : team.run(batch, shape.agents)) {
                ++seen[o];
                row.trial(1); // what is injected is the others' calls
            }
            left -= static_cast<long>(batch.size());
            testing::Watchdog::kick();
        }
        std::string table;
        bool forbidden = false;
        for (const auto& [outcome, times] : seen) {
            const bool ok = std::find(shape.allowed.begin(), shape.allowed.end(), outcome) != shape.allowed.end();
            forbidden = forbidden || !ok;
            table += ok ? "  allowed  " : "  FORBIDDEN";
            for (const int r : outcome) table += ' ' + std::to_string(r);
            table += ": " + std::to_string(times) + '\n';
            all += times;
        }
        EXPECT_FALSE(forbidden) << shape.name << '\n' << table;
    }
    std::printf("F30: %zu shapes, %ld trials\n", std::size(shapes), all);
}

TEST(F30Outcomes, the_table_is_looked_up) {
    // Its outcome is in its table; one that is not is told apart.
    const Shape& shape = shapes[1];
    Team team;
    Team::Batch batch;
    batch.push_back(shape.make());
    const Outcome outcome = team.run(batch, shape.agents)[0];
    EXPECT_EQ(std::count(shape.allowed.begin(), shape.allowed.end(), outcome), 1);
    const Outcome wrong{1, 0, 0};
    EXPECT_EQ(std::count(shape.allowed.begin(), shape.allowed.end(), wrong), 0);
}

} // namespace
} // namespace sennit
