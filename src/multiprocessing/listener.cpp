// The handshake is CPython's, and each step of it a message: see connection.cpp.
//
//     listener                                client
//     #CHALLENGE#{sha256}40 random bytes  ->
//                                         <-  {sha256}HMAC of all after #CHALLENGE#      (up to 3.11: 20 random bytes, 16 of HMAC-MD5)
//     #WELCOME# or #FAILURE#              ->
//     and the same with the roles changed.
#include <sennit/multiprocessing/listener.hpp>

#include "digest.hpp"

#include <sennit/loop/socket_io.hpp>
#include <sennit/os/fd_passing.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/socket.hpp>
#include <sennit/os/socket_setup.hpp>

#include <cerrno>
#include <cstring>

namespace sennit::multiprocessing {
namespace {

constexpr std::string_view challenge = "#CHALLENGE#", welcome = "#WELCOME#", failure = "#FAILURE#", sha256 = "{sha256}";
constexpr std::size_t longest_step = 256, random_in_challenge = 40, legacy_challenge = 20, legacy_answer = 16;

void require_key(const std::string& authkey) {
    if (authkey.empty())
        throw UsageError("the authkey is empty; pass a secret one, or leave the handshake away on both sides");
}
std::string_view text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string new_challenge() {
    std::string text(sha256);
    char random[random_in_challenge];
    os::random_bytes(random, sizeof random);
    return text.append(random, sizeof random);
}
// Whether `answer` shows that the peer knows the key.
bool is_right(std::string_view answer, const std::string& key, const std::string& asked, bool legacy) {
    if (answer.size() == legacy_answer) return legacy && digest::equal(answer, digest::hmac_md5(key, asked));
    return answer.starts_with(sha256) && digest::equal(answer.substr(sha256.size()), digest::hmac_sha256(key, asked));
}
std::string answer_to(std::string_view message, const std::string& key, bool legacy) {
    if (!message.starts_with(challenge))
        throw AuthenticationError("the peer begins with " + std::to_string(message.size()) +
                                  " bytes that are no challenge: does its Listener have an authkey?");
    message.remove_prefix(challenge.size());
    if (message.size() == legacy_challenge) {
        if (!legacy)
            throw AuthenticationError(
                "the peer only knows the handshake of Python before 3.12, with MD5; that is taken on Unix "
                "sockets and loopback alone, with .legacy = true");
        return digest::hmac_md5(key, message);
    }
    if (message.starts_with(sha256) && message.size() > legacy_challenge)
        return std::string(sha256) + digest::hmac_sha256(key, message);
    throw AuthenticationError(
        "the peer's challenge names no digest that is known here (sha256, and MD5 for Python before 3.12)");
}

void close_path(os::Fd& fd, const std::string& path, std::pair<unsigned long, unsigned long> file) noexcept {
    fd.reset();
    // Only what it made: somebody may have put another socket there.
    if (!path.empty() && os::file_identity(path) == file) os::remove_socket_file(path);
}

os::SocketAddress resolved(const Address& address) {
    if (!address.is_inet()) return os::SocketAddress::unix_path(address.path());
    const std::string host = address.host() == "localhost" ? "127.0.0.1"
                             : address.host().empty()      ? "0.0.0.0"
                                                           : address.host();
    const auto found = os::SocketAddress::numeric(host, address.port());
    if (!found)
        throw UsageError("the host \"" + host +
                         "\" is no number; use \"localhost\", \"127.0.0.1\", or what a name resolves to");
    return *found;
}

void check_network(const os::SocketAddress& where, const Address& address, const ConnectionOptions& options) {
    if (where.family() == AF_UNIX || where.is_loopback() || options.plain_network) return;
    throw UsageError(
        "the address " + address.to_string() +
        " is not of this machine alone, and nothing that is sent would be protected; use a path or 127.0.0.1, or "
        "write .plain_network = true");
}

} // namespace

std::string Address::to_string() const { return is_inet_ ? host_ + ":" + std::to_string(port_) : path_; }

asyncio::Coro<void> async_deliver_challenge(Connection& connection, std::string authkey, bool legacy,
                                            Deadline deadline) {
    require_key(authkey);
    const std::string asked = new_challenge();
    const std::string first = std::string(challenge) + asked;
    co_await connection.async_send_bytes(first, deadline);
    const std::vector<std::byte> answer = co_await connection.async_recv_bytes(longest_step, deadline);
    if (!is_right(text_of(answer), authkey, asked, legacy)) {
        co_await connection.async_send_bytes(failure, deadline);
        throw AuthenticationError("the digest that the peer sent is wrong: it has another authkey");
    }
    co_await connection.async_send_bytes(welcome, deadline);
}

asyncio::Coro<void> async_answer_challenge(Connection& connection, std::string authkey, bool legacy,
                                           Deadline deadline) {
    require_key(authkey);
    const std::vector<std::byte> message = co_await connection.async_recv_bytes(longest_step, deadline);
    const std::string answer = answer_to(text_of(message), authkey, legacy);
    co_await connection.async_send_bytes(answer, deadline);
    const std::vector<std::byte> result = co_await connection.async_recv_bytes(longest_step, deadline);
    if (text_of(result) != welcome)
        throw AuthenticationError("the peer refused the digest that was sent: it has another authkey");
}

void deliver_challenge(Connection& connection, const std::string& authkey, bool legacy, Deadline deadline) {
    require_key(authkey);
    const std::string asked = new_challenge();
    connection.send_bytes(std::string(challenge) + asked, deadline);
    const std::vector<std::byte> answer = connection.recv_bytes(longest_step, deadline);
    if (!is_right(text_of(answer), authkey, asked, legacy)) {
        connection.send_bytes(failure, deadline);
        throw AuthenticationError("the digest that the peer sent is wrong: it has another authkey");
    }
    connection.send_bytes(welcome, deadline);
}

void answer_challenge(Connection& connection, const std::string& authkey, bool legacy, Deadline deadline) {
    require_key(authkey);
    const std::vector<std::byte> message = connection.recv_bytes(longest_step, deadline);
    connection.send_bytes(answer_to(text_of(message), authkey, legacy), deadline);
    const std::vector<std::byte> result = connection.recv_bytes(longest_step, deadline);
    if (text_of(result) != welcome)
        throw AuthenticationError("the peer refused the digest that was sent: it has another authkey");
}

namespace {

// A peer that is no good is told by one kind of error.
template <class F>
void handshake(F steps) {
    try {
        steps();
    } catch (const TimeoutError&) {
        throw AuthenticationError("the peer did not finish the handshake in time: does it have an authkey?");
    } catch (const EndOfFile&) {
        throw AuthenticationError("the peer went away in the middle of the handshake: does it have the same authkey?");
    } catch (const CargoError& e) {
        throw AuthenticationError(std::string("the peer does not speak the handshake: ") + e.what());
    } catch (const OSError& e) {
        throw AuthenticationError(std::string("the handshake failed: ") + e.what());
    }
}

Deadline earlier(Deadline a, std::chrono::nanoseconds from_now) { return std::min(a, Deadline(from_now)); }
// MD5 stays on this machine.
bool takes_md5(const ConnectionOptions& options, const os::SocketAddress& peer) {
    return options.legacy && (peer.family() != AF_INET || peer.is_loopback()) &&
           (peer.family() != AF_INET6 || peer.is_loopback());
}

} // namespace

Listener::Listener(const Address& address, ConnectionOptions options)
    : address_(address), options_(std::move(options)), process_(os::process_id()) {
    if (options_.backlog < 1)
        throw UsageError("Listener: .backlog is " + std::to_string(options_.backlog) + "; it is at least 1");
    if (address.empty()) {
        directory_ = os::make_private_directory("pymp-");
        address_ = Address(directory_ + "/listener");
    }
    try {
        const os::SocketAddress where = resolved(address_);
        check_network(where, address_, options_);
        fd_.reset(os::open_socket(where.family(), SOCK_STREAM));
        if (!fd_) throw OSError(-fd_.release(), "Listener: cannot make a socket");
        if (where.family() == AF_UNIX)
            os::set_socket_mode(fd_.get(), 0600);
        else
            os::set_socket_option(fd_.get(), SOL_SOCKET, SO_REUSEADDR, 1);
        int error = os::bind_socket(fd_.get(), where);
        if (error < 0) throw OSError(-error, "Listener: cannot have the address " + address_.to_string());
        if (!address_.is_inet()) file_ = os::file_identity(address_.path());
        error = os::listen_socket(fd_.get(), options_.backlog);
        if (error < 0) throw OSError(-error, "Listener: cannot listen at " + address_.to_string());
        if (address_.is_inet()) {
            const os::SocketAddress local = os::local_address(fd_.get());
            address_ = Address(local.host(), static_cast<std::uint16_t>(local.port()));
        }
    } catch (...) {
        close();
        throw;
    }
}

Listener::Listener(Listener&& other) noexcept
    : address_(other.address_),
      last_accepted_(other.last_accepted_),
      options_(other.options_),
      fd_(std::move(other.fd_)),
      directory_(std::exchange(other.directory_, {})),
      file_(std::exchange(other.file_, {})),
      process_(other.process_) {}

Listener& Listener::operator=(Listener&& other) noexcept {
    if (this != &other) {
        close();
        address_ = other.address_;
        last_accepted_ = other.last_accepted_;
        options_ = other.options_;
        fd_ = std::move(other.fd_);
        directory_ = std::exchange(other.directory_, {});
        file_ = std::exchange(other.file_, {});
        process_ = other.process_;
    }
    return *this;
}

Listener::~Listener() { close(); }

void Listener::close() noexcept {
    const bool ours = process_ == os::process_id();
    if (ours && file_ != std::pair<unsigned long, unsigned long>())
        close_path(fd_, address_.path(), std::exchange(file_, {}));
    fd_.reset();
    if (ours && !directory_.empty()) os::remove_directory(std::exchange(directory_, {}));
}

int Listener::fileno() const {
    if (!fd_) throw UsageError("Listener: it was closed here; make another one");
    return fd_.get();
}

Connection Listener::take(os::Fd fd) {
    if (!address_.is_inet()) {
        const long user = os::peer_user(fd.get());
        if (user != os::own_user() && user != 0)
            throw AuthenticationError("Listener: a process of user " + std::to_string(user) + " has connected to " +
                                      address_.to_string() + "; only this user's and root's may");
        last_accepted_ = Address();
    } else {
        const os::SocketAddress peer = os::peer_address(fd.get());
        last_accepted_ = Address(peer.host(), static_cast<std::uint16_t>(peer.port() < 0 ? 0 : peer.port()));
    }
    os::set_nonblocking(fd.get(), false);
    Connection connection(std::move(fd));
    connection.set_max_message(options_.max_message);
    return connection;
}

namespace {

bool try_again(int error) noexcept {
    return error == -ECONNABORTED || error == -EPROTO || error == -ENETDOWN || error == -EHOSTUNREACH;
}

} // namespace

Connection Listener::accept(Deadline deadline) {
    for (;;) {
        const int fd = os::accept_some(fileno());
        if (fd >= 0) {
            os::Fd owned(fd);
            const bool md5 = takes_md5(options_, os::peer_address(fd));
            Connection connection = take(std::move(owned));
            if (!options_.authkey.empty()) {
                handshake([&] {
                    const Deadline end = earlier(deadline, options_.handshake_time);
                    deliver_challenge(connection, options_.authkey, md5, end);
                    answer_challenge(connection, options_.authkey, md5, end);
                });
            }
            return connection;
        }
        if (try_again(fd)) continue;
        if (fd != -EAGAIN) throw OSError(-fd, "Listener.accept: at " + address_.to_string());
        pollfd p{fileno(), POLLIN, 0};
        const int n = os::poll_fds({&p, 1}, deadline);
        if (n < 0) throw OSError(-n, "Listener.accept: cannot poll");
        if (n == 0) throw TimeoutError("Listener.accept: nobody came in time to " + address_.to_string());
    }
}

namespace {
// The handshake of a coroutine: errors as handshake() has them.
asyncio::Coro<void> both_halves(Connection& connection, std::string key, bool md5, bool first, Deadline deadline) {
    std::exception_ptr error;
    try {
        if (first) co_await async_deliver_challenge(connection, key, md5, deadline);
        co_await async_answer_challenge(connection, key, md5, deadline);
        if (!first) co_await async_deliver_challenge(connection, key, md5, deadline);
    } catch (...) {
        error = std::current_exception();
    }
    if (error) handshake([&] { std::rethrow_exception(error); });
}
} // namespace

asyncio::Coro<Connection> Listener::async_accept(Deadline deadline) {
    os::Fd fd = co_await loop::sock_accept(fileno(), deadline);
    const bool md5 = takes_md5(options_, os::peer_address(fd.get()));
    Connection connection = take(std::move(fd));
    if (!options_.authkey.empty()) {
        const Deadline end = earlier(deadline, options_.handshake_time);
        co_await both_halves(connection, options_.authkey, md5, true, end);
    }
    co_return connection;
}

namespace {

struct Target {
    os::SocketAddress where;
    os::Fd fd;
    bool md5 = false;
};
Target prepare(const Address& address, const ConnectionOptions& options) {
    if (address.empty()) throw UsageError("Client: an address is needed: a path, or a host and a port");
    Target target;
    target.where = resolved(address);
    check_network(target.where, address, options);
    const int fd = os::open_socket(target.where.family(), SOCK_STREAM);
    if (fd < 0) throw OSError(-fd, "Client: cannot make a socket");
    target.fd.reset(fd);
    target.md5 = takes_md5(options, target.where);
    return target;
}
Connection connected(Target& target, const ConnectionOptions& options) {
    os::set_nonblocking(target.fd.get(), false);
    Connection connection(std::move(target.fd));
    connection.set_max_message(options.max_message);
    return connection;
}

} // namespace

Connection Client(const Address& address, const ConnectionOptions& options, Deadline deadline) {
    Target target = prepare(address, options);
    int error = os::connect_some(target.fd.get(), target.where.data(), target.where.size());
    while (error == -EAGAIN) { // a Unix socket whose backlog is full: nothing tells when it no longer is
        if (deadline.has_passed())
            throw TimeoutError("Client: " + address.to_string() + " takes no connection in time");
        os::poll_fds({}, std::min(deadline, Deadline(std::chrono::milliseconds(1))));
        error = os::connect_some(target.fd.get(), target.where.data(), target.where.size());
    }
    if (error == -EINPROGRESS) {
        pollfd p{target.fd.get(), POLLOUT, 0};
        if (os::poll_fds({&p, 1}, deadline) == 0)
            throw TimeoutError("Client: " + address.to_string() + " does not answer in time");
        error = os::take_socket_error(target.fd.get());
    }
    if (error < 0) throw OSError(-error, "Client: cannot connect to " + address.to_string());
    Connection connection = connected(target, options);
    if (!options.authkey.empty()) {
        handshake([&] {
            const Deadline end = earlier(deadline, options.handshake_time);
            answer_challenge(connection, options.authkey, target.md5, end);
            deliver_challenge(connection, options.authkey, target.md5, end);
        });
    }
    return connection;
}

asyncio::Coro<Connection> async_client(Address address, ConnectionOptions options, Deadline deadline) {
    Target target = prepare(address, options);
    co_await loop::sock_connect(target.fd.get(), target.where, deadline);
    Connection connection = connected(target, options);
    if (!options.authkey.empty()) {
        const Deadline end = earlier(deadline, options.handshake_time);
        co_await both_halves(connection, options.authkey, target.md5, false, end);
    }
    co_return connection;
}

} // namespace sennit::multiprocessing
