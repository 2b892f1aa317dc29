// Coroutines' input and output on plain descriptors.      Python: loop.sock_recv and its kin
//
//     std::size_t n = co_await sock_recv_into(fd, buffer, sizeof buffer, 5s);
//     co_await sock_sendall(fd, buffer, n);
//
// Each throws OSError with the kernel's reason, TimeoutError at the deadline, CancelledError when the task is cancelled; see IoWait for
// what comes first. Buffers live until the co_await is over.
//
// A descriptor is the caller's. forget_descriptor(fd) tells the loop before it is closed: where a coroutine may still wait for it, and
// always where it is not an os::Fd that closes it.
#pragma once

#include <sennit/loop/io_wait.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/socket.hpp>
#include <sennit/sync/awaitable.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace sennit::loop {

namespace detail {

/// Whose result is the number of bytes of one operation.
class BytesWait final : public IoWait {
  public:
    BytesWait(const wait::WaitSite& site, Kind kind, int fd, void* data, std::size_t size, std::int64_t at = 0,
              int from = -1) noexcept
        : IoWait(site, kind, fd, data, size) {
        offset = at;
        other = from;
    }
    std::size_t finish(wait::Agent& me) {
        check(me);
        return static_cast<std::size_t>(result);
    }
};

/// Repeats until all bytes have gone; or, of sendfile, until the file ends. The result is how many.
class AllBytesWait final : public IoWait {
  public:
    AllBytesWait(const wait::WaitSite& site, Kind kind, int fd, void* data, std::size_t size, std::int64_t at = 0,
                 int from = -1) noexcept;
    bool try_now(Deadline deadline) { return size == 0 || IoWait::try_now(deadline); }
    std::size_t finish(wait::Agent& me) {
        if (size > 0) check(me);
        return moved_;
    }

  private:
    Next succeeded() noexcept override;
    std::size_t moved_ = 0;
};

class RecvWait final : public IoWait {
  public:
    RecvWait(int fd, std::size_t bytes);
    RecvWait(RecvWait&& unbegun) noexcept : IoWait(std::move(unbegun)), buffer_(std::move(unbegun.buffer_)) {
        data = buffer_.data();
    }
    std::string finish(wait::Agent& me) {
        check(me);
        buffer_.resize(static_cast<std::size_t>(result));
        return std::move(buffer_);
    }

  private:
    std::string buffer_;
};

/// Whose result says nothing: polls.
class ReadinessWait final : public IoWait {
  public:
    ReadinessWait(const wait::WaitSite& site, Kind kind, int fd) noexcept : IoWait(site, kind, fd, nullptr, 0) {}
    void finish(wait::Agent& me) { check(me); }
};

class AcceptWait final : public IoWait {
  public:
    explicit AcceptWait(int fd) noexcept;
    os::Fd finish(wait::Agent& me) {
        check(me);
        return os::Fd(result);
    }

  private:
    Next failed() noexcept override;
};

class ConnectWait final : public IoWait {
  public:
    ConnectWait(int fd, const sockaddr* address, std::size_t bytes) noexcept;
    ConnectWait(ConnectWait&& unbegun) noexcept
        : ConnectWait(unbegun.fd, static_cast<const sockaddr*>(unbegun.data), unbegun.size) {}
    void finish(wait::Agent& me) { check(me); }

  private:
    struct Pause final : Timer {
        explicit Pause(ConnectWait& wait) noexcept;
        ConnectWait& wait;
    };
    Next failed() noexcept override;
    Timer* pause_timer() noexcept override { return &pause_; }
    sockaddr_storage address_;
    Pause pause_;
};

} // namespace detail

/// Where a datagram came from: as the kernel wrote it.
struct Datagram {
    std::size_t bytes = 0; // of it, as far as they fit into the buffer
    bool truncated = false;
    socklen_t address_bytes = 0; // 0: the sender has no name
    sockaddr_storage address = {};
};

namespace detail {

class RecvFromWait final : public IoWait {
  public:
    RecvFromWait(int fd, void* buffer, std::size_t bytes) noexcept;
    RecvFromWait(RecvFromWait&& unbegun) noexcept
        : RecvFromWait(unbegun.fd, unbegun.part_.iov_base, unbegun.part_.iov_len) {}
    Datagram finish(wait::Agent& me);

  private:
    iovec part_;
    msghdr message_;
    sockaddr_storage from_;
};

class SendToWait final : public IoWait {
  public:
    SendToWait(int fd, const void* bytes, std::size_t size, const sockaddr* address,
               std::size_t address_bytes) noexcept;
    SendToWait(SendToWait&& unbegun) noexcept
        : SendToWait(unbegun.fd, unbegun.part_.iov_base, unbegun.part_.iov_len,
                     static_cast<const sockaddr*>(unbegun.message_.msg_name), unbegun.message_.msg_namelen) {}
    std::size_t finish(wait::Agent& me) {
        check(me);
        return static_cast<std::size_t>(result);
    }

  private:
    iovec part_;
    msghdr message_;
    sockaddr_storage to_;
};

struct IoSites {
    static const wait::WaitSite recv, send, sendall, accept, connect, recvfrom, sendto, sendfile, readable, writable,
        read, write, file_read, file_write;
};

} // namespace detail

template <class Op>
using IoAwaitable = sync::Awaitable<Op>;

