// F31: small histories of agents that use one queue at once, each checked for a legal order (Wing and Gong's search): some
// order of the calls that keeps their order in time and in which a plain deque would have given the same results.
#include <sennit/queue.hpp>

#include "support/tier.hpp"

#include <atomic>
#include <deque>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

enum class Kind { put, get };

struct Call {
    Kind kind = Kind::put;
    int value = 0;     // what was put, or given
    bool done = false; // false: Full, or Empty
    long began = 0, ended = 0;
};

// Whether the calls that `left` names can go on from `state`. A call may come next if no other has ended before it began.
bool has_legal_order(const std::vector<Call>& calls, unsigned left, std::deque<int> state, std::size_t maxsize) {
    if (left == 0) return true;
    long first_end = -1;
    for (std::size_t i = 0; i < calls.size(); ++i)
        if ((left >> i & 1U) && (first_end < 0 || calls[i].ended < first_end)) first_end = calls[i].ended;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        const Call& c = calls[i];
        if (!(left >> i & 1U) || c.began > first_end) continue;
        std::deque<int> next = state;
        bool legal = false;
        if (c.kind == Kind::put) {
            legal = c.done == (state.size() < maxsize);
            if (c.done) next.push_back(c.value);
        } else if (c.done) {
            legal = !state.empty() && state.front() == c.value;
            if (legal) next.pop_front();
        } else {
            legal = state.empty();
        }
        if (legal && has_legal_order(calls, left & ~(1U << i), std::move(next), maxsize)) return true;
    }
    return false;
}

std::string text_of(const std::vector<Call>& calls) {
    std::string text;
    for (const Call& c : calls)
        text += std::to_string(c.began) + ".." + std::to_string(c.ended) + (c.kind == Kind::put ? " put " : " get ") +
                (c.done || c.kind == Kind::put ? std::to_string(c.value) : "") + (c.done ? "\n" : " refused\n");
    return text;
}

long histories() { return testing::by_tier(2'000, 20'000, 100'000); }

TEST(Linearizability, the_search_refuses_what_no_queue_could_have_done) {
    // An item was put before get began, and nobody else took it: "empty" is wrong. So is overtaking.
    EXPECT_FALSE(has_legal_order({{Kind::put, 1, true, 0, 1}, {Kind::get, 0, false, 2, 3}}, 3, {}, 9));
    EXPECT_FALSE(has_legal_order({{Kind::put, 1, true, 0, 1}, {Kind::put, 2, true, 2, 3}, {Kind::get, 2, true, 4, 5}},
                                 7, {}, 9));
    EXPECT_TRUE(has_legal_order({{Kind::put, 1, true, 0, 3}, {Kind::get, 0, false, 1, 2}}, 3, {}, 9));
}

class QueueLinearizability : public ::testing::TestWithParam<int> {};

TEST_P(QueueLinearizability, every_history_of_three_agents_has_a_legal_order) {
    constexpr int agents = 3, calls_each = 4;
    const int maxsize = GetParam();
    const long rounds = histories();
    const unsigned seed = 20'31;
    std::vector<std::vector<Call>> of_agent(agents, std::vector<Call>(calls_each));
    std::atomic<queue::Queue<int>*> shared{nullptr};
    std::atomic<long> clock{0}, turn{0};
    std::atomic<int> ready{0}, finished{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> team;
    for (int a = 0; a < agents; ++a)
        team.emplace_back([&, a] {
            std::mt19937 random(seed + static_cast<unsigned>(a));
            for (long seen = 0;;) {
                while (turn == seen && !over) std::this_thread::yield();
                if (over) return;
                seen = turn;
                queue::Queue<int>& q = *shared.load();
                for (++ready; ready < agents;) std::this_thread::yield(); // begin together
                for (int k = 0; k < calls_each; ++k) {
                    Call& c = of_agent[static_cast<std::size_t>(a)][static_cast<std::size_t>(k)];
                    c.kind = random() % 2 ? Kind::put : Kind::get;
                    c.value = a * calls_each + k;
                    c.began = clock++;
                    if (c.kind == Kind::put) {
                        int value = c.value;
                        c.done = q.try_put(value);
                    } else {
                        const std::optional<int> got = q.try_get();
                        c.done = got.has_value();
                        c.value = got.value_or(0);
                    }
                    c.ended = clock++;
                }
                ++finished;
            }
        });
    for (long round = 0; round < rounds; ++round) {
        queue::Queue<int> q(maxsize);
        ready = finished = 0;
        clock = 0;
        shared = &q;
        ++turn;
        while (finished < agents) std::this_thread::yield();
        std::vector<Call> all;
        for (const auto& calls : of_agent) all.insert(all.end(), calls.begin(), calls.end());
        const std::size_t limit = maxsize > 0 ? static_cast<std::size_t>(maxsize) : all.size() + 1;
        if (!has_legal_order(all, (1U << all.size()) - 1, {}, limit)) {
            ADD_FAILURE() << "no legal order in history " << round << " of seed " << seed << ":\n" << text_of(all);
            break;
        }
    }
    over = true;
    for (auto& t : team) t.join();
}
INSTANTIATE_TEST_SUITE_P(maxsizes, QueueLinearizability, ::testing::Values(1, 2, 0));

} // namespace
} // namespace sennit
