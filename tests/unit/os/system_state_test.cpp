#include <sennit/os/system_state.hpp>

#include <sennit/os/thread.hpp>

#include <csignal>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>
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
TEST(SystemState, knows_whether_a_process_is_stopped) {
    const pid_t child = ::fork();
    if (child == 0) {
        for (;;) ::pause();
    }
    int status = 0;
    EXPECT_FALSE(is_stopped(child));
    ::kill(child, SIGSTOP);
    ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
    EXPECT_TRUE(is_stopped(child));
    ::kill(child, SIGCONT);
    ASSERT_EQ(::waitpid(child, &status, WCONTINUED), child);
    EXPECT_FALSE(is_stopped(child));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_FALSE(is_stopped(child));
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

TEST(SystemState, a_threads_cpu_time_grows_as_it_computes_and_ends_with_it) {
    const std::int64_t mine = thread_cpu_ns(current_thread_id());
    ASSERT_GE(mine, 0);
    while (thread_cpu_ns(current_thread_id()) < mine + 1'000'000) {}
    EXPECT_LE(thread_cpu_ns(current_thread_id()), own_cpu_ns() + 1'000'000'000);
    std::int64_t other = 0;
    std::thread([&] { other = current_thread_id(); }).join();
    // join() returns when the thread has left its memory, some moments before the kernel forgets its number.
    while (thread_cpu_ns(other) != -1) std::this_thread::yield();
}

} // namespace
} // namespace sennit::os
