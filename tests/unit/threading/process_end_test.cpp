// The end of whole processes: tests/programs/thread_end.cpp.
#include <sennit/threading.hpp>

#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <string>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

// The programs let go of their Thread objects on purpose: nobody gives the ended threads' stacks back before the process ends.
subprocess::CompletedProcess run_mode(const std::string& mode,
                                      subprocess::Env extra = {{"TSAN_OPTIONS", "report_thread_leaks=0"},
                                                               {"ASAN_OPTIONS", "detect_leaks=0"}}) {
    return subprocess::run({testing::bin_dir() + "/programs/thread_end", mode},
                           {.capture_output = true, .timeout = 100s, .extra_env = std::move(extra)});
}

struct Case {
    const char* mode;
    const char* out;
    int code = 0;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.mode; }

class ProcessEnd : public ::testing::TestWithParam<Case> {};

TEST_P(ProcessEnd, is_as_the_table_says) {
    const auto done = run_mode(GetParam().mode);
    EXPECT_EQ(done.std_out, GetParam().out);
    EXPECT_EQ(done.std_err, "");
    EXPECT_EQ(done.returncode, GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(
    Waits, ProcessEnd,
    ::testing::Values(Case{"join_on_return", "end of main\nend of thread\n", 3},
                      Case{"join_on_exit", "end of main\nend of thread\n", 4},
                      Case{"static_objects_live_as_long", "thread done\ndestroyed: in main\ndestroyed: late\n"},
                      Case{"exit_in_a_thread", "other thread done\n", 5}, Case{"quick_exit_waits_for_nobody", "", 7},
                      Case{"started_by_a_static_destructor", "end of main\nthread of the destructor\n"},
                      Case{"timer_is_waited_for", "timer\n"}, Case{"nobody_used_threads", "end of main\n"}),
    [](const auto& info) { return std::string(info.param.mode); });
INSTANTIATE_TEST_SUITE_P(Daemons, ProcessEnd,
                         ::testing::Values(Case{"daemon_is_not_waited_for", "daemon runs\n"},
                                           Case{"daemon_that_computes", ""},
                                           Case{"a_destructor_may_wait_for_a_daemon", "flushed\n"},
                                           Case{"local_of_main_lives_as_long_as_the_local", "x is value\n"},
                                           Case{"main_thread_at_the_end", "main is current, is main\n"}),
                         [](const auto& info) { return std::string(info.param.mode); });
INSTANTIATE_TEST_SUITE_P(Forks, ProcessEnd,
                         ::testing::Values(Case{"child_joins_at_its_end", "end of main\nend of thread\n", 8},
                                           Case{"fork_at_exit", "child process ok\nchild ended with 0\n"}),
                         [](const auto& info) { return std::string(info.param.mode); });

TEST(ProcessEndOrder, threads_started_at_the_end_are_waited_for_too) {
    const auto done = run_mode("started_at_the_end");
    EXPECT_THAT(done.std_out, HasSubstr("second\n"));
    EXPECT_THAT(done.std_out, HasSubstr("third\n"));
    EXPECT_EQ(done.returncode, 0);
}

TEST(ProcessEndOrder, child_of_a_thread_waits_for_the_threads_that_it_starts) {
#if defined(UNDER_TSAN)
    GTEST_SKIP() << "ThreadSanitizer refuses new threads after a fork of several";
#endif
    const auto done = run_mode("child_of_a_thread_joins_at_its_end");
    EXPECT_THAT(done.std_out, HasSubstr("end of main\n"));
    EXPECT_THAT(done.std_out, HasSubstr("end of thread\n"));
    EXPECT_EQ(done.std_err, "");
    EXPECT_EQ(done.returncode, 0);
}

TEST(ProcessEndOrder, main_may_leave_by_pthread_exit) {
#if defined(UNDER_TSAN)
    GTEST_SKIP() << "ThreadSanitizer does not come back from it";
#endif
    const auto done = run_mode("main_leaves_by_pthread_exit");
    EXPECT_THAT(done.std_out, HasSubstr("end of main\n"));
    EXPECT_THAT(done.std_out, HasSubstr("thread done\n"));
    EXPECT_EQ(done.returncode, 0);
}

TEST(ProcessEndOrder, exit_does_not_wait_for_a_thread_that_joins_the_one_that_called_it) {
    const auto done = run_mode("exit_in_a_thread_that_another_joins");
    EXPECT_EQ(done.returncode, 6);
    EXPECT_THAT(done.std_err, HasSubstr("the end of the process does not wait for thread \"joiner\""));
}

TEST(ProcessEndOrder, daemons_that_wait_with_sennit_never_meet_a_destroyed_object) {
    for (int i = 0; i < 10; ++i) {
        const auto done = run_mode("daemons_do_not_crash_the_end");
        EXPECT_EQ(done.std_err, "");
        ASSERT_EQ(done.returncode, 0);
    }
}

TEST(ProcessEndOrder, a_thread_at_the_very_end_is_refused) {
    const auto done =
        run_mode("nobody_used_threads", {{"START_AT_THE_VERY_END", "1"}, {"ASAN_OPTIONS", "detect_leaks=0"}});
    EXPECT_THAT(done.std_out,
                HasSubstr("the process has ended and waits for no more threads; start thread \"Thread-1\" before"));
    EXPECT_EQ(done.returncode, 0);
}

TEST(ProcessEndErrors, an_uncaught_exception_is_printed_and_the_process_goes_on) {
    const auto done = run_mode("uncaught");
    EXPECT_EQ(done.returncode, 0);
    EXPECT_EQ(done.std_out, "end of main\n");
    EXPECT_THAT(done.std_err, HasSubstr("Exception in thread T:\n"));
    EXPECT_THAT(done.std_err, HasSubstr("std::runtime_error: division by zero\n"));
#if defined(__x86_64__) || defined(__aarch64__)
    EXPECT_THAT(done.std_err, HasSubstr("programs/thread_end(+0x")) << "where it was thrown";
#endif
}

TEST(ProcessEndErrors, an_uncaught_exception_without_stderr_harms_nothing) {
    const auto done = run_mode("uncaught_without_stderr");
    EXPECT_EQ(done.returncode, 0);
    EXPECT_EQ(done.std_out, "end of main\n");
}

TEST(ProcessEndErrors, a_subclass_that_does_not_join_is_reported) {
    const auto done = run_mode("subclass_without_join");
    EXPECT_EQ(done.returncode, 0);
    EXPECT_EQ(done.std_out, "end of main\n");
    EXPECT_THAT(done.std_err,
                HasSubstr("Careless is destroyed while its run() runs, and its members are gone already"));
}

} // namespace
} // namespace sennit
