#include <sennit/subprocess/time_limit.hpp>

#include <sennit/base/errors.hpp>

#include <chrono>
#include <gtest/gtest.h>
#include <limits>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

TEST(TimeLimit, a_duration_begins_with_each_call) {
    const TimeLimit limit = 10s;
    const Deadline first = limit.begin();
    Deadline second = limit.begin();
    while (second == first) second = limit.begin(); // a clock may be coarse
    EXPECT_GT(second, first);
}

TEST(TimeLimit, a_moment_is_the_same_for_every_call) {
    const auto moment = std::chrono::steady_clock::now() + 10s;
    const TimeLimit limit = moment;
    EXPECT_EQ(limit.begin(), Deadline(moment));
    EXPECT_EQ(limit.begin(), limit.begin());
    EXPECT_EQ(TimeLimit(Deadline::poll()).begin(), Deadline::poll());
    EXPECT_EQ(TimeLimit(250ms).seconds(), 0.25);
    EXPECT_EQ(TimeLimit(Deadline::poll()).seconds(), 0);
    EXPECT_LE(limit.seconds(), 10.0);
}

TEST(TimeLimit, zero_and_negative_poll_nothing_is_forever_nan_is_refused) {
    EXPECT_TRUE(TimeLimit().begin().is_forever());
    EXPECT_TRUE(TimeLimit(0s).begin().is_poll());
    EXPECT_TRUE(TimeLimit(-5ms).begin().is_poll());
    EXPECT_TRUE(TimeLimit(std::chrono::hours(1'000'000'000)).begin().is_forever());
    EXPECT_THROW(TimeLimit(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())), UsageError);
}

} // namespace
} // namespace sennit::subprocess
