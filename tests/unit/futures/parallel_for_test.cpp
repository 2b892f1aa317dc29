#include <sennit/futures/parallel_for.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/futures/thread_pool_executor.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/sync/event.hpp>

#include <atomic>
#include <chrono>
#include <climits>
#include <deque>
#include <gtest/gtest.h>
#include <limits>
#include <ranges>
#include <stdexcept>
#include <thread>
#include <vector>

namespace sennit::futures {
namespace {

using namespace std::chrono_literals;

TEST(ParallelFor, each_index_has_its_turn_once_whatever_length_grain_and_pool) {
    for (const std::size_t workers : {1U, 2U, 5U}) {
        ThreadPoolExecutor pool(workers);
        for (const int n : {0, 1, 2, 3, 7, 100, 1001, 65'537}) {
            for (const std::size_t grain : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{1000},
                                            std::numeric_limits<std::size_t>::max()}) {
                std::vector<std::atomic<unsigned char>> turns(static_cast<std::size_t>(n));
                parallel_for(pool, 0, n, [&](int i) { ++turns[static_cast<std::size_t>(i)]; }, {.grain = grain});
                for (auto& t : turns) ASSERT_EQ(t, 1) << n << ' ' << grain;
            }
        }
    }
}

TEST(ParallelFor, ranges_of_odd_bounds_and_types_work) {
    ThreadPoolExecutor pool(2);
    const auto count = [&](auto first, auto last) {
        std::atomic<int> n{0};
        parallel_for(pool, first, last, [&](auto i) {
            EXPECT_TRUE(first <= i && i < last);
            ++n;
        });
        return n.load();
    };
    EXPECT_EQ(count(-3, 4), 7);
    EXPECT_EQ(count(5, -5), 0);
    EXPECT_EQ(count(INT_MAX - 2, INT_MAX), 2);
    EXPECT_EQ(count(LLONG_MIN, LLONG_MIN + 3), 3);
    EXPECT_EQ(count(ULLONG_MAX - 4, ULLONG_MAX), 4);
    EXPECT_EQ(count(static_cast<signed char>(-128), static_cast<signed char>(127)), 255);
    EXPECT_EQ(count(static_cast<unsigned short>(0), static_cast<unsigned short>(65'535)), 65'535);
}

TEST(ParallelFor, blocks_make_the_range) {
    ThreadPoolExecutor pool(3);
    std::vector<std::atomic<int>> turns(100'000);
    parallel_for(pool, 0UL, turns.size(), [&](std::size_t begin, std::size_t end) {
        ASSERT_LT(begin, end);
        for (std::size_t i = begin; i < end; ++i) ++turns[i];
    });
    for (auto& t : turns) ASSERT_EQ(t, 1);
}

TEST(ParallelFor, a_block_is_no_smaller_than_the_grain_but_for_the_last_of_a_part) {
    ThreadPoolExecutor pool(2);
    std::atomic<int> small{0}, parts{0};
    parallel_for(pool, 0, 100'000,
                 [&](int begin, int end) {
                     ++parts;
                     if (end - begin < 1000) ++small;
                 },
                 {.grain = 1000});
    EXPECT_LE(small, 8) << "of " << parts;
}

TEST(ParallelFor, elements_of_a_container_can_be_changed) {
    ThreadPoolExecutor pool(2);
    std::deque<int> numbers(10'000, 1);
    parallel_for(pool, numbers, [](int& x) { x = 2; });
    for (int x : numbers) ASSERT_EQ(x, 2);
    std::atomic<int> sum{0};
    parallel_for(pool, std::views::iota(0, 100), [&](int i) { sum += i; });
    EXPECT_EQ(sum, 4950);
}

TEST(ParallelFor, an_idle_worker_takes_the_upper_half) {
    ThreadPoolExecutor pool(2);
    std::atomic<int> first_elsewhere{-1};
    const auto caller = std::this_thread::get_id();
    parallel_for(pool, 0, 1001, [&](int i) {
        if (std::this_thread::get_id() != caller) {
            int none = -1;
            first_elsewhere.compare_exchange_strong(none, i);
        } else if (i == 0) {
            // Signals are looked for between turns, and at forks: so in the first turn.
            fork_join(pool, [&](ForkScope& s) {
                while (first_elsewhere < 0)
                    fork_join(
                        s, [] {}, [] {});
            });
        }
    });
    EXPECT_EQ(first_elsewhere, 501) << "the first turn has begun, and of the 1000 others half are given away";
}

TEST(ParallelFor, what_a_turn_throws_comes_out_once_and_no_turn_runs_after_the_call) {
    for (const std::size_t workers : {1U, 2U, 4U}) {
        ThreadPoolExecutor pool(workers);
        for (const int bad : {0, 1, 5000, 99'999}) {
            std::atomic<int> running{0};
            std::atomic<bool> over{false};
            EXPECT_THROW(parallel_for(pool, 0, 100'000,
                                      [&](int i) {
                                          EXPECT_FALSE(over);
                                          ++running;
                                          if (i == bad) {
                                              --running;
                                              throw std::domain_error("bad turn");
                                          }
                                          --running;
                                      }),
                         std::domain_error);
            over = true;
            EXPECT_EQ(running, 0);
        }
    }
}

TEST(ParallelFor, turns_that_all_throw_give_one_exception) {
    ThreadPoolExecutor pool(4);
    for (int round = 0; round < 50; ++round)
        EXPECT_THROW(parallel_for(pool, 0, 100, [&](int) { throw std::domain_error("every turn"); }),
                     std::domain_error);
}

TEST(ParallelFor, loops_nest) {
    ThreadPoolExecutor pool(3);
    std::atomic<int> turns{0};
    parallel_for(pool, 0, 50, [&](int) {
        parallel_for(pool, 0, 40, [&](int) { parallel_for(pool, 0, 5, [&](int) { ++turns; }); });
    });
    EXPECT_EQ(turns, 10'000);
}

TEST(ParallelFor, a_loop_in_a_scope_forks_there) {
    ThreadPoolExecutor pool(2);
    std::atomic<int> turns{0};
    fork_join(pool, [&](ForkScope& s) {
        fork_join(
            s, [&](ForkScope& t) { parallel_for(t, 0, 1000, [&](int) { ++turns; }); },
            [&](ForkScope& t) { parallel_for(t, 0, 1000, [&](int) { ++turns; }); });
    });
    EXPECT_EQ(turns, 2000);
}

TEST(ParallelFor, an_exception_of_an_inner_loop_that_is_caught_leaves_the_outer_one_alone) {
    ThreadPoolExecutor pool(3);
    std::atomic<int> caught{0};
    parallel_for(pool, 0, 100, [&](int) {
        try {
            parallel_for(pool, 0, 1000, [](int i) {
                if (i % 100 == 99) throw std::domain_error("inner");
            });
        } catch (const std::domain_error&) {
            ++caught;
        }
    });
    EXPECT_EQ(caught, 100);
}

TEST(ParallelFor, a_stop_leaves_the_turns_out_that_have_not_begun) {
    ThreadPoolExecutor pool(2);
    std::stop_source source;
    std::atomic<long> turns{0};
    EXPECT_THROW(parallel_for(pool, 0L, 1'000'000'000'000L,
                              [&](long) {
                                  if (++turns == 1000) source.request_stop();
                              },
                              {.stop = source.get_token()}),
                 CancelledError);
    EXPECT_GE(turns, 1000);
    const long seen = turns;
    EXPECT_THROW(parallel_for(pool, 0, 10, [&](int) { ++turns; }, {.stop = source.get_token()}), CancelledError);
    EXPECT_EQ(turns, seen);
}

TEST(ParallelFor, a_stop_of_an_inner_loop_is_its_own) {
    ThreadPoolExecutor pool(2);
    std::atomic<int> outer{0};
    parallel_for(pool, 0, 20, [&](int) {
        std::stop_source source;
        EXPECT_THROW(
            parallel_for(pool, 0L, 1'000'000'000L, [&](long) { source.request_stop(); }, {.stop = source.get_token()}),
            CancelledError);
        ++outer;
    });
    EXPECT_EQ(outer, 20);
}

TEST(ParallelFor, a_worker_of_a_pool_of_one_may_call_it) {
    ThreadPoolExecutor pool(1);
    std::atomic<int> turns{0};
    pool.submit([&] { parallel_for(pool, 0, 10'000, [&](int) { ++turns; }); }).result();
    EXPECT_EQ(turns, 10'000);
}

TEST(ParallelFor, two_pools_may_call_each_other) {
    ThreadPoolExecutor a(2), b(2);
    std::atomic<int> turns{0};
    parallel_for(a, 0, 20,
                 [&](int) { parallel_for(b, 0, 20, [&](int) { parallel_for(a, 0, 20, [&](int) { ++turns; }); }); });
    EXPECT_EQ(turns, 8000);
}

TEST(ParallelFor, turns_that_wait_have_more_threads_than_there_are_cores) {
    ThreadPoolExecutor pool(static_cast<std::size_t>(os::process_cpus()) + 3);
    const int more_than_cores = os::process_cpus() + 1;
    sync::Event all_here;
    std::atomic<int> inside{0};
    std::atomic<bool> met{false};
    parallel_for(pool, 0, 1000, [&](int) {
        if (++inside >= more_than_cores) {
            met = true;
            all_here.set();
        }
        all_here.wait(5ms);
        --inside;
    });
    EXPECT_TRUE(met);
}

} // namespace
} // namespace sennit::futures
