#include <sennit/subprocess.hpp>

#include "support/paths.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sennit {
namespace {

using Lines = std::vector<std::string>;

Lines run_example(const std::string& name) {
    const std::string text =
        subprocess::check_output({testing::bin_dir() + "/examples/" + name}, {.stderr_ = subprocess::STDOUT});
    Lines lines;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

TEST(ProcessExamples, hello_process_says_its_line) {
    EXPECT_EQ(run_example("hello_process"), Lines{"hello world, from Process-1"});
}

TEST(ProcessExamples, two_processes_take_the_longer_sleep_and_not_the_sum) {
    const Lines lines = run_example("two_processes");
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_EQ(lines[0], "short woke, in a process of its own");
    EXPECT_EQ(lines[1], "long woke, in a process of its own");
    ASSERT_EQ(lines[2].rfind("together: ", 0), 0U) << lines[2];
    EXPECT_LT(std::stod(lines[2].substr(10)), 0.6) << "0.2 s and 0.4 s one after the other";
}

TEST(ProcessExamples, shared_value_array_shows_what_the_child_has_done) {
    EXPECT_EQ(run_example("shared_value_array"), (Lines{"3.1415927", "[0, -1, -2, -3, -4, -5, -6, -7, -8, -9]"}));
}

TEST(ProcessExamples, array_type_codes_have_the_sizes_of_c) {
    EXPECT_EQ(run_example("array_type_codes"),
              (Lines{"c 1 bytes, sum 10", "b 1 bytes, sum 10", "B 1 bytes, sum 10", "u 4 bytes, sum 10",
                     "h 2 bytes, sum 10", "H 2 bytes, sum 10", "i 4 bytes, sum 10", "I 4 bytes, sum 10",
                     "l 8 bytes, sum 10", "L 8 bytes, sum 10", "f 4 bytes, sum 10", "d 8 bytes, sum 10"}));
}

TEST(ProcessExamples, process_rlock_prints_whole_lines) {
    const Lines lines = run_example("process_rlock");
    ASSERT_EQ(lines.size(), 20U);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::string n = std::to_string(i + 1) + ' ';
        EXPECT_EQ(lines[i], n + n + n + n + n);
    }
}

} // namespace
} // namespace sennit
