#include <sennit/os/orphan_guard.hpp>

#include <sennit/os/poll.hpp>
#include <sennit/os/system_state.hpp>

#include <csignal>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::os {
namespace {

TEST(OrphanGuard, ends_with_its_owner_and_touches_nobody_when_that_ends_well) {
    const char* argv[] = {"sleep", "100", nullptr};
    SpawnRequest request;
    request.file = "sleep";
    request.argv = argv;
    request.process_group = 0;
    ChildProcess child;
    ASSERT_EQ(spawn(request, child).step, SpawnStep::none);
    Fd guard_fd;
    {
        OrphanGuard guard(4);
        guard_fd = open_process(guard.pid());
        guard.watch(0, child);
        EXPECT_FALSE(has_ended(guard_fd.get()));
    }
    EXPECT_TRUE(has_ended(guard_fd.get()));
    EXPECT_FALSE(has_ended(child.pidfd()));
    child.send_signal(SIGKILL);
    child.wait();
}

// The owner is killed; what its child had started in its group, and would go on for ever, ends.
TEST(OrphanGuard, kills_the_group_of_a_leader_whose_owner_was_killed) {
    const Pipe report = make_pipe();
    const pid_t owner = ::fork();
    ASSERT_GE(owner, 0);
    if (owner == 0) {
        OrphanGuard guard(4);
        const char* argv[] = {"sh", "-c", "sleep 1000 & echo $!; wait", nullptr};
        const FdMapping out{report.write_end.get(), 1};
        SpawnRequest request;
        request.file = "/bin/sh";
        request.argv = argv;
        request.fds = {&out, 1};
        request.process_group = 0;
        ChildProcess child;
        if (spawn(request, child).step != SpawnStep::none) ::_exit(1);
        guard.watch(2, child);
        if (::write(report.write_end.get(), "!", 1) != 1) ::_exit(1);
        for (;;) ::pause();
    }
    std::string line;
    bool watched = false; // and the line is whole, in either order
    for (char c = 0; !(watched && line.ends_with('\n')) && ::read(report.read_end.get(), &c, 1) == 1;) {
        if (c == '!')
            watched = true;
        else
            line += c;
    }
    ASSERT_TRUE(watched);
    const Fd grandchild = open_process(std::stoi(line));
    ASSERT_TRUE(grandchild);
    ::kill(owner, SIGKILL); // layers: allow kill by pid: a child that was not waited for
    ::waitpid(owner, nullptr, 0);
    pollfd end{grandchild.get(), POLLIN, 0};
    EXPECT_EQ(poll_fds({&end, 1}, forever), 1); // the test's own time-out is the limit
}

} // namespace
} // namespace sennit::os
