#include <sennit/futures/parallel_reduce.hpp>

#include <sennit/futures/thread_pool_executor.hpp>

#include <functional>
#include <gtest/gtest.h>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit::futures {
namespace {

TEST(ParallelReduce, it_is_the_sum_whatever_length_and_pool) {
    for (const std::size_t workers : {1U, 2U, 5U}) {
        ThreadPoolExecutor pool(workers);
        for (const long n : {0L, 1L, 2L, 3L, 1001L, 3'000'000L})
            EXPECT_EQ(parallel_reduce(pool, 0L, n, 0L, std::plus<>()), n * (n - 1) / 2);
    }
}

TEST(ParallelReduce, values_are_combined_in_the_order_of_the_range) {
    ThreadPoolExecutor pool(3);
    for (int round = 0; round < 20; ++round) {
        const std::string text = parallel_reduce(pool, 0, 20'000, std::string(), std::plus<>(),
                                                 [](int i) { return std::string(1, static_cast<char>('a' + i % 26)); });
        ASSERT_EQ(text.size(), 20'000U);
        for (std::size_t i = 0; i < text.size(); ++i) ASSERT_EQ(text[i], static_cast<char>('a' + i % 26));
    }
}

TEST(ParallelReduce, ranges_are_reduced_with_and_without_a_map) {
    ThreadPoolExecutor pool(2);
    std::vector<int> numbers(10'001);
    std::iota(numbers.begin(), numbers.end(), -5000);
    EXPECT_EQ(parallel_reduce(pool, numbers, 0L, std::plus<>()), 0);
    EXPECT_EQ(parallel_reduce(
                  pool, numbers, 0, [](int a, int b) { return std::max(a, b); }, [](int x) { return x * x; }),
              25'000'000);
}

TEST(ParallelReduce, an_empty_range_gives_the_identity) {
    ThreadPoolExecutor pool(2);
    EXPECT_EQ(parallel_reduce(pool, std::vector<int>{}, 7, std::plus<>()), 7);
    EXPECT_EQ(parallel_reduce(pool, 3, 3, std::string("none"), std::plus<>(), [](int) { return "some"; }), "none");
}

TEST(ParallelReduce, what_map_or_combine_throws_comes_out) {
    ThreadPoolExecutor pool(3);
    EXPECT_THROW(parallel_reduce(pool, 0, 100'000, 0, std::plus<>(),
                                 [](int i) -> int { return i == 77'777 ? throw std::domain_error("map") : i; }),
                 std::domain_error);
    EXPECT_THROW(
        parallel_reduce(pool, 0, 100'000, 0,
                        [](int a, int b) -> int { return b == 77'777 ? throw std::domain_error("combine") : a; }),
        std::domain_error);
}

} // namespace
} // namespace sennit::futures
