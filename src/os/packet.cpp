#include <sennit/os/packet.hpp>

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <cstring>
#include <sys/socket.h>

namespace sennit::os {

PacketPair make_packet_pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw OSError(errno, "socketpair: cannot make a channel to another process");
    return {Fd(ends[0]), Fd(ends[1])};
}

namespace {

struct Control {
    alignas(cmsghdr) unsigned char bytes[CMSG_SPACE(sizeof(int) * packet_fds)];
};

} // namespace

int send_packet(int socket, std::span<const iovec> pieces, std::span<const int> fds) noexcept {
    if (fds.size() > packet_fds) return -E2BIG;
    Control control; // not cleared: only what is sent is written
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    if (!fds.empty()) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        std::memset(control.bytes, 0, message.msg_controllen);
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    ssize_t sent = 0;
    do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

ssize_t receive_packet(int socket, std::span<const iovec> room, std::vector<Fd>& fds) {
    Control control;
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(room.data());
    message.msg_iovlen = room.size();
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    ssize_t got = 0;
    do got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0) return -errno;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        int numbers[packet_fds];
        std::memcpy(numbers, CMSG_DATA(header), count * sizeof(int));
        Fd owned[packet_fds]; // before anything that may throw
        for (std::size_t i = 0; i < count; ++i) owned[i] = Fd(numbers[i]);
        fds.reserve(fds.size() + count);
        for (std::size_t i = 0; i < count; ++i) fds.push_back(std::move(owned[i]));
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) return -EMFILE;
    if ((message.msg_flags & MSG_TRUNC) != 0) return -EMSGSIZE;
    return got;
}

} // namespace sennit::os
