// Sockets: the calls that move bytes. EINTR, SIGPIPE and errno end here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/socket.h>
#include <sys/types.h>

namespace sennit::os {

/// recv(2) that never waits, whatever the descriptor's mode. Bytes, 0 at the end, or -errno (-EAGAIN: nothing there).
ssize_t recv_nowait(int fd, void* buffer, std::size_t bytes, int flags) noexcept;
/// send(2) that never waits and never raises SIGPIPE. Bytes, maybe fewer than asked, or -errno.
ssize_t send_nowait(int fd, const void* data, std::size_t bytes, int flags) noexcept;
ssize_t recvmsg_nowait(int fd, msghdr& message, int flags) noexcept;
ssize_t sendmsg_nowait(int fd, const msghdr& message, int flags) noexcept;

/// Takes a connection: the new descriptor, non-blocking and close-on-exec, or -errno. Never waits if `fd` is non-blocking.
int accept_some(int fd) noexcept;
/// Begins to connect: 0, or -errno (-EINPROGRESS: writable when decided). Never waits if `fd` is non-blocking.
int connect_some(int fd, const void* address, std::size_t bytes) noexcept;
/// How a connect ended (SO_ERROR): 0 or -errno. Clears it.
int take_socket_error(int fd) noexcept;
/// Whether the socket is connected (getpeername).
bool has_peer(int fd) noexcept;

/// Whether `fd` is a TCP socket (SO_PROTOCOL).
bool is_tcp(int fd) noexcept;
/// Whether `fd` has O_NONBLOCK.
bool is_nonblocking(int fd) noexcept;
/// Sets O_NONBLOCK: 0 or -errno.
int make_nonblocking(int fd) noexcept;

/// sendfile(2) from `file` at `offset`. Bytes, 0 at the end of the file, or -errno.
ssize_t sendfile_some(int socket, int file, std::int64_t offset, std::size_t bytes) noexcept;
/// splice(2) that does not wait for the pipe; `from_offset` -1: from where the file stands.
ssize_t splice_nowait(int from, std::int64_t from_offset, int to, std::size_t bytes) noexcept;

} // namespace sennit::os
