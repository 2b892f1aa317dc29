#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <gtest/gtest.h>
#include <string>

namespace sennit {
namespace {

std::string example(const std::string& name) {
    return subprocess::check_output({testing::bin_dir() + "/examples/" + name}, {.stderr_ = subprocess::STDOUT});
}

TEST(Examples, subprocess_call_shows_output_exit_codes_and_errors) {
    EXPECT_EQ(example("subprocess_call"), "$ ls -d /usr/bin /usr/lib\n/usr/bin\n/usr/lib\nexit code: 0\n"
                                          "$ sort -r: pear\napple\n"
                                          "failed: Command 'sh -c 'exit 7'' returned non-zero exit status 7\n"
                                          "failed: subprocess: cannot execute 'no-such-program-here': no such program "
                                          "in PATH (/bin): No such file or directory "
                                          "(errno 2)\n"
                                          "failed: Command 'sleep 100' timed out after 0.2 seconds\n");
}

TEST(Examples, subprocess_communicate_talks_with_programs) {
    EXPECT_EQ(example("subprocess_communicate"), "$ factor\n42: 2 3 7\n1000003: 1000003\nexit code: 0\n"
                                                 "you said hello\nyou said goodbye\nexit code: 0\n"
                                                 "sorted: apple\nsorted: fig\nsorted: pear\nexit codes: 0 0\n");
}

} // namespace
} // namespace sennit