/// Up to `bytes` bytes; "" at the end of the stream.
inline IoAwaitable<detail::RecvWait> sock_recv(int fd, std::size_t bytes, Deadline deadline = forever) {
    return IoAwaitable<detail::RecvWait>(deadline, fd, bytes);
}
/// How many bytes; 0 at the end of the stream.
inline IoAwaitable<detail::BytesWait> sock_recv_into(int fd, void* buffer, std::size_t bytes,
                                                     Deadline deadline = forever) {
    return IoAwaitable<detail::BytesWait>(deadline, detail::IoSites::recv, OperationKind::recv, fd, buffer, bytes);
}
/// One send: how many bytes the kernel took, at least 1.
inline IoAwaitable<detail::BytesWait> sock_send(int fd, const void* data, std::size_t bytes,
                                                Deadline deadline = forever) {
    return IoAwaitable<detail::BytesWait>(deadline, detail::IoSites::send, OperationKind::send, fd,
                                          const_cast<void*>(data), bytes);
}
/// All of them. When it throws, it is not known how many have gone: the stream is of no use any more.
inline IoAwaitable<detail::AllBytesWait> sock_sendall(int fd, const void* data, std::size_t bytes,
                                                      Deadline deadline = forever) {
    return IoAwaitable<detail::AllBytesWait>(deadline, detail::IoSites::sendall, OperationKind::send, fd,
                                             const_cast<void*>(data), bytes);
}
inline IoAwaitable<detail::AllBytesWait> sock_sendall(int fd, std::string_view data, Deadline deadline = forever) {
    return sock_sendall(fd, data.data(), data.size(), deadline);
}
/// A connection: non-blocking, close-on-exec. Connections that broke before they were taken are passed over.
inline IoAwaitable<detail::AcceptWait> sock_accept(int fd, Deadline deadline = forever) {
    return IoAwaitable<detail::AcceptWait>(deadline, fd);
}
/// `address` is copied.
inline IoAwaitable<detail::ConnectWait> sock_connect(int fd, const sockaddr* address, std::size_t bytes,
                                                     Deadline deadline = forever) {
    return IoAwaitable<detail::ConnectWait>(deadline, fd, address, bytes);
}
/// The same for what has data() and size(): os::SocketAddress.
template <class Address>
requires requires(const Address& a) {
    { a.data() } -> std::convertible_to<const sockaddr*>;
    a.size();
}
IoAwaitable<detail::ConnectWait> sock_connect(int fd, const Address& address, Deadline deadline = forever) {
    return sock_connect(fd, address.data(), address.size(), deadline);
}
/// One datagram, with where it came from.
inline IoAwaitable<detail::RecvFromWait> sock_recvfrom(int fd, void* buffer, std::size_t bytes,
                                                       Deadline deadline = forever) {
    return IoAwaitable<detail::RecvFromWait>(deadline, fd, buffer, bytes);
}
/// One datagram; `address` is copied, nullptr: to where the socket is connected.
inline IoAwaitable<detail::SendToWait> sock_sendto(int fd, const void* data, std::size_t bytes, const sockaddr* address,
                                                   std::size_t address_bytes, Deadline deadline = forever) {
    return IoAwaitable<detail::SendToWait>(deadline, fd, data, bytes, address, address_bytes);
}
/// Sends up to `bytes` bytes of a file from `offset` on, without copying them through this process. How many: fewer where it ends.
inline IoAwaitable<detail::AllBytesWait> sock_sendfile(int fd, int file, std::int64_t offset, std::size_t bytes,
                                                       Deadline deadline = forever) {
    return IoAwaitable<detail::AllBytesWait>(deadline, detail::IoSites::sendfile, OperationKind::sendfile, fd, nullptr,
                                             bytes, offset, file);
}

/// Until reading (writing) would not wait; also at an error, which the next call then tells.
inline IoAwaitable<detail::ReadinessWait> wait_readable(int fd, Deadline deadline = forever) {
    return IoAwaitable<detail::ReadinessWait>(deadline, detail::IoSites::readable, OperationKind::poll_in, fd);
}
inline IoAwaitable<detail::ReadinessWait> wait_writable(int fd, Deadline deadline = forever) {
    return IoAwaitable<detail::ReadinessWait>(deadline, detail::IoSites::writable, OperationKind::poll_out, fd);
}

/// One read(2), write(2) of a pipe, a terminal, an eventfd; blocking descriptors do not stop the loop. 0: the end.
inline IoAwaitable<detail::BytesWait> read_some(int fd, void* buffer, std::size_t bytes, Deadline deadline = forever) {
    return IoAwaitable<detail::BytesWait>(deadline, detail::IoSites::read, OperationKind::read, fd, buffer, bytes);
}
inline IoAwaitable<detail::AllBytesWait> write_all(int fd, const void* data, std::size_t bytes,
                                                   Deadline deadline = forever) {
    return IoAwaitable<detail::AllBytesWait>(deadline, detail::IoSites::write, OperationKind::write, fd,
                                             const_cast<void*>(data), bytes);
}

/// A regular file, at `offset`; the disk does not stop the loop. How many bytes: fewer only where the file ends.
inline IoAwaitable<detail::AllBytesWait> file_read(int fd, void* buffer, std::size_t bytes, std::int64_t offset,
                                                   Deadline deadline = forever) {
    return IoAwaitable<detail::AllBytesWait>(deadline, detail::IoSites::file_read, OperationKind::file_read, fd, buffer,
                                             bytes, offset);
}
/// All of them.
inline IoAwaitable<detail::AllBytesWait> file_write(int fd, const void* data, std::size_t bytes, std::int64_t offset,
                                                    Deadline deadline = forever) {
    return IoAwaitable<detail::AllBytesWait>(deadline, detail::IoSites::file_write, OperationKind::file_write, fd,
                                             const_cast<void*>(data), bytes, offset);
}

/// Before `fd` is closed, on its loop: what still waits for it throws OSError (EBADF).
inline void forget_descriptor(int fd) { EventLoop::running().poller().forget(fd); }

} // namespace sennit::loop
