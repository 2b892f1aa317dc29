#include <sennit/asyncio/connection.hpp>

#include "connect_race.hpp"
#include "stream_core.hpp"
#include <sennit/asyncio/resolver.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/os/socket_setup.hpp>

#include <algorithm>
#include <memory>
#include <netinet/tcp.h>
#include <vector>

namespace sennit::asyncio {
namespace {

// ConnectOptions, owned.
struct Options {
    explicit Options(const ConnectOptions& o)
        : ssl(o.ssl.get()),
          server_hostname(o.server_hostname),
          handshake_ns(o.ssl_handshake_timeout.count()),
          limit(o.limit),
          local_host(o.local_host),
          local_port(o.local_port),
          family(o.family),
          delay_ns(o.happy_eyeballs_delay.count()) {
        if (!ssl && !server_hostname.empty())
            throw UsageError("open_connection: .server_hostname is for TLS; pass .ssl, too");
    }
    std::shared_ptr<const TlsContext> ssl;
    std::string server_hostname;
    std::int64_t handshake_ns;
    std::size_t limit;
    std::string local_host;
    std::uint16_t local_port;
    int family;
    std::int64_t delay_ns;
};

std::string name_of(const os::SocketAddress& address) {
    const std::string text = address.to_string();
    return text.empty() ? "the connection" : "the connection to " + text;
}

Streams streams_of(os::Fd fd, const os::SocketAddress& peer, std::size_t limit) {
    if (peer.family() == AF_INET || peer.family() == AF_INET6)
        os::set_socket_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1); // as Python: small answers go at once
    auto core = StreamCore::make(std::move(fd), StreamCore::Kind::socket, limit, name_of(peer));
    return {StreamReader(core), StreamWriter(core)};
}

Coro<Streams> with_tls(Streams streams, std::shared_ptr<const Options> o, std::string host, Deadline deadline) {
    if (o->ssl) {
        const Deadline handshake = std::min(deadline, Deadline(std::chrono::nanoseconds(o->handshake_ns)));
        const std::string& name = o->server_hostname.empty() ? host : o->server_hostname;
        co_await streams.second.start_tls(o->ssl, name, handshake);
    }
    co_return std::move(streams);
}

Coro<Streams> connect(std::string host, int port, std::shared_ptr<const Options> o, Deadline deadline) {
    os::SocketAddress from;
    if (!o->local_host.empty() || o->local_port != 0) {
        const std::string local = o->local_host.empty() ? "0.0.0.0" : o->local_host;
        const auto address = os::SocketAddress::numeric(local, o->local_port);
        if (!address) throw UsageError("open_connection: .local_host is an address in numbers, not '" + local + "'");
        from = *address;
    }
    AddrInfoOptions what;
    what.family = o->family;
    auto addresses = co_await getaddrinfo(host, port, what);
    const std::string target = '\'' + host + "' port " + std::to_string(port);
    auto connected = co_await sync::Awaitable<detail::ConnectRace>(deadline, detail::interleaved(std::move(addresses)),
                                                                   from, o->delay_ns, target);
    co_return co_await with_tls(streams_of(std::move(connected.first), connected.second, o->limit), o, std::move(host),
                                deadline);
}

Coro<Streams> connect_unix(os::SocketAddress address, std::shared_ptr<const Options> o, Deadline deadline) {
    const int made = os::open_socket(AF_UNIX, SOCK_STREAM);
    if (made < 0) throw OSError(-made, "cannot make a Unix socket");
    os::Fd fd(made);
    try {
        co_await loop::sock_connect(fd.get(), address, deadline);
    } catch (const OSError& e) {
        loop::forget_descriptor(made);
        throw OSError(e.code(), "cannot connect to '" + address.path() + "'");
    } catch (...) {
        loop::forget_descriptor(made);
        throw;
    }
    co_return co_await with_tls(streams_of(std::move(fd), address, o->limit), o, std::string(), deadline);
}

Coro<std::size_t> send_file(StreamWriter& writer, int file, std::int64_t offset, std::int64_t count) {
    std::size_t left = count < 0 ? SIZE_MAX >> 1 : static_cast<std::size_t>(count);
    std::size_t done = 0;
    const auto core = writer.core("sendfile");
    if (core->is_closing()) throw InvalidStateError("sendfile: " + core->what() + " is closed");
    if (!core->tls() && core->kind() == StreamCore::Kind::socket) {
        co_await writer.flush();
        while (left > 0) {
            constexpr std::size_t piece = std::size_t{1} << 30;
            const std::size_t ask = std::min(left, piece);
            const std::size_t n =
                co_await loop::sock_sendfile(core->fd(), file, offset + static_cast<std::int64_t>(done), ask);
            done += n;
            left -= n;
            if (n < ask) break;
        }
        co_return done;
    }
    std::string buffer(std::size_t{1} << 16, '\0');
    while (left > 0) {
        const std::size_t ask = std::min(left, buffer.size());
        const std::size_t n =
            co_await loop::file_read(file, buffer.data(), ask, offset + static_cast<std::int64_t>(done));
        writer.write(std::string_view(buffer).substr(0, n));
        co_await writer.drain();
        done += n;
        left -= n;
        if (n < ask) break;
    }
    co_return done;
}

} // namespace

Coro<Streams> open_connection(std::string host, int port, const ConnectOptions& options, Deadline deadline) {
    return connect(std::move(host), port, std::make_shared<const Options>(options), deadline);
}

Coro<Streams> open_unix_connection(std::string path, const ConnectOptions& options, Deadline deadline) {
    return connect_unix(os::SocketAddress::unix_path(path), std::make_shared<const Options>(options), deadline);
}

Coro<Streams> open_socket(os::Fd connected, const ConnectOptions& options, Deadline deadline) {
    const os::SocketAddress peer = os::peer_address(connected.get());
    auto o = std::make_shared<const Options>(options);
    return with_tls(streams_of(std::move(connected), peer, options.limit), std::move(o), std::string(), deadline);
}

Streams stream_of_socket(os::Fd connected, std::size_t limit) {
    const os::SocketAddress peer = os::peer_address(connected.get());
    return streams_of(std::move(connected), peer, limit);
}

StreamReader connect_read_pipe(os::Fd pipe, std::size_t limit) {
    return StreamReader(StreamCore::make(std::move(pipe), StreamCore::Kind::read_pipe, limit, "the pipe that is read"));
}

StreamWriter connect_write_pipe(os::Fd pipe) {
    return StreamWriter(
        StreamCore::make(std::move(pipe), StreamCore::Kind::write_pipe, default_limit, "the pipe that is written to"));
}

Coro<std::size_t> sendfile(StreamWriter& writer, int file, std::int64_t offset, std::int64_t count) {
    return send_file(writer, file, offset, count);
}

} // namespace sennit::asyncio
