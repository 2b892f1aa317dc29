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
    Fd guard_fd;
    {
        OrphanGuard guard(4);
        guard_fd = open_process(guard.pid());
        request.note = guard.place(0);
        ASSERT_EQ(spawn(request, child).step, SpawnStep::none);
        EXPECT_EQ(*guard.place(0),
                  static_cast<std::uint64_t>(child.pid()) << 32 | static_cast<std::uint64_t>(child.pidfd() + 1));
        EXPECT_FALSE(has_ended(guard_fd.get()));
    }
    EXPECT_TRUE(has_ended(guard_fd.get()));
    EXPECT_FALSE(has_ended(child.pidfd()));
    child.send_signal(SIGKILL);
    child.wait();
}

TEST(OrphanGuard, has_nobody_in_care_who_could_not_be_started) {
    const char* argv[] = {"nothing", nullptr};
    OrphanGuard guard(1);
    SpawnRequest request;
    request.file = "/no/such/program";
    request.argv = argv;
    request.process_group = 0;
    request.note = guard.place(0);
    ChildProcess child;
    ASSERT_EQ(spawn(request, child).step, SpawnStep::exec);
    EXPECT_EQ(*guard.place(0), 0U);
}

// What the child starts in its group would go on for ever; then it kills its owner, as the first thing it does: the owner may
// not even have come back from spawn().
TEST(OrphanGuard, kills_the_group_of_a_child_that_outlives_its_owner_from_the_start) {
    const Pipe report = make_pipe();
    const pid_t owner = ::fork();
    ASSERT_GE(owner, 0);
    if (owner == 0) {
        OrphanGuard guard(4);
        const char* argv[] = {"sh", "-c", "sleep 1000 & echo $!; kill -KILL $PPID; wait", nullptr};
        const FdMapping out{report.write_end.get(), 1};
        SpawnRequest request;
        request.file = "/bin/sh";
        request.argv = argv;
        request.fds = {&out, 1};
        request.process_group = 0;
        request.parent_death_signal = SIGKILL;
        request.note = guard.place(2);
        ChildProcess child;
        if (spawn(request, child).step != SpawnStep::none) ::_exit(1);
        for (;;) ::pause();
    }
    std::string line;
    for (char c = 0; !line.ends_with('\n') && ::read(report.read_end.get(), &c, 1) == 1;) line += c;
    ASSERT_TRUE(line.ends_with('\n'));
    const Fd grandchild = open_process(std::stoi(line)); // none: it has ended already
    int status = 0;
    ::waitpid(owner, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    if (!grandchild) return;
    pollfd end{grandchild.get(), POLLIN, 0};
    EXPECT_EQ(poll_fds({&end, 1}, forever), 1); // the test's own time-out is the limit
}

} // namespace
} // namespace sennit::os
