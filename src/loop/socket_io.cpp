#include <sennit/loop/socket_io.hpp>

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sennit::loop::detail {

constinit const wait::WaitSite IoSites::recv{"socket", "sock_recv"};
constinit const wait::WaitSite IoSites::send{"socket", "sock_send"};
constinit const wait::WaitSite IoSites::sendall{"socket", "sock_sendall"};
constinit const wait::WaitSite IoSites::accept{"socket", "sock_accept"};
constinit const wait::WaitSite IoSites::connect{"socket", "sock_connect"};
constinit const wait::WaitSite IoSites::recvfrom{"socket", "sock_recvfrom"};
constinit const wait::WaitSite IoSites::sendto{"socket", "sock_sendto"};
constinit const wait::WaitSite IoSites::sendfile{"socket", "sock_sendfile"};
constinit const wait::WaitSite IoSites::readable{"descriptor", "wait_readable"};
constinit const wait::WaitSite IoSites::writable{"descriptor", "wait_writable"};
constinit const wait::WaitSite IoSites::read{"descriptor", "read_some"};
constinit const wait::WaitSite IoSites::write{"descriptor", "write_all"};
constinit const wait::WaitSite IoSites::file_read{"file", "file_read"};
constinit const wait::WaitSite IoSites::file_write{"file", "file_write"};

AllBytesWait::AllBytesWait(const wait::WaitSite& site, Kind kind, int fd, void* data, std::size_t size, std::int64_t at,
                           int from) noexcept
    : IoWait(site, kind, fd, data, size) {
    offset = at;
    other = from;
    if (kind == Kind::send) flags = MSG_WAITALL; // io_uring then goes on by itself
}

IoWait::Next AllBytesWait::succeeded() noexcept {
    const auto n = static_cast<std::size_t>(result);
    moved_ += n;
    if (n >= size || (n == 0 && (kind == Kind::sendfile || kind == Kind::file_read)))
        return Next::over; // all, or the file's end
    if (n == 0) {          // a write that takes nothing would go on for ever
        result = -EIO;
        return Next::over;
    }
    if (data) data = static_cast<char*>(data) + n;
    size -= n;
    offset += static_cast<std::int64_t>(n);
    return Next::again;
}

RecvWait::RecvWait(int fd, std::size_t bytes)
    : IoWait(IoSites::recv, Kind::recv, fd, nullptr, bytes), buffer_(bytes, '\0') {
    data = buffer_.data();
}

AcceptWait::AcceptWait(int fd) noexcept : IoWait(IoSites::accept, Kind::accept, fd, nullptr, 0) {}

IoWait::Next AcceptWait::failed() noexcept {
    // accept(2): errors of a connection that is already broken come up here.
    switch (-result) {
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return Next::again;
    default:
        return Next::over;
    }
}

ConnectWait::Pause::Pause(ConnectWait& connect) noexcept
    : Timer([](Timer& t) noexcept { static_cast<Pause&>(t).wait.pause_is_over(); }), wait(connect) {}

ConnectWait::ConnectWait(int fd, const sockaddr* address, std::size_t bytes) noexcept
    : IoWait(IoSites::connect, Kind::connect, fd, &address_, std::min(bytes, sizeof address_)), pause_(*this) {
    std::memcpy(&address_, address, size);
}

IoWait::Next ConnectWait::failed() noexcept {
    // A Unix socket whose listener has no room: the kernel tells nobody when it has.
    return result == -EAGAIN && address_.ss_family == AF_UNIX ? Next::later : Next::over;
}

RecvFromWait::RecvFromWait(int fd, void* buffer, std::size_t bytes) noexcept
    : IoWait(IoSites::recvfrom, Kind::recvmsg, fd, &message_, sizeof message_), part_{buffer, bytes}, message_{} {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
    message_.msg_name = &from_;
    message_.msg_namelen = sizeof from_;
}

Datagram RecvFromWait::finish(wait::Agent& me) {
    check(me);
    Datagram datagram;
    datagram.bytes = static_cast<std::size_t>(result);
    datagram.truncated = (message_.msg_flags & MSG_TRUNC) != 0;
    datagram.address_bytes = std::min<socklen_t>(message_.msg_namelen, sizeof from_);
    std::memcpy(&datagram.address, &from_, datagram.address_bytes);
    return datagram;
}

SendToWait::SendToWait(int fd, const void* bytes, std::size_t length, const sockaddr* address,
                       std::size_t address_bytes) noexcept
    : IoWait(IoSites::sendto, Kind::sendmsg, fd, &message_, sizeof message_),
      part_{const_cast<void*>(bytes), length},
      message_{} {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
    if (address) {
        message_.msg_namelen = static_cast<socklen_t>(std::min(address_bytes, sizeof to_));
        std::memcpy(&to_, address, message_.msg_namelen);
        message_.msg_name = &to_;
    }
}

} // namespace sennit::loop::detail
