// Random trees of forks and loops, in which random nodes throw, stop or wait, from several threads on one pool: each node
// that was to run did so once, each exception came out where it was to, and nothing is left.
#include <sennit/base/errors.hpp>
#include <sennit/futures.hpp>

#include "support/tier.hpp"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using futures::fork_join;
using futures::ForkScope;
using futures::parallel_for;
using futures::parallel_reduce;
using futures::ThreadPoolExecutor;

long rounds(long first_tier) {
    return static_cast<long>(testing::by_tier(first_tier, 10 * first_tier, 100 * first_tier));
}

// SplitMix64: a node's number from its parent's, so that the tree is the same whoever walks it.
std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

struct Oops {
    std::uint64_t node;
};

// Counts the nodes of a tree; the serial walk is the judge of the parallel one.
long count(std::uint64_t node, int depth) {
    if (depth == 0) return 1;
    switch (mix(node) % 5) {
    case 0:
        return 1;
    case 1: {
        long sum = 1;
        for (std::uint64_t i = 0; i < 7; ++i) sum += count(mix(node + i), depth - 2 < 0 ? 0 : depth - 2);
        return sum;
    }
    default:
        return 1 + count(mix(node + 1), depth - 1) + count(mix(node + 2), depth - 1);
    }
}
long count_by_forks(ForkScope& scope, ThreadPoolExecutor& pool, std::uint64_t node, int depth) {
    if (depth == 0) return 1;
    switch (mix(node) % 5) {
    case 0:
        return 1;
    case 1:
        return 1 + parallel_reduce(pool, std::uint64_t{0}, std::uint64_t{7}, 0L, std::plus<>(), [&](std::uint64_t i) {
                   const int left = depth - 2 < 0 ? 0 : depth - 2;
                   // Who runs this may be another thread with a scope of its own: so by the pool.
                   return fork_join(pool, [&](ForkScope& s) { return count_by_forks(s, pool, mix(node + i), left); });
               });
    default: {
        const auto [a, b] = fork_join(
            scope, [&](ForkScope& s) { return count_by_forks(s, pool, mix(node + 1), depth - 1); },
            [&](ForkScope& s) { return count_by_forks(s, pool, mix(node + 2), depth - 1); });
        return 1 + a + b;
    }
    }
}

TEST(ForkStress, random_trees_are_counted_right_from_many_threads) {
    for (const std::size_t workers : {1U, 2U, 4U, 8U}) {
        ThreadPoolExecutor pool(workers);
        std::vector<std::thread> callers;
        for (std::uint64_t c = 0; c < 3; ++c)
            callers.emplace_back([&, c] {
                for (long i = 0; i < rounds(100); ++i) {
                    const std::uint64_t root = mix(c * 1'000'003 + static_cast<std::uint64_t>(i));
                    const long found = fork_join(pool, [&](ForkScope& s) { return count_by_forks(s, pool, root, 14); });
                    ASSERT_EQ(found, count(root, 14)) << workers << " workers, root " << root;
                }
            });
        for (auto& t : callers) t.join();
    }
}

// Every leaf is entered and left; some throw, and some of those above catch what their own subtree threw.
struct Ledger {
    std::atomic<long> entered{0}, left{0}, thrown{0};
};
void walk(ForkScope& scope, Ledger& ledger, std::uint64_t node, int depth) {
    ++ledger.entered;
    struct Leave {
        Ledger& ledger;
        ~Leave() { ++ledger.left; }
    } leave{ledger};
    const std::uint64_t kind = mix(node ^ 77) % 64;
    if (depth == 0) {
        if (kind != 0) return;
        ++ledger.thrown;
        throw Oops{node};
    }
    const auto both = [&] {
        fork_join(
            scope, [&](ForkScope& s) { walk(s, ledger, mix(node + 1), depth - 1); },
            [&](ForkScope& s) { walk(s, ledger, mix(node + 2), depth - 1); });
    };
    if (kind > 8) return both();
    try {
        both();
    } catch (const Oops&) {}
}

TEST(ForkStress, exceptions_come_out_once_all_below_has_ended) {
    for (const std::size_t workers : {2U, 3U, 8U}) {
        ThreadPoolExecutor pool(workers);
        long came_out = 0;
        for (long i = 0; i < rounds(600); ++i) {
            auto ledger = std::make_unique<Ledger>();
            try {
                fork_join(pool, [&](ForkScope& s) { walk(s, *ledger, mix(static_cast<std::uint64_t>(i)), 10); });
            } catch (const Oops&) {
                ++came_out;
                ASSERT_GT(ledger->thrown, 0);
            }
            ASSERT_EQ(ledger->entered, ledger->left) << "round " << i;
        }
        EXPECT_GT(came_out, 0);
    }
}

TEST(ForkStress, stops_at_any_time_end_the_call_with_all_its_parts) {
    ThreadPoolExecutor pool(3);
    long stopped = 0;
    for (long i = 0; i < rounds(600); ++i) {
        std::stop_source source;
        auto inside = std::make_unique<std::atomic<long>>(0);
        std::atomic<bool> begun{false};
        std::thread stopper([&] {
            while (!begun) std::this_thread::yield();
            for (std::uint64_t n = mix(static_cast<std::uint64_t>(i)) % 20'000; n > 0; --n) cpu_relax();
            source.request_stop();
        });
        try {
            parallel_for(pool, 0, 3'000'000,
                         [&](int begin, int end) {
                             ++*inside;
                             begun = true;
                             for (int k = begin; k < end; ++k) cpu_relax();
                             --*inside;
                         },
                         {.stop = source.get_token()});
        } catch (const CancelledError&) {
            ++stopped;
        }
        ASSERT_EQ(*inside, 0);
        stopper.join();
    }
    EXPECT_GT(stopped, 0);
}

TEST(ForkStress, calls_and_tasks_share_a_pool_and_all_of_both_end) {
    ThreadPoolExecutor pool(2);
    std::atomic<long> tasks{0}, turns{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 3; ++c)
        callers.emplace_back([&, c] {
            for (long i = 0; i < rounds(100); ++i) {
                if (c == 0) {
                    std::vector<sync::Future<void>> all;
                    for (int k = 0; k < 20; ++k)
                        all.push_back(pool.submit([&] {
                            parallel_for(pool, 0, 200, [&](int) { turns.fetch_add(1, std::memory_order_relaxed); });
                            ++tasks;
                        }));
                    for (auto& f : all) f.result();
                } else {
                    parallel_for(pool, 0, 5'000, [&](int) { turns.fetch_add(1, std::memory_order_relaxed); });
                }
            }
        });
    for (auto& t : callers) t.join();
    EXPECT_EQ(tasks, rounds(100) * 20);
    EXPECT_EQ(turns, rounds(100) * (20 * 200 + 2 * 5'000));
}

TEST(ForkStress, short_lived_pools_end_whatever_their_workers_are_about) {
    for (long i = 0; i < rounds(100); ++i) {
        std::atomic<long> turns{0};
        {
            ThreadPoolExecutor pool(4);
            parallel_for(pool, 0, 20'000, [&](int) { turns.fetch_add(1, std::memory_order_relaxed); });
            if (i % 2) pool.shutdown({.wait = false, .cancel_futures = true});
        }
        ASSERT_EQ(turns, 20'000);
    }
}

} // namespace
} // namespace sennit
