// Sockets: making, naming and ending them. Moving bytes is in os/socket.hpp.
#pragma once

#include <sennit/os/address.hpp>
#include <sennit/os/fd.hpp>

#include <utility>

namespace sennit::os {

/// A socket, non-blocking and close-on-exec: its number, or -errno.
int open_socket(int family, int type) noexcept;
/// Two connected ones. Throws OSError.
std::pair<Fd, Fd> make_socket_pair(int type = SOCK_STREAM);

/// 0 or -errno.
int bind_socket(int fd, const SocketAddress& address) noexcept;
int listen_socket(int fd, int backlog) noexcept;
/// setsockopt of an int, e.g. SOL_SOCKET, SO_REUSEADDR.
int set_socket_option(int fd, int level, int option, int value) noexcept;
/// The value, or -errno.
int get_socket_option(int fd, int level, int option) noexcept;
/// Nothing more is sent: the peer reads its end (SHUT_WR).
int shutdown_write(int fd) noexcept;
/// Only this user may connect: to be called before bind_socket. For Unix sockets.
int set_socket_mode(int fd, unsigned mode) noexcept;
/// Removes the file of a Unix socket, if it is a socket. 0 or -errno (-ENOTSOCK: something else is there).
int remove_socket_file(const std::string& path) noexcept;
/// Which file `path` is, to know later whether it is still the same; {0, 0}: none.
std::pair<unsigned long, unsigned long> file_identity(const std::string& path) noexcept;

/// An empty one if the kernel knows none.
SocketAddress local_address(int fd) noexcept;
SocketAddress peer_address(int fd) noexcept;

} // namespace sennit::os
