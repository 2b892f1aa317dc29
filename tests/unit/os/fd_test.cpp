#include <sennit/os/fd.hpp>

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace sennit::os {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, closes_what_it_owns) {
    int number = -1;
    {
        Fd fd = make_eventfd();
        number = fd.get();
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST(Fd, moves_its_ownership_also_into_one_that_owns_and_into_itself) {
    Fd a = make_eventfd();
    Fd b = make_eventfd();
    const int first = a.get(), second = b.get();
    b = std::move(a);
    EXPECT_FALSE(static_cast<bool>(a)); // NOLINT(bugprone-use-after-move): what is tested
    EXPECT_EQ(b.get(), first);
    EXPECT_FALSE(is_open(second));
    Fd& same = b;
    b = std::move(same);
    EXPECT_EQ(b.get(), first);
    EXPECT_TRUE(is_open(first));
    EXPECT_EQ(b.release(), first);
    EXPECT_FALSE(static_cast<bool>(b));
    ::close(first);
}

TEST(Fd, is_close_on_exec_from_birth) {
    const Pipe pipe = make_pipe();
    const Fd copy = duplicate(pipe.read_end.get(), 100);
    EXPECT_GE(copy.get(), 100);
    const Fd event = make_eventfd();
    for (int fd : {pipe.read_end.get(), pipe.write_end.get(), copy.get(), event.get()})
        EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST(Fd, errors_say_which_descriptor) {
    try {
        duplicate(-1);
        FAIL();
    } catch (const OSError& e) {
        EXPECT_EQ(e.code(), EBADF);
        EXPECT_NE(std::string(e.what()).find("-1"), std::string::npos) << e.what();
    }
    EXPECT_THROW(set_nonblocking(-1, true), OSError);
}

TEST(Fd, blocking_mode_can_be_switched) {
    const Pipe pipe = make_pipe();
    char byte = 0;
    set_nonblocking(pipe.read_end.get(), true);
    EXPECT_EQ(::read(pipe.read_end.get(), &byte, 1), -1);
    EXPECT_EQ(errno, EAGAIN);
    set_nonblocking(pipe.read_end.get(), false);
    ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
    EXPECT_EQ(::read(pipe.read_end.get(), &byte, 1), 1);
}

} // namespace
} // namespace sennit::os
