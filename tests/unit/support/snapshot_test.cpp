#include "support/snapshot.hpp"

#include "support/agent_pair.hpp"

#include <csignal>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace sennit::testing {
namespace {

using ::testing::HasSubstr;

TEST(Snapshot, finds_a_file_that_stays_open) {
    int fd = -1;
    const std::string text = [&] {
        const Snapshot before = Snapshot::take();
        fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        return Snapshot::difference(before, Snapshot::take());
    }();
    EXPECT_THAT(text, HasSubstr("+ file " + std::to_string(fd) + ": /dev/null"));
    ::close(fd);
}

TEST(Snapshot, finds_a_thread_and_its_agent) {
    sync::Event go;
    const Snapshot before = Snapshot::take();
    {
        Stage stage;
        auto& actor = stage.waiter([&](Actor& me) -> Co<> { co_await me.wait(go); });
        stage.parked(actor, go);
        const std::string text = Snapshot::difference(before, Snapshot::take());
        EXPECT_THAT(text, HasSubstr("+ thread "));
        EXPECT_THAT(text, HasSubstr("+ 1 agents: "));
        EXPECT_THAT(text, HasSubstr("+ 1 agents that wait: "));
        EXPECT_THAT(text, HasSubstr(" coroutine frames: "));
        go.set();
    }
}

TEST(Snapshot, finds_a_child_and_calls_a_zombie_one) {
    const Snapshot before = Snapshot::take();
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT); // dead, and not fetched
    EXPECT_THAT(Snapshot::difference(before, Snapshot::take()), HasSubstr("+ child " + std::to_string(child)));
    EXPECT_THAT(Snapshot::difference(before, Snapshot::take()), HasSubstr("(zombie)"));
    ::waitpid(child, nullptr, 0);
}

TEST(Snapshot, finds_a_segment_and_a_temporary_file_of_this_process) {
    const Snapshot before = Snapshot::take();
    const std::string name = "/sennit-test-" + std::to_string(::getpid());
    const int segment = ::shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
    const std::string path = std::string(::testing::TempDir()) + "sennit-test-" + std::to_string(::getpid());
    const int file = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    const std::string text = Snapshot::difference(before, Snapshot::take());
    EXPECT_THAT(text, HasSubstr("+ file /dev/shm" + name));
    EXPECT_THAT(text, HasSubstr("sennit-test-" + std::to_string(::getpid())));
    ::close(segment);
    ::close(file);
    ::shm_unlink(name.c_str());
    ::unlink(path.c_str());
}

TEST(Snapshot, is_the_same_when_all_was_given_back) {
    NothingLeaks none;
    {
        Stage stage(Pair{Kind::coroutine, Kind::thread, false});
        sync::Event event;
        auto& waiter = stage.waiter([&](Actor& me) -> Co<> { co_await me.wait(event); });
        stage.parked(waiter, event);
        stage.wake([&](Actor&) -> Co<> {
            event.set();
            co_return;
        });
    }
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::close(fd);
    EXPECT_EQ(none.settled_difference(), "");
}

TEST(Snapshot, counts_what_a_later_part_adds) {
    static std::int64_t stacks = 3;
    Snapshot::add_counter("stacks in use", [] { return stacks; });
    const Snapshot before = Snapshot::take();
    stacks = 5;
    EXPECT_EQ(Snapshot::difference(before, Snapshot::take()), "+ 2 stacks in use: 3 before, 5 after\n");
    stacks = 3;
}

} // namespace
} // namespace sennit::testing
