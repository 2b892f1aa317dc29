// F31: small histories of three agents that use one Lock, RLock, Semaphore, Event, Condition or Barrier at once, each checked for a
// legal order (Wing and Gong's search): some order of the calls that keeps their order in time and in which the object, used by one
// agent alone, would have given the same results. The same for Queue: tests/stress/queue_linearizability_test.cpp.
#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;

constexpr int agents = 3, calls_each = 4;

struct Call {
    int agent = 0;
    const char* name = "";
    long result = 0;
    long began = 0, ended = 0;
};

// One kind of object. `State` is what an order is tried on; apply() says whether a call may come next.
template <class Subject>
bool has_legal_order(const std::vector<Call>& calls, unsigned left, const typename Subject::State& state) {
    if (left == 0) return true;
    long first_end = -1;
    for (std::size_t i = 0; i < calls.size(); ++i)
        if ((left >> i & 1U) && (first_end < 0 || calls[i].ended < first_end)) first_end = calls[i].ended;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        if (!(left >> i & 1U) || calls[i].began > first_end) continue;
        typename Subject::State next = state;
        if (Subject::apply(next, calls[i]) && has_legal_order<Subject>(calls, left & ~(1U << i), next)) return true;
    }
    return false;
}

Deadline soon(testing::Random& random) { return std::chrono::nanoseconds(random.below(20'000)); }

// Every subject: act() makes one random call of agent `me` and writes down its name and result.

struct OfLock {
    struct State {
        int holder = -1;
    };
    sync::Lock lock;
    std::array<bool, agents> mine{};
    void act(int me, testing::Random& random, Call& c) {
        bool& held = mine[static_cast<std::size_t>(me)];
        if (held) { // never a second time: that would wait for itself
            c.name = "release";
            lock.release();
            held = false;
            return;
        }
        switch (random.below(3)) {
        case 0:
            c.name = "acquire";
            held = lock.acquire(false);
            c.result = held;
            break;
        case 1:
            c.name = "acquire";
            held = lock.acquire(soon(random));
            c.result = held;
            break;
        default:
            c.name = "locked";
            c.result = lock.locked();
        }
    }
    void finish() {
        for (const bool held : mine)
            if (held) lock.release();
        EXPECT_FALSE(lock.locked());
    }
    static bool apply(State& s, const Call& c) {
        switch (c.name[0]) {
        case 'a': // refused: held by another agent at some moment of the call
            if (c.result == 0) return s.holder >= 0;
            if (s.holder >= 0) return false;
            s.holder = c.agent;
            return true;
        case 'r':
            if (s.holder != c.agent) return false;
            s.holder = -1;
            return true;
        default:
            return (s.holder >= 0) == (c.result != 0);
        }
    }
};

struct OfRLock {
    struct State {
        int holder = -1, depth = 0;
    };
    sync::RLock lock;
    void act(int, testing::Random& random, Call& c) {
        switch (random.below(5)) {
        case 0:
            c.name = "acquire";
            c.result = lock.acquire(false);
            break;
        case 1:
            c.name = "acquire";
            c.result = lock.acquire(soon(random));
            break;
        case 2:
            c.name = "locked";
            c.result = lock.locked();
            break;
        case 3:
            c.name = "is_owned";
            c.result = lock.is_owned();
            break;
        default:
            c.name = "release";
            try {
                lock.release();
                c.result = 1;
            } catch (const UsageError&) {
                c.result = 0;
            }
        }
    }
    void finish() {}
    static bool apply(State& s, const Call& c) {
        switch (c.name[0]) {
        case 'a':
            if (c.result == 0) return s.holder >= 0 && s.holder != c.agent;
            if (s.holder >= 0 && s.holder != c.agent) return false;
            s.holder = c.agent;
            ++s.depth;
            return true;
        case 'r':
            if (c.result == 0) return s.holder != c.agent;
            if (s.holder != c.agent) return false;
            if (--s.depth == 0) s.holder = -1;
            return true;
        case 'i':
            return (s.holder == c.agent) == (c.result != 0);
        default:
            return (s.holder >= 0) == (c.result != 0);
        }
    }
};

struct OfSemaphore {
    struct State {
        long permits = 1;
    };
    sync::Semaphore permits{1};
    void act(int, testing::Random& random, Call& c) {
        switch (random.below(5)) {
        case 0:
        case 1:
            c.name = "acquire";
            c.result = permits.acquire(false);
            break;
        case 2:
            c.name = "acquire";
            c.result = permits.acquire(soon(random));
            break;
        case 3:
            c.name = "value";
            c.result = permits.value();
            break;
        default:
            c.name = "release";
            c.result = static_cast<long>(1 + random.below(2));
            permits.release(c.result);
        }
    }
    void finish() {}
    static bool apply(State& s, const Call& c) {
        switch (c.name[0]) {
        case 'a':
            if (c.result == 0) return s.permits == 0;
            return --s.permits >= 0;
        case 'r':
            s.permits += c.result;
            return true;
        default:
            return s.permits == c.result;
        }
    }
};

struct OfEvent {
    struct State {
        bool up = false;
    };
    sync::Event event;
    void act(int, testing::Random& random, Call& c) {
        switch (random.below(5)) {
        case 0:
            c.name = "set";
            event.set();
            break;
        case 1:
            c.name = "clear";
            event.clear();
            break;
        case 2:
            c.name = "is_set";
            c.result = event.is_set();
            break;
        case 3:
            c.name = "wait";
            c.result = event.wait(0s);
            break;
        default:
            c.name = "wait";
            c.result = event.wait(soon(random));
        }
    }
    void finish() {}
    static bool apply(State& s, const Call& c) {
        switch (c.name[0]) {
        case 's':
            return s.up = true;
        case 'c':
            s.up = false;
            return true;
        default:
            return s.up == (c.result != 0);
        }
    }
};

// Items under a Condition, as one would build a queue of it.
struct OfCondition {
    struct State {
        long items = 0;
    };
    sync::Condition changed;
    long items = 0;
    void act(int, testing::Random& random, Call& c) {
        const std::scoped_lock guard(changed);
        switch (random.below(3)) {
        case 0:
            c.name = "put";
            ++items;
            changed.notify();
            break;
        case 1:
            c.name = "take";
            c.result = changed.wait_for([this] { return items > 0; }, soon(random));
            if (c.result) --items;
            break;
        default:
            c.name = "look";
            c.result = items;
        }
    }
    void finish() {}
    static bool apply(State& s, const Call& c) {
        switch (c.name[0]) {
        case 'p':
            ++s.items;
            return true;
        case 't':
            return c.result ? --s.items >= 0 : s.items == 0;
        default:
            return s.items == c.result;
        }
    }
};

// A history: an object, what each agent did with it, and the clock of that.
template <class Subject>
struct History {
    Subject subject;
    std::vector<Call> of_agent[agents] = {std::vector<Call>(calls_each), std::vector<Call>(calls_each),
                                          std::vector<Call>(calls_each)};
    std::atomic<long> clock{0};
};

// Histories, made by a team in batches. At each the agents wait for each other, but not for long: on a busy machine a thread that waits
// for one that has no core starves the test.
template <class Subject, class Check>
void histories(Check check) {
    constexpr int batch_size = 32;
    const long rounds =
        testing::by_tier(2'000, 20'000, 100'000) / (testing::sanitized() && testing::fault_tier() == 1 ? 4 : 1);
    std::vector<std::unique_ptr<History<Subject>>> batch(batch_size);
    std::atomic<int> turn{0}, finished{0};
    std::atomic<int> progress[agents] = {};
    std::atomic<bool> over{false};
    std::vector<std::thread> team;
    for (int a = 0; a < agents; ++a)
        team.emplace_back([&, a] {
            testing::Random random(testing::seed() + static_cast<unsigned>(a));
            for (int seen = 0;;) {
                turn.wait(seen);
                if (over) return;
                seen = turn;
                for (int i = 0; i < batch_size; ++i) {
                    progress[a] = i;
                    const auto all_here = [&] {
                        for (auto& p : progress)
                            if (p < i) return false;
                        return true;
                    };
                    for (int looks = 0; looks < 300 && !all_here(); ++looks) cpu_relax();
                    History<Subject>& h = *batch[static_cast<std::size_t>(i)];
                    for (Call& c : h.of_agent[a]) {
                        c.agent = a;
                        c.began = h.clock++;
                        h.subject.act(a, random, c);
                        c.ended = h.clock++;
                    }
                }
                ++finished;
                finished.notify_one();
            }
        });
    bool good = true;
    testing::FaultRow row("F31");
    for (long round = 0; round < rounds && good; round += batch_size) {
        for (auto& h : batch) h = std::make_unique<History<Subject>>();
        finished = 0;
        for (auto& p : progress) p = -1;
        ++turn;
        turn.notify_all();
        for (int done; (done = finished) < agents;) finished.wait(done);
        testing::Watchdog::kick();
        for (auto& h : batch) {
            std::vector<Call> all;
            for (const auto& calls : h->of_agent) all.insert(all.end(), calls.begin(), calls.end());
            h->subject.finish();
            row.trial(1); // what is injected is the others' calls
            if (check(all)) continue;
            std::string text;
            for (const Call& c : all)
                text += std::to_string(c.began) + ".." + std::to_string(c.ended) + " agent " + std::to_string(c.agent) +
                        ": " + c.name + " = " + std::to_string(c.result) + '\n';
            ADD_FAILURE() << "no legal order in a history of batch " << round << ":\n" << text;
            good = false;
            break;
        }
    }
    over = true;
    ++turn;
    turn.notify_all();
    for (auto& t : team) t.join();
}

template <class Subject>
void expect_legal_orders() {
    histories<Subject>([](const std::vector<Call>& calls) {
        return has_legal_order<Subject>(calls, (1U << calls.size()) - 1, typename Subject::State{});
    });
}

TEST(F31Linearizability, the_search_refuses_what_could_not_have_been) {
    // Both have the lock at once; refused though it was free all the time; a permit from nowhere.
    EXPECT_FALSE(has_legal_order<OfLock>({{0, "acquire", 1, 0, 1}, {1, "acquire", 1, 2, 3}}, 3, {}));
    EXPECT_FALSE(has_legal_order<OfLock>({{0, "acquire", 0, 0, 1}, {1, "acquire", 1, 2, 3}}, 3, {}));
    EXPECT_TRUE(has_legal_order<OfLock>({{0, "acquire", 0, 0, 3}, {1, "acquire", 1, 1, 2}}, 3, {}));
    EXPECT_FALSE(has_legal_order<OfSemaphore>({{0, "acquire", 1, 0, 1}, {1, "acquire", 1, 0, 1}}, 3, {}));
    EXPECT_FALSE(has_legal_order<OfEvent>({{0, "set", 0, 0, 1}, {1, "wait", 0, 2, 3}}, 3, {}));
}

TEST(F31Linearizability, Lock) { expect_legal_orders<OfLock>(); }
TEST(F31Linearizability, RLock) { expect_legal_orders<OfRLock>(); }
TEST(F31Linearizability, Semaphore) { expect_legal_orders<OfSemaphore>(); }
TEST(F31Linearizability, Event) { expect_legal_orders<OfEvent>(); }
TEST(F31Linearizability, Condition) { expect_legal_orders<OfCondition>(); }

// A round of a Barrier is one step of two agents: each number 0 has a number 1 at the same time, and the other way round.
struct OfBarrier {
    sync::Barrier barrier{2};
    void act(int, testing::Random& random, Call& c) {
        c.name = "wait";
        try {
            c.result = barrier.wait(soon(random));
        } catch (const BrokenBarrierError&) {
            c.result = -1;
            barrier.reset();
        }
    }
    void finish() { EXPECT_EQ(barrier.n_waiting(), 0U); }
};

bool pairs_up(const std::vector<Call>& calls, unsigned left) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
        if (!(left >> i & 1U)) continue;
        if (calls[i].result < 0) return pairs_up(calls, left & ~(1U << i));
        for (std::size_t k = i + 1; k < calls.size(); ++k) {
            const bool at_once = calls[i].began < calls[k].ended && calls[k].began < calls[i].ended;
            if ((left >> k & 1U) && at_once && calls[i].result + calls[k].result == 1 &&
                pairs_up(calls, left & ~(1U << i | 1U << k)))
                return true;
        }
        return false;
    }
    return true;
}

TEST(F31Linearizability, Barrier) {
    EXPECT_FALSE(pairs_up({{0, "wait", 0, 0, 1}, {1, "wait", 1, 2, 3}}, 3)) << "one after the other";
    EXPECT_FALSE(pairs_up({{0, "wait", 0, 0, 1}}, 1)) << "alone";
    EXPECT_FALSE(pairs_up({{0, "wait", 0, 0, 2}, {1, "wait", 0, 1, 3}}, 3)) << "the same number";
    EXPECT_TRUE(pairs_up({{0, "wait", 0, 0, 2}, {1, "wait", 1, 1, 3}}, 3));
    histories<OfBarrier>([](const std::vector<Call>& calls) { return pairs_up(calls, (1U << calls.size()) - 1); });
}

} // namespace
} // namespace sennit
