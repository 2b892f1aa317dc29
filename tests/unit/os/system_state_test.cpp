#include <sennit/os/system_state.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

namespace sennit::os {
namespace {

TEST(SystemState, finds_this_process_among_all) {
    bool found = false;
    for (const ProcessInfo& p : list_processes())
        if (p.pid == ::getpid()) found = p.parent == ::getppid() && p.group == ::getpgrp() && p.session == ::getsid(0);
    EXPECT_TRUE(found);
}
TEST(SystemState, finds_descendants_outside_the_group_also_below_others) {
    const std::vector<ProcessInfo> all{{10, 1, 10, 10, "job"},    {11, 10, 10, 10, "same"}, {12, 11, 12, 12, "stray"},
                                       {13, 12, 12, 12, "below"}, {14, 1, 14, 14, "other"}, {10, 13, 10, 10, "loop"}};
    const auto outside = outside_group(all, 10);
    ASSERT_EQ(outside.size(), 2U);
    EXPECT_EQ(outside[0].pid, 12);
    EXPECT_EQ(outside[1].pid, 13);
}
TEST(SystemState, knows_that_this_process_lives) {
    const Fd self = open_process(::getpid());
    ASSERT_TRUE(self);
    EXPECT_FALSE(has_ended(self.get()));
}
TEST(SystemState, takes_no_folder_for_a_program) {
    EXPECT_TRUE(is_program("/bin/sh"));
    EXPECT_FALSE(is_program("/bin"));
    EXPECT_FALSE(is_program("/etc/passwd"));
}
TEST(SystemState, reads_what_proc_tells) {
    EXPECT_GE(runnable_count(), 0);
    EXPECT_GT(available_memory_bytes(), 0);
}

} // namespace
} // namespace sennit::os
