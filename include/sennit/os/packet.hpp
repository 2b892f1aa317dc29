// Packets between processes of one machine: bytes and descriptors that arrive together or not at all.
#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <span>
#include <sys/types.h>
#include <sys/uio.h>
#include <vector>

namespace sennit::os {

struct PacketPair {
    Fd here, there;
};

/// Two connected sockets that keep packets apart (SOCK_SEQPACKET), close-on-exec, blocking. Throws OSError.
PacketPair make_packet_pair();

/// What a packet has room for at least, with the kernel's default settings.
constexpr std::size_t packet_bytes = 96 * 1024;
/// Descriptors in one packet: the kernel's SCM_MAX_FD.
constexpr std::size_t packet_fds = 253;

/// Sends one packet, whole, and copies of the descriptors with it. Waits for room. 0 or -errno (-EPIPE: the peer is gone).
int send_packet(int socket, std::span<const iovec> pieces, std::span<const int> fds) noexcept;

/// Takes one packet: its bytes, or 0 when the peer is gone, or -errno; -EMFILE when a descriptor had no place here, and -EMSGSIZE
/// when the bytes had none: the packet is lost then. Waits for it. The descriptors, close-on-exec, are added to `fds`.
ssize_t receive_packet(int socket, std::span<const iovec> room, std::vector<Fd>& fds);

} // namespace sennit::os
