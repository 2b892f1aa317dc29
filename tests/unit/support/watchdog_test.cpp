#include "support/watchdog.hpp"

#include "support/agent_pair.hpp"

#include <sennit/wait/registry.hpp>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;

// In a process of its own, started anew: the watchdog's thread is not there after a plain fork.
TEST(WatchdogDeathTest, ends_a_test_that_hangs_and_says_who_waits_for_what) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    Watchdog::expect_processes();
    EXPECT_EXIT(
        {
            Watchdog::set_limit(300ms);
            wait::current_agent().set_name("the stuck one");
            sync::Event never;
            never.wait();
        },
        ::testing::KilledBySignal(SIGABRT), "HANG.*watchdog_test.*the stuck one.*waits in Event.wait");
}

TEST(WatchdogDeathTest, takes_a_process_that_works_for_one_that_lives) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    Watchdog::expect_processes();
    EXPECT_EXIT(
        {
            Watchdog::set_limit(400ms);
            const auto end = std::chrono::steady_clock::now() + 900ms;
            while (std::chrono::steady_clock::now() < end) {}
            std::exit(7);
        },
        ::testing::ExitedWithCode(7), "");
}

} // namespace
} // namespace sennit::testing
