#include <sennit/os/epoll.hpp>

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace sennit::os {
namespace {

using namespace std::chrono_literals;

TEST(Epoll, gives_the_tag_of_what_is_ready) {
    const Epoll epoll;
    const Pipe pipe = make_pipe();
    ASSERT_EQ(epoll.add(pipe.read_end.get(), EPOLLIN, 0x1234567890abcdef), 0);
    epoll_event events[4];
    EXPECT_EQ(epoll.wait(events, Deadline::poll()), 0);
    ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
    ASSERT_EQ(epoll.wait(events, forever), 1);
    EXPECT_EQ(events[0].data.u64, 0x1234567890abcdefU);
    EXPECT_EQ(epoll.remove(pipe.read_end.get()), 0);
    EXPECT_EQ(epoll.wait(events, Deadline::poll()), 0);
}
TEST(Epoll, does_not_end_before_its_deadline) {
    const Epoll epoll;
    epoll_event events[1];
    const std::int64_t before = base::monotonic_ns();
    EXPECT_EQ(epoll.wait(events, 3ms), 0);
    EXPECT_GE(base::monotonic_ns() - before, 3'000'000);
}
TEST(Epoll, says_that_a_regular_file_is_always_ready) {
    const Epoll epoll;
    const Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(epoll.add(file.get(), EPOLLIN, 1), EPERM);
}

} // namespace
} // namespace sennit::os
