#include "tools/map/halt.hpp"

#include <sennit/base/errors.hpp>

#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using When = HaltRule::When;

TEST(HaltRule, never_stops_by_default) {
    HaltRule rule;
    EXPECT_EQ(rule.job_ended(true), When::never);
}
TEST(HaltRule, counts_what_it_was_told_to) {
    HaltRule fail = HaltRule::parse("soon,fail=2"), success = HaltRule::parse("now,success=1"),
             done = HaltRule::parse("now,done=2");
    EXPECT_EQ(fail.job_ended(true), When::never);
    EXPECT_EQ(fail.job_ended(false), When::never);
    EXPECT_EQ(fail.job_ended(true), When::soon);
    EXPECT_EQ(success.job_ended(true), When::never);
    EXPECT_EQ(success.job_ended(false), When::now);
    EXPECT_EQ(done.job_ended(true), When::never);
    EXPECT_EQ(done.job_ended(false), When::now);
}
TEST(HaltRule, knows_the_short_forms) {
    EXPECT_EQ(HaltRule::parse("soon").job_ended(true), When::soon);
    EXPECT_EQ(HaltRule::parse("2").job_ended(true), When::now);
    EXPECT_EQ(HaltRule::parse("0").job_ended(true), When::never);
}
TEST(HaltRule, refuses_the_rest) {
    for (const char* bad : {"", "later", "now,", "now,fail", "now,fail=0", "now,fail=x", "never,why=1"})
        EXPECT_THROW(HaltRule::parse(bad), UsageError) << bad;
}

} // namespace
} // namespace sennit::tools
