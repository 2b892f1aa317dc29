// Servers of streams.
#pragma once

#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/stream_reader.hpp>
#include <sennit/asyncio/stream_writer.hpp>
#include <sennit/asyncio/tls.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/os/address.hpp>

#include <concepts>
#include <cstddef>
#include <functional> // std::invoke
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::asyncio {

// Nothing in here needs a destructor: see ConnectOptions.
struct ServerOptions {
    /// TLS with an ssl::SSLContext that has a certificate.
    TlsContextRef ssl = {};
    std::chrono::nanoseconds ssl_handshake_timeout = std::chrono::seconds(60);
    std::size_t limit = default_limit;
    /// How many connections the kernel keeps until they are accepted.
    int backlog = 100;
    /// Several servers, of several processes too, share one port; the kernel spreads the connections.
    bool reuse_port = false;
    int family = 0;
    /// False: the socket is bound, but nobody can connect before start_serving().
    bool start_serving = true;
    /// Of a Unix socket: who may connect.
    unsigned mode = 0600;
};

class ServerCore;

namespace detail {

/// What a server does with a connection.
class ConnectionHandler {
  public:
    virtual ~ConnectionHandler() = default;
    virtual Coro<void> serve(StreamReader reader, StreamWriter writer) = 0;
};

template <class F>
class HandlerOf final : public ConnectionHandler {
  public:
    template <class G>
    explicit HandlerOf(G&& f) : f_(std::forward<G>(f)) {}
    Coro<void> serve(StreamReader reader, StreamWriter writer) override {
        return call(f_, std::move(reader), std::move(writer));
    }

  private:
    // Reader and writer live in this frame: the handler may take them by value or by reference.
    static Coro<void> call(F& f, StreamReader reader, StreamWriter writer) {
        if constexpr (std::invocable<F&, StreamReader, StreamWriter>) {
            if constexpr (std::is_void_v<std::invoke_result_t<F&, StreamReader, StreamWriter>>) {
                std::invoke(f, std::move(reader), std::move(writer));
                co_return;
            } else {
                co_await std::invoke(f, std::move(reader), std::move(writer));
            }
        } else {
            co_await std::invoke(f, reader, writer);
        }
    }
    F f_;
};

Coro<std::shared_ptr<ServerCore>> listen(std::shared_ptr<ConnectionHandler> handler, std::string host, int port,
                                         const ServerOptions& options);
std::shared_ptr<ServerCore> listen_unix(std::shared_ptr<ConnectionHandler> handler, const std::string& path,
                                        const ServerOptions& options);

} // namespace detail

/// Takes connections and gives each to its handler, in a task of its own.      Python: asyncio.Server
///
/// Agents    The thread of its loop.
/// Lifetime  A copy is the same server. When the last one goes, it is closed; connections go on.
/// Errors    What a handler throws goes to the loop's exception handler, and the connection is closed. When descriptors or memory have
///           run out, it says so there, rests for a second, and goes on.
class Server {
  public:
    Server() noexcept = default;
    explicit Server(std::shared_ptr<ServerCore> core) noexcept;

    /// Where it listens: the ports that it got.
    [[nodiscard]] std::vector<os::SocketAddress> sockets() const;
    /// The first one's; -1 for a Unix socket.
    [[nodiscard]] int port() const;
    [[nodiscard]] bool is_serving() const noexcept;
    void start_serving();
    /// Serves until it is closed or this is cancelled, which closes it.
    Coro<void> serve_forever();
    /// Takes no more connections. Those that are go on. Twice is as once.
    void close();
    /// Until it is closed and all its connections have ended.
    Coro<void> wait_closed();
    /// close() of all its connections.
    void close_clients();
    /// The same at once, without what was not sent yet.
    void abort_clients();
    /// How many connections it has.
    [[nodiscard]] std::size_t connections() const noexcept;

  private:
    [[nodiscard]] ServerCore& core(const char* call) const;
    std::shared_ptr<ServerCore> core_; // with a deleter that closes
};

namespace detail {

Coro<Server> start(Coro<std::shared_ptr<ServerCore>> listening);
Server server_of(std::shared_ptr<ServerCore> core);

template <class F>
std::shared_ptr<ConnectionHandler> handler_of(F&& f) {
    using Handler = std::decay_t<F>;
    static_assert(
        std::invocable<Handler&, StreamReader, StreamWriter> || std::invocable<Handler&, StreamReader&, StreamWriter&>,
        "start_server(handler, ...): the handler is a coroutine function that takes a StreamReader and a StreamWriter: "
        "[](StreamReader reader, StreamWriter writer) -> Coro<> { ... }");
    return std::make_shared<HandlerOf<Handler>>(std::forward<F>(f));
}

} // namespace detail

/// A TCP server: `co_await handler(reader, writer)` for each connection.      Python: asyncio.start_server
///
///     auto echo = [](StreamReader reader, StreamWriter writer) -> Coro<> {
///         for (std::string some; !(some = co_await reader.read(65536)).empty();) {
///             writer.write(some);
///             co_await writer.drain();
///         }
///     };
///     Server server = co_await start_server(echo, "127.0.0.1", 8080);
///     co_await server.serve_forever();
///
/// `host`: an address, a name, or "" for this machine alone ("0.0.0.0" and "::" are all interfaces). Port 0: a free one.
/// The handler lives as long as the server and its connections: captures are safe.
template <class F>
Coro<Server> start_server(F&& handler, std::string host, int port, const ServerOptions& options = {}) {
    return detail::start(detail::listen(detail::handler_of(std::forward<F>(handler)), std::move(host), port, options));
}

/// A server on a Unix socket. Only this user may connect, unless .mode says otherwise. A socket that a former server left is
/// replaced; when it closes, the file goes.      Python: asyncio.start_unix_server
template <class F>
Coro<Server> start_unix_server(F&& handler, const std::string& path, const ServerOptions& options = {}) {
    auto core = detail::listen_unix(detail::handler_of(std::forward<F>(handler)), path, options);
    return [](std::shared_ptr<ServerCore> c) -> Coro<Server> {
        co_return detail::server_of(std::move(c));
    }(std::move(core));
}

} // namespace sennit::asyncio
