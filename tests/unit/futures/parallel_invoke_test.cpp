#include <sennit/futures/parallel_invoke.hpp>

#include <sennit/futures/thread_pool_executor.hpp>

#include <atomic>
#include <gtest/gtest.h>
#include <stdexcept>

namespace sennit::futures {
namespace {

TEST(ParallelInvoke, all_are_called_once_with_a_scope_or_without) {
    ThreadPoolExecutor pool(2);
    std::atomic<int> calls{0};
    parallel_invoke(pool, [&] { ++calls; });
    EXPECT_EQ(calls, 1);
    parallel_invoke(
        pool, [&] { calls += 10; },
        [&](ForkScope& s) {
            parallel_invoke(
                s, [&] { calls += 100; }, [&] { calls += 1000; });
        },
        [&] { return calls += 10'000; }, [&] { calls += 100'000; });
    EXPECT_EQ(calls, 111'111);
}

TEST(ParallelInvoke, an_idle_worker_takes_what_comes_later) {
    ThreadPoolExecutor pool(2);
    std::atomic<bool> second{false};
    parallel_invoke(
        pool,
        [&](ForkScope& s) {
            while (!second)
                fork_join(
                    s, [] {}, [] {});
        },
        [&] { second = true; });
    EXPECT_TRUE(second);
}

TEST(ParallelInvoke, what_one_throws_comes_out) {
    ThreadPoolExecutor pool(2);
    for (int bad = 0; bad < 3; ++bad)
        EXPECT_THROW(parallel_invoke(
                         pool,
                         [&] {
                             if (bad == 0) throw std::domain_error("0");
                         },
                         [&] {
                             if (bad == 1) throw std::domain_error("1");
                         },
                         [&] {
                             if (bad == 2) throw std::domain_error("2");
                         }),
                     std::domain_error);
}

} // namespace
} // namespace sennit::futures
