#include "support/watchdog.hpp"

#include "support/agent_pair.hpp"
#include "support/tier.hpp"

#include <sennit/subprocess.hpp>
#include <sennit/wait/registry.hpp>

#include <chrono>
#include <csignal>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

TEST(Watched, DISABLED_is_kept_from_the_cores) {
    Watchdog::set_limit(300ms);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
    ::sched_setaffinity(0, sizeof one, &one);
    const pid_t busy = ::fork(); // on the same core
    if (busy == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::alarm(10);
        for (;;) static_cast<void>(base::monotonic_ns());
    }
    ::setpriority(PRIO_PROCESS, 0, 19); // this thread's: some 1 % of the core
    const auto end = std::chrono::steady_clock::now() + 2s;
    while (std::chrono::steady_clock::now() < end) ::sched_yield();
    ::kill(busy, SIGKILL);
    ::waitpid(busy, nullptr, 0);
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

TEST(Watchdog, takes_a_process_that_waits_for_a_core_for_one_that_lives) {
    if (sanitized()) GTEST_SKIP() << "a hundredth of a core is too little for a sanitizer";
    const auto run = run_watched("DISABLED_is_kept_from_the_cores");
    EXPECT_EQ(run.returncode, 0) << run.std_err;
}

TEST(Watchdog, takes_a_process_that_works_for_one_that_lives) {
    const auto run = run_watched("DISABLED_works_for_long");
    EXPECT_EQ(run.returncode, 0) << run.std_err;
}

} // namespace
} // namespace sennit::testing
