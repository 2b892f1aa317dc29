// Connections between programs.      Python: multiprocessing.connection.Listener, Client
#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/os/address.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sennit::multiprocessing {

/// Where a Listener is: a path (AF_UNIX), or a host and a port (AF_INET; a host by its number, or "localhost").
class Address {
  public:
    /// None: a Listener then makes a path of its own.
    Address() = default;
    Address(std::string path) : path_(std::move(path)) {} // NOLINT(google-explicit-constructor)
    Address(const char* path) : path_(path) {}            // NOLINT(google-explicit-constructor)
    Address(std::string_view path) : path_(path) {}       // NOLINT(google-explicit-constructor)
    Address(std::string host, std::uint16_t port) : host_(std::move(host)), port_(port), is_inet_(true) {}
    [[nodiscard]] bool is_inet() const noexcept { return is_inet_; }
    [[nodiscard]] bool empty() const noexcept { return !is_inet_ && path_.empty(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const std::string& host() const noexcept { return host_; }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// "/run/x", "127.0.0.1:5000".
    [[nodiscard]] std::string to_string() const;
    friend bool operator==(const Address&, const Address&) = default;

  private:
    std::string path_, host_;
    std::uint16_t port_ = 0;
    bool is_inet_ = false;
};

struct ConnectionOptions {
    /// Both sides must know it. Empty: no handshake. Never sent, and not to be found in any text of an error.
    std::string authkey;
    /// Python up to 3.11, which knows HMAC-MD5 alone: on Unix sockets and loopback.
    bool legacy = true;
    /// To bind to, or connect to, more than this machine. The handshake proves that the peer knows the key, and protects nothing that
    /// follows.
    bool plain_network = false;
    /// The longest message that is received.
    std::size_t max_message = std::size_t{256} << 20;
    /// For the whole handshake.
    std::chrono::nanoseconds handshake_time = std::chrono::seconds(5);
    /// Of a Listener: connections that wait for accept().
    int backlog = 128;
};

/// Where other programs connect to.
///
///     Listener listener("/run/user/1000/orders", {.authkey = key});
///     Connection orders = listener.accept();
///
/// Agents    accept() by several at the same time; close() when no other uses it.
/// Blocks    Threads in accept(); async_accept() suspends the coroutine. The handshake with a silent peer takes handshake_time at most.
/// Lifetime  close() and the destructor remove the path, in the process that made it.
/// Errors    AuthenticationError when the peer does not know the key, or speaks otherwise: that connection is closed, and the next
///           accept() is as good as the first. OSError, TimeoutError, UsageError.
/// Source    CPython 3.8 to 3.14, byte for byte. A path is 0600 and takes only the same user (and root); Python's is as the umask says.
class Listener {
  public:
    /// Without an address: a new path in a directory that only this user may enter.
    explicit Listener(const Address& address = {}, ConnectionOptions options = {});
    Listener(Listener&& other) noexcept;
    Listener& operator=(Listener&& other) noexcept;
    ~Listener();

    Connection accept(Deadline deadline = forever);
    asyncio::Coro<Connection> async_accept(Deadline deadline = forever);
    /// With the port that the kernel chose, if it was 0.
    [[nodiscard]] const Address& address() const noexcept { return address_; }
    /// Of the last connection that was accepted: empty for a Unix socket.
    [[nodiscard]] const Address& last_accepted() const noexcept { return last_accepted_; }
    void close() noexcept;
    /// Throws UsageError after close().
    [[nodiscard]] int fileno() const;

  private:
    Connection take(os::Fd fd);
    Address address_, last_accepted_;
    ConnectionOptions options_;
    os::Fd fd_;
    std::string directory_; // made for the path
    std::pair<unsigned long, unsigned long> file_{};
    int process_ = 0;
};

/// A connection to a Listener, or to one of Python's. Throws OSError, AuthenticationError, TimeoutError, UsageError.
Connection Client(const Address& address, const ConnectionOptions& options = {}, Deadline deadline = forever);
asyncio::Coro<Connection> async_client(Address address, ConnectionOptions options = {}, Deadline deadline = forever);

/// The two halves of the handshake, on a connection that is there already.      Python: deliver_challenge, answer_challenge
asyncio::Coro<void> async_deliver_challenge(Connection& connection, std::string authkey, bool legacy,
                                            Deadline deadline);
asyncio::Coro<void> async_answer_challenge(Connection& connection, std::string authkey, bool legacy, Deadline deadline);
void deliver_challenge(Connection& connection, const std::string& authkey, bool legacy = true,
                       Deadline deadline = forever);
void answer_challenge(Connection& connection, const std::string& authkey, bool legacy = true,
                      Deadline deadline = forever);

namespace connection {
using multiprocessing::answer_challenge;
using multiprocessing::Client;
using multiprocessing::deliver_challenge;
using multiprocessing::Listener;
} // namespace connection

} // namespace sennit::multiprocessing
