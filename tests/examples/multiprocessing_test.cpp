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

TEST(ProcessExamples, process_pool_executor_gives_four_results_from_two_processes) {
    EXPECT_EQ(run_example("process_pool_executor"),
              (Lines{"result of t0", "result of t1", "result of t2", "result of t3", "2 processes"}));
}

TEST(ProcessExamples, pool_callbacks_end_first_and_then_ten_callbacks) {
    Lines lines = run_example("pool_callbacks");
    ASSERT_EQ(lines.size(), 11U);
    EXPECT_EQ(lines[0], "end");
    Lines expected;
    for (int i = 0; i < 10; ++i) expected.push_back("callback: " + std::to_string(2 * i));
    lines.erase(lines.begin());
    std::sort(lines.begin(), lines.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(lines, expected);
}

TEST(ProcessExamples, pool_official_does_as_the_manual_says) {
    EXPECT_EQ(run_example("pool_official"),
              (Lines{"0 1 4 9 16 25 36 49 64 81 ", "in any order, together: 285", "400", "a worker: another process",
                     "pids: at most four", "TimeoutError: we lacked patience", "the pool still takes work",
                     "the pool is closed, without having waited"}));
}

TEST(ProcessExamples, process_queue_hands_over_in_order_and_its_reader_ends_by_the_signal) {
    EXPECT_EQ(run_example("process_queue"),
              (Lines{"put A", "got A", "put B", "got B", "put C", "got C", "the reader's exit code: -15"}));
}

TEST(ProcessExamples, master_worker_crash_costs_one_task) {
    EXPECT_EQ(run_example("master_worker_crash"),
              (Lines{"task 0: 0", "task 1: 1", "task 2: 4", "task 3: its worker died by signal 9", "task 4: 16",
                     "task 5: 25", "task 6: 36", "task 7: 49", "and the pool goes on: 81"}));
}

TEST(ProcessExamples, downloads_in_processes_take_the_longest_and_not_the_sum) {
    for (const char* name : {"download_pool", "download_processes"}) {
        const Lines lines = run_example(name);
        ASSERT_EQ(lines.size(), 1U);
        EXPECT_NE(lines[0].find(": 5 files, 235050 bytes"), std::string::npos) << lines[0];
        EXPECT_LT(std::stod(lines[0].substr(lines[0].rfind(' '))), 0.8)
            << "1 s one after the other, 0.3 s at once: " << lines[0];
    }
}

} // namespace
} // namespace sennit
