#include "support/watchdog.hpp"

#include "support/agent_pair.hpp"

#include <sennit/subprocess.hpp>
#include <sennit/wait/registry.hpp>

#include <chrono>
#include <csignal>
#include <gmock/gmock.h>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

// What the watchdog watches below: this program again, with one of these two tests alone.
TEST(Watched, DISABLED_hangs) {
    Watchdog::set_limit(300ms);
    wait::current_agent().set_name("the stuck one");
    sync::Event never;
    never.wait();
}
TEST(Watched, DISABLED_works_for_long) {
    Watchdog::set_limit(400ms);
    const auto end = std::chrono::steady_clock::now() + 900ms;
    while (std::chrono::steady_clock::now() < end) {}
}

subprocess::CompletedProcess run_watched(const std::string& test) {
    return subprocess::run({"/proc/self/exe", "--gtest_also_run_disabled_tests", "--gtest_filter=Watched." + test},
                           {.capture_output = true});
}

TEST(Watchdog, ends_a_test_that_hangs_and_says_who_waits_for_what) {
    const auto run = run_watched("DISABLED_hangs");
    EXPECT_EQ(run.returncode, -SIGABRT);
    EXPECT_THAT(run.std_err, HasSubstr("HANG"));
    EXPECT_THAT(run.std_err, HasSubstr("Watched.DISABLED_hangs: has done nothing for "));
    EXPECT_THAT(run.std_err, HasSubstr("the stuck one"));
    EXPECT_THAT(run.std_err, HasSubstr("waits in Event.wait"));
}

TEST(Watchdog, takes_a_process_that_works_for_one_that_lives) {
    const auto run = run_watched("DISABLED_works_for_long");
    EXPECT_EQ(run.returncode, 0) << run.std_err;
}

} // namespace
} // namespace sennit::testing
