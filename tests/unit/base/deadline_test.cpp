#include <sennit/base/deadline.hpp>

#include <sennit/base/errors.hpp>

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

namespace sennit {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t max_ns = std::numeric_limits<std::int64_t>::max();

TEST(Deadline, is_forever_unless_told_otherwise) {
    EXPECT_TRUE(Deadline().is_forever());
    EXPECT_EQ(Deadline(), forever);
    EXPECT_FALSE(forever.has_passed());
    EXPECT_EQ(forever.remaining_ns(), max_ns);
}

TEST(Deadline, of_zero_or_less_polls) {
    for (Deadline d :
         {Deadline(0s), Deadline(-1ns), Deadline(-10h), Deadline(std::chrono::nanoseconds::min()),
          Deadline(std::chrono::duration<double>(-0.5)), Deadline(std::chrono::steady_clock::time_point())}) {
        EXPECT_TRUE(d.is_poll());
        EXPECT_TRUE(d.has_passed());
        EXPECT_EQ(d.remaining_ns(), 0);
    }
}

TEST(Deadline, counts_a_duration_from_the_moment_it_is_made) {
    const std::int64_t before = base::monotonic_ns();
    const Deadline d(1h);
    const std::int64_t after = base::monotonic_ns();
    EXPECT_GE(d.monotonic_ns(), before + 3'600'000'000'000);
    EXPECT_LE(d.monotonic_ns(), after + 3'600'000'000'000);
    EXPECT_FALSE(d.has_passed());
}

TEST(Deadline, saturates_instead_of_overflowing) {
    EXPECT_TRUE(Deadline(std::chrono::nanoseconds::max()).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::hours(std::chrono::hours::max())).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::duration<double>(1e300)).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::duration<double>(std::numeric_limits<double>::infinity())).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::steady_clock::time_point::max()).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::seconds(std::numeric_limits<std::int64_t>::max() / 1'000'000'000)).is_forever())
        << "292 years from now are beyond the clock";
    EXPECT_TRUE(Deadline(std::chrono::duration<std::int64_t, std::ratio<3600 * 24 * 365>>(400)).is_forever());
    EXPECT_TRUE(Deadline(std::chrono::duration<double>(-1e300)).is_poll());
    EXPECT_TRUE(Deadline(std::chrono::steady_clock::time_point::min()).is_poll());
}

TEST(Deadline, of_a_century_is_neither_forever_nor_over) {
    const Deadline d(std::chrono::hours(24) * 36'500);
    EXPECT_FALSE(d.is_forever());
    EXPECT_FALSE(d.has_passed());
}

TEST(Deadline, rounds_up_so_that_no_wait_ends_early) {
    using Tenth = std::chrono::duration<double, std::nano>;
    const std::int64_t before = base::monotonic_ns();
    EXPECT_GE(Deadline(Tenth(1000.1)).monotonic_ns(), before + 1001);
}

TEST(Deadline, refuses_not_a_number) {
    EXPECT_THROW(Deadline(std::chrono::duration<double>(std::nan(""))), UsageError);
}

TEST(Deadline, takes_a_time_point_as_it_is) {
    const auto at = std::chrono::steady_clock::now() + 5s;
    EXPECT_EQ(Deadline(at).monotonic_ns(),
              std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
    EXPECT_TRUE(Deadline(std::chrono::steady_clock::now() - 1s).has_passed());
}

TEST(Deadline, orders_by_what_comes_first) {
    EXPECT_LT(Deadline(0s), Deadline(1s));
    EXPECT_LT(Deadline(1s), Deadline(1h));
    EXPECT_LT(Deadline(1h), forever);
}

} // namespace
} // namespace sennit
