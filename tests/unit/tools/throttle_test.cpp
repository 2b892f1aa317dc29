#include "tools/map/throttle.hpp"

#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

TEST(Throttle, keeps_the_delay_between_two_starts) {
    Throttle t;
    t.delay_ns = 100;
    EXPECT_EQ(t.ask(1000), 0);
    t.started(1000);
    EXPECT_EQ(t.ask(1050), 1100);
    EXPECT_EQ(t.ask(1100), 0);
}
TEST(Throttle, waits_for_load_and_memory_and_says_so) {
    Throttle t;
    int running = 3;
    std::int64_t free = 50;
    t.runnable = [&] { return running; };
    t.memory = [&] { return free; };
    t.load = 3;
    t.memory_bytes = 100;
    EXPECT_GT(t.ask(1), 1);
    EXPECT_STREQ(t.reason(), "load");
    running = 2;
    EXPECT_GT(t.ask(1), 1);
    EXPECT_STREQ(t.reason(), "memory");
    free = 100;
    EXPECT_EQ(t.ask(1), 0);
    EXPECT_EQ(t.reason(), nullptr);
    running = -1; // nobody knows: not held back
    free = -1;
    EXPECT_EQ(t.ask(1), 0);
}

} // namespace
} // namespace sennit::tools
