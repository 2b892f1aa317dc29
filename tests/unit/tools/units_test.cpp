#include "tools/common/units.hpp"

#include <sennit/base/errors.hpp>

#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

TEST(Units, read_durations) {
    EXPECT_EQ(parse_duration("90", "--timeout"), 90'000'000'000);
    EXPECT_EQ(parse_duration("1.5s", "--timeout"), 1'500'000'000);
    EXPECT_EQ(parse_duration("200ms", "--timeout"), 200'000'000);
    EXPECT_EQ(parse_duration("1h30m", "--timeout"), 5'400'000'000'000);
    EXPECT_EQ(parse_duration("99999999999999d", "--timeout"), INT64_MAX);
    for (const char* bad : {"", "x", "-1", "1x", "1.2.3", "s", "1e3", " 1", "nan"})
        EXPECT_THROW(parse_duration(bad, "-"), UsageError) << bad;
}
TEST(Units, read_sizes) {
    EXPECT_EQ(parse_bytes("512", "--memfree"), 512);
    EXPECT_EQ(parse_bytes("2K", "--memfree"), 2048);
    EXPECT_EQ(parse_bytes("2k", "--memfree"), 2000);
    EXPECT_EQ(parse_bytes("1.5GiB", "--memfree"), 1'610'612'736);
    for (const char* bad : {"", "K", "1KK", "1X", "-5"}) EXPECT_THROW(parse_bytes(bad, "-"), UsageError) << bad;
}
TEST(Units, read_how_many_jobs_at_once) {
    EXPECT_EQ(parse_jobs("4", 2), 4U);
    EXPECT_EQ(parse_jobs("150%", 2), 3U);
    EXPECT_EQ(parse_jobs("+2", 2), 4U);
    EXPECT_EQ(parse_jobs("-1", 2), 1U);
    EXPECT_EQ(parse_jobs("-9", 2), 1U);
    EXPECT_GT(parse_jobs("0", 2), 1000U);
    for (const char* bad : {"", "x", "1.5", "4x", "99999999999"}) EXPECT_THROW(parse_jobs(bad, 2), UsageError) << bad;
}
TEST(Units, show_numbers_for_people) {
    EXPECT_EQ(with_commas(0), "0");
    EXPECT_EQ(with_commas(1234567), "1,234,567");
    EXPECT_EQ(show_duration(3'725'000'000'000), "1:02:05");
    EXPECT_EQ(show_bytes(1536), "1.5 KiB");
}

} // namespace
} // namespace sennit::tools
