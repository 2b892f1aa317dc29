#include <sennit/os/io.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/poll.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace sennit::os {
namespace {

using namespace std::chrono_literals;

TEST(Io, results_carry_the_error_and_errno_is_left_alone) {
    errno = 77;
    char byte = 0;
    EXPECT_EQ(read_some(-1, &byte, 1), -EBADF);
    EXPECT_EQ(write_some(-1, &byte, 1), -EBADF);
    EXPECT_EQ(errno, 77);
}

TEST(Io, write_nowait_fills_a_blocking_pipe_and_then_says_again) {
    const Pipe pipe = make_pipe();
    const std::string data(100'000, 'x');
    std::size_t written = 0;
    for (;;) {
        const ssize_t n = write_nowait(pipe.write_end.get(), data.data(), data.size());
        if (n <= 0) {
            EXPECT_EQ(n, -EAGAIN);
            break;
        }
        written += static_cast<std::size_t>(n);
    }
    EXPECT_EQ(written, static_cast<std::size_t>(::fcntl(pipe.write_end.get(), F_GETPIPE_SZ)));
}

TEST(Io, pipes_stay_above_the_standard_streams) {
    int ends[2] = {-1, -1};
    const Fd aside = duplicate(0, 500);
    ::close(0);
    {
        const Pipe pipe = make_pipe_above_standard_streams();
        ends[0] = pipe.read_end.get();
        ends[1] = pipe.write_end.get();
        EXPECT_EQ(::fcntl(0, F_GETFD), -1);
        EXPECT_NE(::fcntl(ends[0], F_GETFD) & FD_CLOEXEC, 0);
        EXPECT_NE(::fcntl(ends[1], F_GETFD) & FD_CLOEXEC, 0);
    }
    ::dup2(aside.get(), 0);
    EXPECT_GE(ends[0], 3);
    EXPECT_GE(ends[1], 3);
}

TEST(Io, a_pipe_can_not_have_every_size) {
    const Pipe pipe = make_pipe();
    set_pipe_bytes(pipe.write_end.get(), 8192);
    EXPECT_EQ(::fcntl(pipe.read_end.get(), F_GETPIPE_SZ), 8192);
    EXPECT_THROW(set_pipe_bytes(pipe.write_end.get(), -1), OSError);
}

TEST(Poll, tells_what_is_ready_or_ends_at_the_deadline) {
    const Pipe pipe = make_pipe();
    pollfd fds[2] = {{pipe.read_end.get(), POLLIN, 0}, {-1, POLLIN, 0}};
    EXPECT_EQ(poll_fds(fds, 0s), 0);
    EXPECT_EQ(poll_fds(fds, 2ms), 0);
    ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
    EXPECT_EQ(poll_fds(fds, forever), 1);
    EXPECT_EQ(fds[0].revents, POLLIN);
}

std::atomic<std::int64_t> test_time{1};

TEST(Poll, follows_the_clock_of_a_test) {
    test_time = 1'000;
    base::set_clock_for_test([]() noexcept -> std::int64_t { return test_time.load(); });
    const Deadline in_an_hour = 1h;
    std::atomic<bool> over{false};
    std::thread waits([&] {
        EXPECT_EQ(poll_fds({}, in_an_hour), 0);
        over = true;
    });
    EXPECT_FALSE(over);
    test_time += std::chrono::nanoseconds(2h).count();
    waits.join();
    base::set_clock_for_test(nullptr);
    EXPECT_TRUE(over);
}

} // namespace
} // namespace sennit::os
