#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/os/address.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace sennit::asyncio {

class DatagramCore;

// Nothing in here needs a destructor: see ConnectOptions.
struct DatagramOptions {
    /// The address to receive at; with port 0 a free one. Empty: what the first sendto() gets.
    std::string_view local_host = {};
    int local_port = 0;
    /// Whom to talk to, and only to them.
    std::string_view remote_host = {};
    int remote_port = 0;
    int family = 0;
    bool reuse_port = false;
    bool allow_broadcast = false;
};

/// A UDP socket on the event loop.      Python: loop.create_datagram_endpoint, in one object
///
///     auto [data, from] = co_await endpoint.recvfrom();
///     co_await endpoint.sendto("answer", from);
///
/// Agents    Coroutines of its loop; any number, each datagram goes to one.
/// Cancel    A cancelled or late recvfrom() takes no datagram.
/// Lifetime  Owned once; closed by its destructor, on its loop.
/// Errors    OSError: a datagram that is too long, a port that nobody has (of the connected peer, told by a later call).
class DatagramEndpoint {
  public:
    DatagramEndpoint() noexcept = default;
    explicit DatagramEndpoint(std::shared_ptr<DatagramCore> core) noexcept;
    DatagramEndpoint(DatagramEndpoint&&) noexcept = default;
    DatagramEndpoint& operator=(DatagramEndpoint&&) noexcept;
    ~DatagramEndpoint();

    /// One datagram, at most 65,535 bytes, and who sent it.
    Coro<std::pair<std::string, os::SocketAddress>> recvfrom(Deadline deadline = forever);
    /// Until the kernel has taken it. Without an address: to the peer that it is connected to. The data is copied.
    Coro<void> sendto(std::string data, os::SocketAddress to = {}, Deadline deadline = forever);
    /// What waits throws OSError; twice is as once.
    void close() noexcept;
    [[nodiscard]] bool is_closing() const noexcept;
    [[nodiscard]] os::SocketAddress sockname() const;
    [[nodiscard]] os::SocketAddress peername() const;
    [[nodiscard]] int fileno() const noexcept;

  private:
    [[nodiscard]] const std::shared_ptr<DatagramCore>& core(const char* call) const;
    std::shared_ptr<DatagramCore> core_;
};

/// Makes one: bound, connected, or both. Names are looked up off the loop.
Coro<DatagramEndpoint> create_datagram_endpoint(const DatagramOptions& options = {});

} // namespace sennit::asyncio
