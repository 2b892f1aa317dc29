#include <sennit/os/address.hpp>

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <net/if.h>
#include <netdb.h>

namespace sennit::os {

SocketAddress::SocketAddress(const sockaddr* address, std::size_t bytes) noexcept
    : size_(static_cast<std::uint8_t>(std::min(bytes, sizeof(Bytes)))) {
    std::memcpy(&bytes_, address, size_);
}

std::optional<SocketAddress> SocketAddress::numeric(const std::string& host, std::uint16_t port) {
    if (host.find('\0') != std::string::npos) return std::nullopt;
    sockaddr_in v4{};
    if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        return SocketAddress(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
    }
    sockaddr_in6 v6{};
    const std::size_t percent = host.find('%'); // a link-local address names its interface
    if (::inet_pton(AF_INET6, host.substr(0, percent).c_str(), &v6.sin6_addr) != 1) return std::nullopt;
    if (percent != std::string::npos) {
        v6.sin6_scope_id = ::if_nametoindex(host.c_str() + percent + 1);
        if (v6.sin6_scope_id == 0) return std::nullopt;
    }
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return SocketAddress(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

SocketAddress SocketAddress::unix_path(const std::string& path) {
    sockaddr_un un{};
    if (path.empty()) throw UsageError("the path of a Unix socket is empty");
    if (path.find('\0') != std::string::npos)
        throw UsageError(
            "a NUL byte in the path of a Unix socket: sockets without a file (abstract ones) are open to every "
            "user of the machine; give a path");
    if (path.size() >= sizeof un.sun_path)
        throw UsageError("the path of a Unix socket has at most " + std::to_string(sizeof un.sun_path - 1) +
                         " bytes; this one has " + std::to_string(path.size()) + ": '" + path +
                         "'. Take a shorter folder, or one relative to the working directory");
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, path.c_str(), path.size() + 1);
    return {reinterpret_cast<const sockaddr*>(&un), offsetof(sockaddr_un, sun_path) + path.size() + 1};
}

std::string SocketAddress::host() const {
    char text[NI_MAXHOST];
    if (family() != AF_INET && family() != AF_INET6) return {};
    if (::getnameinfo(data(), static_cast<socklen_t>(size()), text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0)
        return {};
    return text;
}

int SocketAddress::port() const noexcept {
    if (family() == AF_INET) return ntohs(bytes_.v4.sin_port);
    if (family() == AF_INET6) return ntohs(bytes_.v6.sin6_port);
    return -1;
}

std::string SocketAddress::path() const {
    constexpr std::size_t head = offsetof(sockaddr_un, sun_path);
    if (family() != AF_UNIX || size() <= head) return {};
    const char* const text = bytes_.path.sun_path;
    const std::size_t most = size() - head;
    if (text[0] == '\0') return std::string(text, most).replace(0, 1, 1, '@'); // an abstract one, as ss(8) shows it
    return {text, ::strnlen(text, most)};
}

std::string SocketAddress::to_string() const {
    if (family() == AF_UNIX) return path();
    if (family() == AF_INET) return host() + ':' + std::to_string(port());
    if (family() == AF_INET6) return '[' + host() + "]:" + std::to_string(port());
    return {};
}

bool SocketAddress::is_loopback() const noexcept {
    if (family() == AF_UNIX) return true;
    if (family() == AF_INET) return (ntohl(bytes_.v4.sin_addr.s_addr) >> 24) == 127;
    return family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&bytes_.v6.sin6_addr);
}

bool operator==(const SocketAddress& a, const SocketAddress& b) noexcept {
    return a.size_ == b.size_ && std::memcmp(&a.bytes_, &b.bytes_, a.size_) == 0;
}

} // namespace sennit::os
