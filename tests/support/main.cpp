// The main() of every test program: the watchdog, the seed, the snapshot, and signals at a rate where the environment asks
// for them.
#include "seed.hpp"
#include "shim.hpp"
#include "signal_storm.hpp"
#include "snapshot.hpp"
#include "watchdog.hpp"

#include <sennit/wait/agent.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/prctl.h>

namespace {

// In these programs each test leaves the process as it found it; the others have fixtures where it matters.
bool nothing_may_leak() {
    const std::string_view name = program_invocation_short_name;
    return name.starts_with("stress") || name.starts_with("faults") || name.starts_with("conformance");
}

class Around final : public ::testing::EmptyTestEventListener {
    void OnTestStart(const ::testing::TestInfo& test) override {
        const std::string name = std::string(test.test_suite_name()) + '.' + test.name();
        sennit::testing::detail::begin_test_seed(name.c_str());
        sennit::testing::Watchdog::begin(name.c_str());
        if (nothing_may_leak()) {
            sennit::wait::current_agent(); // is made once
            before_ = std::make_unique<sennit::testing::NothingLeaks>();
        }
    }
    void OnTestEnd(const ::testing::TestInfo& test) override {
        before_.reset();
        sennit::testing::Watchdog::end();
        if (test.result()->Failed()) sennit::testing::seed(); // prints it, if the test has not
    }
    std::unique_ptr<sennit::testing::NothingLeaks> before_;
};

} // namespace

// A test program has the watchdog's thread besides its own, yet children of fork() may start threads: nothing that
// ThreadSanitizer needs for that is held by the watchdog. At its end, as that thread still lives, each would wait a second for
// late races: with a process a test that was most of the time of all tests.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0:atexit_sleep_ms=20"; }

int main(int argc, char** argv) {
    // The child of a death test: gtest calls no listener there. It must not outlive us, whatever it hangs in.
    std::string death_test;
    for (int i = 1; i < argc; ++i)
        if (std::strncmp(argv[i], "--gtest_internal_run_death_test", 31) == 0) death_test = argv[i];
    if (!death_test.empty()) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::testing::InitGoogleMock(&argc, argv);
    if (::testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
    // glibc makes an arena a thread, up to eight a core, and keeps them: mappings that no test can help.
    ::mallopt(M_ARENA_MAX, 2);
    sennit::testing::link_shim();
    ::testing::UnitTest::GetInstance()->listeners().Append(new Around);
    sennit::testing::Watchdog::start();
    if (!death_test.empty()) sennit::testing::Watchdog::begin(death_test.c_str());
    sennit::testing::start_signal_storm_from_environment();
    return RUN_ALL_TESTS();
}
