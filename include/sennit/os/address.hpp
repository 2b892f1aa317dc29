#pragma once

#include <cstdint>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>

namespace sennit::os {

/// Where a socket is, or is to go: an IPv4 or IPv6 address with its port, or a path.
class SocketAddress {
  public:
    SocketAddress() noexcept = default;
    /// A copy of what the kernel wrote; `bytes` beyond the longest address are cut off.
    SocketAddress(const sockaddr* address, std::size_t bytes) noexcept;
    /// "127.0.0.1", "::1", "fe80::1%eth0". Empty for a name: nothing is looked up.
    static std::optional<SocketAddress> numeric(const std::string& host, std::uint16_t port);
    /// Of a Unix socket. Throws UsageError when the path is empty, longer than 107 bytes, or holds a NUL (so no abstract ones).
    static SocketAddress unix_path(const std::string& path);

    [[nodiscard]] const sockaddr* data() const noexcept { return &bytes_.any; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// AF_INET, AF_INET6, AF_UNIX; AF_UNSPEC for none.
    [[nodiscard]] int family() const noexcept { return size_ == 0 ? AF_UNSPEC : bytes_.any.sa_family; }
    /// Without brackets; empty for a path.
    [[nodiscard]] std::string host() const;
    /// -1 for a path.
    [[nodiscard]] int port() const noexcept;
    [[nodiscard]] std::string path() const;
    /// "127.0.0.1:80", "[::1]:80", "/run/socket"; "" for none and for a Unix socket without a name.
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] bool is_loopback() const noexcept;

    friend bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept;

  private:
    union Bytes {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
        sockaddr_un path;
    };
    Bytes bytes_{};
    std::uint8_t size_ = 0;
    static_assert(sizeof(Bytes) < 256);
};

} // namespace sennit::os
