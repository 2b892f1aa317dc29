#include "support/shim.hpp"

#include "support/agent_pair.hpp"
#include "support/tier.hpp"

#include <sennit/os/futex.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/thread.hpp>

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::testing {
namespace {

TEST(Shim, fails_the_nth_call_alone) {
    int fds[2];
    Shim shim;
    shim.fail("pipe2", EMFILE, {.nth = 2});
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    ::close(fds[0]);
    ::close(fds[1]);
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), -1);
    EXPECT_EQ(errno, EMFILE);
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    ::close(fds[0]);
    ::close(fds[1]);
    EXPECT_EQ(shim.count("pipe2"), 3);
    EXPECT_EQ(shim.injected(), 1);
}

TEST(Shim, reaches_what_the_library_calls) {
    Shim shim;
    shim.fail("pthread_create", EAGAIN);
    pthread_t thread;
    EXPECT_EQ(os::start_thread(
                  thread, [](void*) -> void* { return nullptr; }, nullptr, 0),
              EAGAIN);
}

TEST(Shim, shortens_and_interrupts_by_seed) {
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    int shorter = 0, interrupted = 0, again = 0;
    {
        Shim shim;
        shim.disturb(50);
        char buffer[64] = {};
        for (int i = 0; i < 300; ++i) {
            const ssize_t n = ::write(fds[1], buffer, sizeof buffer);
            shorter += n > 0 && n < 64;
            interrupted += n < 0 && errno == EINTR;
            again += n < 0 && errno == EAGAIN;
            while (n > 0 && ::syscall(SYS_read, fds[0], buffer, sizeof buffer) > 0) {}
        }
        EXPECT_GT(shim.injected(), 0);
    }
    EXPECT_GT(shorter, 0);
    EXPECT_GT(interrupted, 0);
    EXPECT_GT(again, 0);
    ::close(fds[0]);
    ::close(fds[1]);
}

TEST(Shim, says_again_only_to_who_does_not_block) {
    int fds[2];
    ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    {
        Shim shim;
        shim.disturb(100);
        char byte = 0;
        for (int i = 0; i < 200; ++i) {
            const ssize_t n = ::write(fds[1], &byte, 1);
            EXPECT_TRUE(n == 1 || errno == EINTR) << errno;
        }
    }
    ::close(fds[0]);
    ::close(fds[1]);
}

TEST(Shim, can_wake_sleepers_for_nothing) {
    Shim shim;
    shim.fail("futex", EINTR, {.nth = 1, .times = 20, .this_thread = true});
    sync::Event never;
    using namespace std::chrono_literals;
    const auto began = std::chrono::steady_clock::now();
    EXPECT_FALSE(never.wait(20ms));
    EXPECT_GE(std::chrono::steady_clock::now() - began, 20ms);
    EXPECT_GT(shim.count("futex"), 20);
}

TEST(Shim, refuses_a_name_that_it_does_not_know) {
    Shim shim;
    EXPECT_THROW(shim.fail("raed", EIO), std::invalid_argument);
}

TEST(AllocationFault, fails_the_nth_allocation_of_this_thread) {
    std::unique_ptr<int> first, second;
    AllocationFault fault(2);
    first = std::make_unique<int>(1);
    EXPECT_THROW(second = std::make_unique<int>(2), std::bad_alloc);
    second = std::make_unique<int>(3);
    EXPECT_TRUE(fault.injected());
    EXPECT_EQ(fault.count(), 3);
}

TEST(AllocationFault, sees_what_is_compiled_into_the_standard_library) {
    if (sanitized()) GTEST_SKIP() << "a sanitizer brings its own operator new";
    std::string text;
    AllocationFault fault(1);
    EXPECT_THROW(text.resize(1'000), std::bad_alloc);
}

} // namespace
} // namespace sennit::testing
