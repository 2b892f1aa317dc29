#include <sennit/os/socket_setup.hpp>

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// errno is left alone.
template <class Call>
int settled(Call call) noexcept {
    const int saved = errno;
    int n = call();
    if (n < 0) n = -errno;
    errno = saved;
    return n;
}

} // namespace

int open_socket(int family, int type) noexcept {
    return settled([&] { return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
}

std::pair<Fd, Fd> make_socket_pair(int type) {
    int two[2];
    const int e = settled([&] { return ::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, two); });
    if (e < 0) throw OSError(-e, "socketpair: cannot make two connected sockets");
    return {Fd(two[0]), Fd(two[1])};
}

int bind_socket(int fd, const SocketAddress& address) noexcept {
    return settled([&] { return ::bind(fd, address.data(), static_cast<socklen_t>(address.size())); });
}

int listen_socket(int fd, int backlog) noexcept {
    return settled([&] { return ::listen(fd, backlog); });
}

int set_socket_option(int fd, int level, int option, int value) noexcept {
    return settled([&] { return ::setsockopt(fd, level, option, &value, sizeof value); });
}

int get_socket_option(int fd, int level, int option) noexcept {
    int value = 0;
    socklen_t bytes = sizeof value;
    const int e = settled([&] { return ::getsockopt(fd, level, option, &value, &bytes); });
    return e < 0 ? e : value;
}

int shutdown_write(int fd) noexcept {
    return settled([&] { return ::shutdown(fd, SHUT_WR); });
}

int set_socket_mode(int fd, unsigned mode) noexcept {
    return settled([&] { return ::fchmod(fd, mode); });
}

int remove_socket_file(const std::string& path) noexcept {
    struct stat info {};
    const int e = settled([&] { return ::lstat(path.c_str(), &info); });
    if (e == -ENOENT) return 0;
    if (e < 0) return e;
    if (!S_ISSOCK(info.st_mode)) return -ENOTSOCK;
    return settled([&] { return ::unlink(path.c_str()); });
}

std::pair<unsigned long, unsigned long> file_identity(const std::string& path) noexcept {
    struct stat info {};
    if (settled([&] { return ::lstat(path.c_str(), &info); }) < 0) return {0, 0};
    return {info.st_dev, info.st_ino};
}

namespace {

SocketAddress ask(int fd, int (*call)(int, sockaddr*, socklen_t*)) noexcept {
    sockaddr_storage storage{};
    socklen_t bytes = sizeof storage;
    auto* const any = reinterpret_cast<sockaddr*>(&storage);
    if (settled([&] { return call(fd, any, &bytes); }) < 0) return {};
    return {any, bytes};
}

} // namespace

SocketAddress local_address(int fd) noexcept {
    return ask(fd, [](int f, sockaddr* a, socklen_t* n) { return ::getsockname(f, a, n); });
}
SocketAddress peer_address(int fd) noexcept {
    return ask(fd, [](int f, sockaddr* a, socklen_t* n) { return ::getpeername(f, a, n); });
}

} // namespace sennit::os
