#include "tools/map/summary.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Summary, counts_jobs_once_and_attempts_apart_and_keeps_the_slowest_five) {
    Summary summary;
    for (int i = 1; i <= 20; ++i) {
        JobRecord r;
        r.sequence = static_cast<std::uint64_t>(i);
        r.runtime_ns = (i * 7 % 20) * 1'000'000'000LL;
        r.user_ns = 1'000'000'000;
        r.exit_code = i == 5 ? 3 : 0;
        const std::string command = "c" + std::to_string(i);
        r.command = command;
        summary.add(r);
    }
    JobRecord again;
    again.last_attempt = false;
    again.exit_code = 1;
    summary.add(again);
    EXPECT_EQ(summary.jobs(), 20U);
    EXPECT_EQ(summary.failed(), 1U);
    const std::string text = summary.show({10'000'000'000, 0, 2, 2, "t.html", ""}, false);
    EXPECT_THAT(text, HasSubstr("20 jobs in 10.0 s, 1 failed"));
    EXPECT_THAT(text, HasSubstr("100 % of 2 cores"));
    EXPECT_THAT(text, HasSubstr("#5  c5  [exit 3]")); // 35 % 20 = 15 s, the fifth slowest
    EXPECT_THAT(text, HasSubstr("#17  c17"));         // 19 s
    EXPECT_THAT(text, Not(HasSubstr("#2 ")));
    EXPECT_THAT(text, HasSubstr("t.html"));
    EXPECT_THAT(summary.json({10'000'000'000, 0, 2, 2, "", ""}), HasSubstr("\"failed\": 1, "));
}

} // namespace
} // namespace sennit::tools
