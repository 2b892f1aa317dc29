#include "tools/map/progress.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

TEST(Progress, shows_part_rate_and_time_to_go) {
    Progress progress(1, false);
    Progress::State s;
    s.now = 2'000'000'000;
    s.done = 1000;
    s.running = 2;
    s.total = 4000;
    EXPECT_EQ(progress.line(s, 200),
              " 25% [#########.............................]  1,000/4,000  500/s  ETA 0:06  2 running");
}
TEST(Progress, fits_any_width_and_leaves_the_last_column_free) {
    Progress progress(1, false);
    Progress::State s;
    s.now = 1'000'000'000;
    s.done = 123456;
    s.failed = 12;
    s.total = 10'000'000;
    for (std::size_t columns = 1; columns < 160; ++columns)
        EXPECT_LT(progress.line(s, columns).size(), std::max<std::size_t>(columns, 6)) << columns;
}
TEST(Progress, does_without_a_total) {
    Progress progress(1, false);
    Progress::State s;
    s.now = 61'000'000'000;
    s.done = 122;
    EXPECT_EQ(progress.line(s, 100), "122 done  2.0/s  1:01  0 running");
}

} // namespace
} // namespace sennit::tools
