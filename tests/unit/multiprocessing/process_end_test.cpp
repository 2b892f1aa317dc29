#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <chrono>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>

namespace sennit {
namespace {

using namespace std::chrono_literals;

struct Ended {
    int code;
    std::string output;
};

Ended run(const std::string& mode, const std::string& program = "process_end") {
    subprocess::RunOptions options;
    options.capture_output = true;
    options.timeout = 60s;
    const auto done = subprocess::run({testing::bin_dir() + "/programs/" + program, mode}, options);
    return {done.returncode, done.std_out + done.std_err};
}

TEST(ProcessEnd, of_the_parent_calls_atexit_functions_then_ends_daemons_and_waits_for_the_others) {
    const Ended it = run("children");
    EXPECT_EQ(it.code, 0);
    EXPECT_EQ(it.output, "thread\natexit\nworker\n");
}

TEST(ProcessEnd, of_a_child_has_the_same_order) {
    const Ended it = run("child_with_all");
    EXPECT_EQ(it.code, 0);
    EXPECT_EQ(it.output, "child's thread\nchild's atexit\n");
}

TEST(ProcessEnd, may_be_begun_by_any_thread_of_a_child) { EXPECT_EQ(run("exit_in_a_thread").code, 5); }

TEST(ProcessStart, works_in_a_program_that_is_linked_with_static) {
    const Ended it = run("", "static_start");
    EXPECT_EQ(it.code, 0);
    EXPECT_EQ(it.output, "forkserver 40\nspawn 40\nfork 40\nmain\n");
}

TEST(ProcessStart, by_a_static_object_is_refused_in_a_child_so_that_it_is_no_fork_bomb) { // noforkbomb
    ::setenv("SENNIT_TEST_STARTER", "1", 1);
    const Ended it = run("static_object");
    ::unsetenv("SENNIT_TEST_STARTER");
    EXPECT_EQ(it.code, 0);
    EXPECT_EQ(it.output, "refused: a static object\nchild\nstarted by a static object, exit code 0\nmain\n");
}

} // namespace
} // namespace sennit
