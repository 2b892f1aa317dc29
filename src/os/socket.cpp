#include <sennit/os/socket.hpp>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// Runs a system call again after EINTR; turns errno into a negative result and leaves errno alone.
template <class Call>
auto settled(Call call) noexcept {
    const int saved = errno;
    auto n = call();
    while (n < 0 && errno == EINTR) n = call();
    if (n < 0) n = -errno;
    errno = saved;
    return n;
}

// What one call may move: a result fits into an int.
constexpr std::size_t most_bytes = 0x7ffff000;

} // namespace

ssize_t recv_nowait(int fd, void* buffer, std::size_t bytes, int flags) noexcept {
    return settled([&] { return ::recv(fd, buffer, std::min(bytes, most_bytes), flags | MSG_DONTWAIT); });
}
ssize_t send_nowait(int fd, const void* data, std::size_t bytes, int flags) noexcept {
    return settled([&] { return ::send(fd, data, std::min(bytes, most_bytes), flags | MSG_DONTWAIT | MSG_NOSIGNAL); });
}
ssize_t recvmsg_nowait(int fd, msghdr& message, int flags) noexcept {
    return settled([&] { return ::recvmsg(fd, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
}
ssize_t sendmsg_nowait(int fd, const msghdr& message, int flags) noexcept {
    return settled([&] { return ::sendmsg(fd, &message, flags | MSG_DONTWAIT | MSG_NOSIGNAL); });
}

int accept_some(int fd) noexcept {
    return settled([&] { return ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
}

int connect_some(int fd, const void* address, std::size_t bytes) noexcept {
    const int saved = errno;
    int result = ::connect(fd, static_cast<const sockaddr*>(address), static_cast<socklen_t>(bytes));
    // After a signal the kernel goes on with it, and a second call would only say so.
    if (result < 0) result = errno == EINTR ? -EINPROGRESS : -errno;
    errno = saved;
    return result;
}

int take_socket_error(int fd) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    const int failed = settled([&] { return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); });
    return failed != 0 ? failed : -error;
}

bool has_peer(int fd) noexcept {
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    return settled([&] { return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size); }) == 0;
}

bool is_tcp(int fd) noexcept {
    int protocol = 0;
    socklen_t size = sizeof protocol;
    return settled([&] { return ::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size); }) == 0 &&
           protocol == IPPROTO_TCP;
}

bool is_nonblocking(int fd) noexcept {
    const int flags = settled([&] { return ::fcntl(fd, F_GETFL); });
    return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

int make_nonblocking(int fd) noexcept {
    const int flags = settled([&] { return ::fcntl(fd, F_GETFL); });
    if (flags < 0) return flags;
    if ((flags & O_NONBLOCK) != 0) return 0;
    return settled([&] { return ::fcntl(fd, F_SETFL, flags | O_NONBLOCK); });
}

ssize_t sendfile_some(int socket, int file, std::int64_t offset, std::size_t bytes) noexcept {
    return settled([&] {
        off_t at = offset;
        return ::sendfile(socket, file, &at, std::min(bytes, most_bytes));
    });
}

ssize_t splice_nowait(int from, std::int64_t from_offset, int to, std::size_t bytes) noexcept {
    return settled([&] {
        loff_t at = from_offset;
        return ::splice(from, from_offset < 0 ? nullptr : &at, to, nullptr, std::min(bytes, most_bytes),
                        SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    });
}

} // namespace sennit::os
