// Thread pools and futures under load: a million tasks, races of cancel, shutdown and nested waits. Counts must be exact.
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/sync.hpp>

#include "support/seed.hpp"
#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <malloc.h>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using futures::Future;
using futures::ThreadPoolExecutor;
using testing::by_tier;
using testing::Co;
using testing::Random;
using testing::TestLoop;

// glibc keeps an arena for each of several threads, and the instruments count mappings.
const bool few_arenas = ::mallopt(M_ARENA_MAX, 2) == 1;

TEST(PoolStress, a_million_tasks_run_once_each_whoever_submits_them) {
    const auto total = by_tier(100'000, 1'000'000, 1'000'000);
    for (const std::size_t workers : {1U, 2U, 8U}) {
        std::atomic<std::int64_t> ran{0};
        std::int64_t sum = 0;
        {
            ThreadPoolExecutor pool(workers);
            const auto submitters = 4;
            std::vector<std::thread> team;
            std::atomic<std::int64_t> sums{0};
            for (int s = 0; s < submitters; ++s)
                team.emplace_back([&] {
                    std::int64_t mine = 0;
                    std::vector<Future<int>> some;
                    for (std::int64_t left = total / submitters / 3; left > 0;) {
                        for (int i = 0; i < 100 && left > 0; ++i, --left)
                            some.push_back(pool.submit([&ran] {
                                ran.fetch_add(1, std::memory_order_relaxed);
                                return 1;
                            }));
                        for (auto& f : some) mine += f.result();
                        some.clear();
                    }
                    sums += mine;
                });
            for (auto& t : team) t.join();
            sum = sums;
        }
        EXPECT_EQ(ran, total / 4 / 3 * 4);
        EXPECT_EQ(sum, ran);
    }
}

TEST(PoolStress, tasks_that_nobody_waits_for_and_tasks_of_tasks_all_run_before_the_end) {
    const auto roots = by_tier(1'000, 20'000, 100'000);
    std::atomic<std::int64_t> ran{0};
    {
        ThreadPoolExecutor pool(2);
        struct Tree {
            ThreadPoolExecutor& pool;
            std::atomic<std::int64_t>& ran;
            void operator()(int depth) const {
                ++ran;
                for (int i = 0; i < depth; ++i) pool.submit(*this, depth - 1);
            }
        };
        std::vector<Future<void>> done;
        for (std::int64_t i = 0; i < roots; ++i) done.push_back(pool.submit(Tree{pool, ran}, 3));
        futures::wait(done);
        while (ran < roots * 16) std::this_thread::yield(); // 1 + 3 (1 + 2 (1 + 1))
    }
    EXPECT_EQ(ran, roots * 16);
}

TEST(PoolRace, a_task_is_cancelled_or_runs_never_both_never_neither) {
    const auto rounds = by_tier(200, 2'000, 20'000);
    for (const std::size_t workers : {1U, 2U, 4U}) {
        ThreadPoolExecutor pool(workers);
        std::int64_t cancelled = 0, finished = 0;
        for (std::int64_t r = 0; r < rounds; ++r) {
            constexpr int n = 50;
            std::atomic<int> ran[n] = {};
            std::vector<Future<int>> all;
            for (int i = 0; i < n; ++i)
                all.push_back(pool.submit([&ran, i] {
                    ran[i].fetch_add(1, std::memory_order_relaxed);
                    return i;
                }));
            std::vector<int> gone(n);
            for (int i = n; i-- > 0;) gone[static_cast<std::size_t>(i)] = all[static_cast<std::size_t>(i)].cancel();
            for (int i = 0; i < n; ++i) {
                auto& f = all[static_cast<std::size_t>(i)];
                f.wait();
                const int here = ran[i].load(std::memory_order_relaxed);
                if (gone[static_cast<std::size_t>(i)]) {
                    ASSERT_TRUE(f.cancelled());
                    ASSERT_EQ(here, 0);
                    ++cancelled;
                } else {
                    ASSERT_EQ(f.result(), i);
                    ASSERT_EQ(here, 1);
                    ++finished;
                }
            }
        }
        EXPECT_EQ(cancelled + finished, rounds * 50);
    }
}

TEST(PoolRace, shutdown_settles_every_future_that_submit_gave) {
    const auto rounds = by_tier(100, 1'000, 10'000);
    Random random(testing::seed());
    for (std::int64_t r = 0; r < rounds; ++r) {
        std::atomic<int> ran{0};
        std::vector<Future<void>> given[2];
        {
            ThreadPoolExecutor pool(1 + random.below(3));
            sync::Barrier start(3);
            std::vector<std::thread> team;
            for (auto& mine : given)
                team.emplace_back([&] {
                    start.wait();
                    try {
                        for (;;) mine.push_back(pool.submit([&] { ++ran; }));
                    } catch (const UsageError&) { // shut down
                    }
                });
            start.wait();
            const auto turns = random.below(2'000);
            for (std::uint64_t i = 0; i < turns; ++i) (cpu_relax)();
            pool.shutdown({.wait = random.percent(50), .cancel_futures = random.percent(50)});
            for (auto& t : team) t.join();
        }
        int done = 0, cancelled = 0;
        for (auto& some : given)
            for (auto& f : some) {
                ASSERT_TRUE(f.done());
                f.cancelled() ? ++cancelled : ++done;
            }
        ASSERT_EQ(done, ran);
    }
}

TEST(PoolRace, nested_waits_end_at_any_depth_and_width) {
    const auto rounds = by_tier(20, 200, 2'000);
    for (std::int64_t r = 0; r < rounds; ++r) {
        ThreadPoolExecutor pool(static_cast<std::size_t>(1 + r % 3));
        struct Fib {
            ThreadPoolExecutor& pool;
            int operator()(int n) const {
                if (n < 2) return n;
                auto a = pool.submit(*this, n - 1), b = pool.submit(*this, n - 2);
                return n % 2 ? a.result() + b.result() : b.result() + a.result();
            }
        };
        ASSERT_EQ(pool.submit(Fib{pool}, 12).result(), 144);
    }
}

TEST(PoolRace, agents_that_wait_for_one_future_all_get_it_or_their_deadline) {
    const auto rounds = by_tier(200, 2'000, 20'000);
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    loop.start();
    for (std::int64_t r = 0; r < rounds; ++r) {
        Future<std::int64_t> f;
        std::atomic<int> got{0}, late{0}, ended{0};
        const auto count = [&](auto&& get) {
            try {
                get() == r ? ++got : ++late;
            } catch (const TimeoutError&) {
                ++late;
            }
            ++ended;
        };
        auto a = pool.submit([&] { count([&] { return f.result(); }); });
        auto b = pool.submit([&] { count([&] { return f.result(std::chrono::microseconds(r % 100)); }); });
        auto& c = loop.spawn([&]() -> Co<void> {
            const auto value = co_await f;
            count([&] { return value; });
        });
        auto& d = loop.spawn([&]() -> Co<void> {
            try {
                co_await f;
                ++got;
            } catch (const CancelledError&) {
                ++late;
            }
            ++ended;
        });
        d.cancel();
        f.set_result(r);
        a.result();
        b.result();
        c.done().wait();
        d.done().wait();
        ASSERT_EQ(ended, 4);
        ASSERT_GE(got, 2);
        ASSERT_EQ(got + late, 4);
    }
    loop.join();
}

TEST(PoolRace, wait_and_as_completed_see_futures_that_end_meanwhile_once_each) {
    const auto rounds = by_tier(200, 2'000, 20'000);
    ThreadPoolExecutor pool(3);
    for (std::int64_t r = 0; r < rounds; ++r) {
        std::vector<Future<int>> all;
        for (int i = 0; i < 20; ++i) all.push_back(pool.submit([i] { return 1 << i; }));
        const auto first = futures::wait(all, {.return_when = futures::FIRST_COMPLETED});
        ASSERT_GE(first.done.size(), 1U);
        int seen = 0;
        for (auto f : futures::as_completed(all)) {
            const int bit = f.result();
            ASSERT_EQ(seen & bit, 0);
            seen |= bit;
        }
        ASSERT_EQ(seen, (1 << 20) - 1);
    }
}

TEST(PoolStress, maps_of_a_pool_give_everything_once) {
    const int n = static_cast<int>(by_tier(20'000, 200'000, 1'000'000));
    multiprocessing::pool::ThreadPool pool(3);
    const auto half = [](int i) { return i; };
    std::int64_t expected = static_cast<std::int64_t>(n) * (n - 1) / 2, sum = 0;
    for (int i : pool.map(half, std::views::iota(0, n))) sum += i;
    EXPECT_EQ(sum, expected);
    sum = 0;
    for (int i : pool.imap_unordered(half, std::views::iota(0, n), 7)) sum += i;
    EXPECT_EQ(sum, expected);
    int next = 0;
    for (int i : pool.imap(half, std::views::iota(0, n), 16)) ASSERT_EQ(i, next++);
    EXPECT_EQ(next, n);
}

} // namespace
} // namespace sennit
