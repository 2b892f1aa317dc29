#include <sennit/os/socket.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace sennit::os {
namespace {

std::pair<Fd, Fd> blocking_pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw OSError(errno, "socketpair");
    return {Fd(ends[0]), Fd(ends[1])};
}

TEST(Socket, calls_that_move_bytes_never_wait_even_on_a_blocking_socket) {
    const auto [a, b] = blocking_pair();
    char buffer[10];
    EXPECT_EQ(recv_nowait(a.get(), buffer, sizeof buffer, 0), -EAGAIN);
    const std::string much(1'000'000, 'x');
    ssize_t n = 0, sent = 0;
    while ((n = send_nowait(a.get(), much.data(), much.size(), 0)) > 0) sent += n;
    EXPECT_EQ(n, -EAGAIN);
    EXPECT_GT(sent, 0);
    EXPECT_EQ(recv_nowait(b.get(), buffer, sizeof buffer, 0), 10);
}

TEST(Socket, sending_to_nobody_is_epipe_and_no_signal) {
    auto [a, b] = blocking_pair();
    b.reset();
    EXPECT_EQ(send_nowait(a.get(), "x", 1, 0), -EPIPE); // SIGPIPE would end the test program
    iovec part{const_cast<char*>("x"), 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    EXPECT_EQ(sendmsg_nowait(a.get(), message, 0), -EPIPE);
}

TEST(Socket, an_accepted_one_is_nonblocking_and_closed_by_exec) {
    const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    EXPECT_EQ(make_nonblocking(listener.get()), 0);
    EXPECT_EQ(accept_some(listener.get()), -EAGAIN);
    EXPECT_FALSE(has_peer(client.get()));
    ASSERT_EQ(connect_some(client.get(), &address, sizeof address), 0);
    EXPECT_TRUE(has_peer(client.get()));
    EXPECT_EQ(take_socket_error(client.get()), 0);
    const Fd accepted(accept_some(listener.get()));
    ASSERT_TRUE(accepted);
    EXPECT_TRUE(is_nonblocking(accepted.get()));
    EXPECT_NE(::fcntl(accepted.get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_TRUE(is_tcp(accepted.get()));
}

TEST(Socket, what_is_no_tcp_socket_is_told_apart) {
    const auto [a, b] = blocking_pair();
    const Pipe pipe = make_pipe();
    EXPECT_FALSE(is_tcp(a.get()));
    EXPECT_FALSE(is_tcp(pipe.read_end.get()));
    EXPECT_FALSE(is_nonblocking(a.get()));
    EXPECT_EQ(make_nonblocking(-1), -EBADF);
    EXPECT_EQ(take_socket_error(pipe.read_end.get()), -ENOTSOCK);
}

TEST(Fd, a_number_that_was_closed_by_an_fd_has_another_count_of_closings) {
    Pipe pipe = make_pipe();
    const int fd = pipe.read_end.get();
    const std::uint32_t before = closings_of(fd);
    pipe.read_end.reset();
    EXPECT_NE(closings_of(fd), before);
}

} // namespace
} // namespace sennit::os
