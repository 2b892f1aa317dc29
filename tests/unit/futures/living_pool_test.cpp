// The end of processes that have pools: tests/programs/pool_end.cpp.
#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <string>

namespace sennit {
namespace {

using namespace std::chrono_literals;

struct Case {
    const char* mode;
    const char* out;
    int code = 0;
};
void PrintTo(const Case& c, std::ostream* os) { *os << c.mode; }

// The programs leak their pools on purpose.
subprocess::CompletedProcess
run_mode(const std::string& mode, subprocess::Env extra = {{"TSAN_OPTIONS", "report_thread_leaks=0:die_after_fork=0"},
                                                           {"ASAN_OPTIONS", "detect_leaks=0"}}) {
    return subprocess::run({testing::bin_dir() + "/programs/pool_end", mode},
                           {.capture_output = true, .timeout = 100s, .extra_env = std::move(extra)});
}

class PoolsAtTheEnd : public ::testing::TestWithParam<Case> {};

TEST_P(PoolsAtTheEnd, is_as_the_table_says) {
    const auto done = run_mode(GetParam().mode);
    EXPECT_EQ(done.std_out, GetParam().out);
    EXPECT_EQ(done.std_err, "");
    EXPECT_EQ(done.returncode, GetParam().code);
}

#define REFUSED                                                                                       \
    "ThreadPoolExecutor.submit: cannot schedule new futures after the end of the process has begun; " \
    "submit before main() returns\n"

INSTANTIATE_TEST_SUITE_P(
    Executors, PoolsAtTheEnd,
    ::testing::Values(Case{"leaked_pool_finishes", "end of main\nfirst task done\nqueued 1\nqueued 2\nqueued 3\n", 3},
                      Case{"static_pool_finishes", "end of main\nfirst task done\nqueued\n"},
                      Case{"destructor_without_shutdown", "queued\nend of main\n"},
                      Case{"shut_down_without_waiting", "end of main\nfirst task done\nqueued\n"},
                      Case{"task_submits_at_the_end", REFUSED}, Case{"exit_in_a_task", "exit\n", 5}),
    [](const auto& info) { return std::string(info.param.mode); });

INSTANTIATE_TEST_SUITE_P(
    Others, PoolsAtTheEnd,
    ::testing::Values(Case{"submit_at_the_end", REFUSED REFUSED},
                      Case{"pool_in_the_child_of_a_fork",
                           "ThreadPoolExecutor.submit: the pool's threads are in the parent of this process, which was "
                           "forked; make a new pool\n6 by a new pool\nchild ended with 0\n"},
                      Case{"leaked_thread_pool_is_terminated", "end of main\nfirst task done\n"}),
    [](const auto& info) { return std::string(info.param.mode); });

} // namespace
} // namespace sennit
