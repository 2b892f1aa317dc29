// Descriptors that go along with bytes over a Unix socket.      Source: unix(7), SCM_RIGHTS
#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <sys/types.h>
#include <sys/uio.h>
#include <vector>

namespace sennit::os {

/// The most descriptors that one call sends (the kernel's SCM_MAX_FD).
inline constexpr std::size_t most_passed_fds = 253;

/// sendmsg(2) that never waits; the descriptors go with the first byte. Bytes, maybe fewer than asked, or -errno.
ssize_t send_with_fds(int socket, std::span<const iovec> pieces, std::span<const int> fds) noexcept;
/// recvmsg(2) that never waits; what descriptors come along is added to `fds`, close-on-exec. Bytes, 0 at the end, or -errno;
/// -EMFILE when not all of them fit into this process. Throws bad_alloc before anything is taken.
ssize_t recv_with_fds(int socket, void* buffer, std::size_t bytes, std::vector<Fd>& fds);

/// The same as recv_with_fds(), and all stays there: the descriptors are copies, and the next look finds them once more.
ssize_t look_with_fds(int socket, void* buffer, std::size_t bytes, std::vector<Fd>& fds);
/// Takes one datagram, and closes the descriptors that came with it. Never waits. Its bytes, or -errno.
ssize_t drop_datagram(int socket) noexcept;
/// A datagram socket that is connected to itself: what any process that has it sends waits there for who takes it first, in order and
/// datagram by datagram, as long as one has it. Close-on-exec. Throws OSError.
Fd make_shared_box();

enum class FdKind : unsigned char {
    unix_stream, // a connected Unix socket
    socket,      // another one
    other,       // a pipe, a file, a terminal
};
FdKind kind_of(int fd) noexcept;
/// The user at the other end of a Unix socket, or -errno.
long peer_user(int socket) noexcept;
/// This process's.
long own_user() noexcept;

/// A new directory that only this user may enter: `prefix` and six more characters, in $TMPDIR or /tmp. Throws OSError.
std::string make_private_directory(const std::string& prefix);
/// Removes an empty one. 0 or -errno.
int remove_directory(const std::string& path) noexcept;

} // namespace sennit::os
