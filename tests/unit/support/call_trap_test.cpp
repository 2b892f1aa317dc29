#include "support/call_trap.hpp"

#include <gtest/gtest.h>

#if defined(SENNIT_HAS_CALL_TRAP)

#include <cerrno>
#include <csignal>
#include <functional>
#include <new>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::testing {
namespace {

// In memory that a child shares with this process.
class CallTrapTest : public ::testing::Test {
  protected:
    void SetUp() override {
        memory_ = ::mmap(nullptr, sizeof(CallTrap), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(memory_, MAP_FAILED);
        trap_ = ::new (memory_) CallTrap;
        ASSERT_EQ(::pipe(ends_), 0);
    }
    void TearDown() override {
        ::close(ends_[0]);
        ::close(ends_[1]);
        ::munmap(memory_, sizeof(CallTrap));
    }
    // How a child ends that is trapped while it runs `body`.
    int in_child(const std::function<int()>& body) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(trap_calls(*trap_) ? body() : 77);
        int status = -1;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        return status;
    }
    bool was_written() const {
        pollfd end{ends_[0], POLLIN, 0};
        return ::poll(&end, 1, 0) == 1;
    }
    CallTrap* trap_ = nullptr;
    int ends_[2] = {-1, -1};

  private:
    void* memory_ = nullptr;
};

int write_and_more(int fd) {
    ::syscall(SYS_getppid);
    const bool wrote = ::write(fd, "x", 1) == 1;
    ::syscall(SYS_getppid);
    return wrote ? 5 : 6;
}

TEST_F(CallTrapTest, counts_each_call_and_changes_nothing) {
    const int status = in_child([this] { return write_and_more(ends_[1]); });
    ASSERT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 5);
    EXPECT_EQ(trap_->calls, 4) << "with the end";
    EXPECT_TRUE(was_written());
}

TEST_F(CallTrapTest, kills_before_a_call_or_after_it) {
    trap_->deadly = 2;
    int status = in_child([this] { return write_and_more(ends_[1]); });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    EXPECT_EQ(trap_->deadly_call, SYS_write);
    EXPECT_FALSE(was_written());

    *trap_ = {.calls = 0, .deadly = 2, .after = 1, .deadly_call = 0};
    status = in_child([this] { return write_and_more(ends_[1]); });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    EXPECT_TRUE(was_written());
    EXPECT_EQ(trap_->calls, 2);
}

TEST_F(CallTrapTest, keeps_errno_masks_and_handlers_of_the_trapped) {
    const int status = in_child([] {
        if (::close(-1) == 0 || errno != EBADF) return 1;
        sigset_t all, before, now;
        sigfillset(&all);
        if (::sigprocmask(SIG_SETMASK, &all, &before) != 0 || ::getppid() <= 0) return 2;
        if (::sigprocmask(SIG_SETMASK, &before, &now) != 0 || sigismember(&now, SIGUSR1) != 1) return 3;
        static volatile int seen = 0;
        std::signal(SIGUSR1, [](int) { seen = 1; });
        ::raise(SIGUSR1);
        return seen == 1 ? 0 : 4;
    });
    ASSERT_TRUE(WIFEXITED(status)) << status;
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

} // namespace
} // namespace sennit::testing

#endif
