#include <sennit/os/fd_passing.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/socket.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace sennit::os {
namespace {

union Control {
    cmsghdr first;
    char bytes[CMSG_SPACE(sizeof(int) * most_passed_fds)];
};

} // namespace

ssize_t send_with_fds(int socket, std::span<const iovec> pieces, std::span<const int> fds) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    Control control;
    if (!fds.empty()) {
        std::memset(&control, 0, CMSG_SPACE(sizeof(int) * fds.size()));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
        std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
    }
    return sendmsg_nowait(socket, message, 0);
}

namespace {

ssize_t receive(int socket, void* buffer, std::size_t bytes, std::vector<Fd>& fds, int flags) {
    fds.reserve(fds.size() + most_passed_fds);
    iovec piece{buffer, bytes};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    Control control;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg_nowait(socket, message, flags);
    if (n < 0) return n;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            fds.emplace_back(fd);
        }
    }
    return (message.msg_flags & MSG_CTRUNC) != 0 ? -EMFILE : n;
}

} // namespace

ssize_t recv_with_fds(int socket, void* buffer, std::size_t bytes, std::vector<Fd>& fds) {
    return receive(socket, buffer, bytes, fds, 0);
}

ssize_t look_with_fds(int socket, void* buffer, std::size_t bytes, std::vector<Fd>& fds) {
    return receive(socket, buffer, bytes, fds, MSG_PEEK);
}

ssize_t drop_datagram(int socket) noexcept {
    char byte = 0;
    iovec piece{&byte, 1};
    msghdr message{}; // without room for descriptors: the kernel closes them
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    return recvmsg_nowait(socket, message, 0);
}

Fd make_shared_box() {
    Fd box(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!box) throw OSError(errno, "socket: cannot make a box for descriptors");
    // A name of the kernel's choice, by which it finds itself. From then on nobody else can send to it; what somebody did before goes.
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socklen_t size = sizeof name;
    if (::bind(box.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(sa_family_t)) != 0 ||
        ::getsockname(box.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0 ||
        ::connect(box.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0)
        throw OSError(errno, "connect: cannot make a box for descriptors");
    while (drop_datagram(box.get()) >= 0) {}
    return box;
}

FdKind kind_of(int fd) noexcept {
    const int saved = errno;
    int domain = 0;
    socklen_t size = sizeof domain;
    FdKind kind = FdKind::other;
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0)
        kind = domain == AF_UNIX ? FdKind::unix_stream : FdKind::socket;
    errno = saved;
    return kind;
}

long peer_user(int socket) noexcept {
    const int saved = errno;
    ucred who{};
    socklen_t size = sizeof who;
    const int failed = ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size);
    const int error = errno;
    errno = saved;
    return failed != 0 ? -error : static_cast<long>(who.uid);
}

long own_user() noexcept { return static_cast<long>(::geteuid()); }

std::string make_private_directory(const std::string& prefix) {
    const char* const where = ::secure_getenv("TMPDIR");
    std::string path = std::string(where && *where ? where : "/tmp") + "/" + prefix + "XXXXXX";
    if (!::mkdtemp(path.data())) throw OSError(errno, "cannot make a directory " + path);
    return path;
}

int remove_directory(const std::string& path) noexcept {
    const int saved = errno;
    const int result = ::rmdir(path.c_str()) == 0 ? 0 : -errno;
    errno = saved;
    return result;
}

} // namespace sennit::os
