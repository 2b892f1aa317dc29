// Connecting to servers.
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/stream_reader.hpp>
#include <sennit/asyncio/stream_writer.hpp>
#include <sennit/asyncio/tls.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace sennit::asyncio {

/// auto [reader, writer] = co_await open_connection(...);
using Streams = std::pair<StreamReader, StreamWriter>;

// Nothing in here needs a destructor: g++ 12 destroys such temporaries of a co_await twice.
struct ConnectOptions {
    /// TLS with an ssl::SSLContext.
    TlsContextRef ssl = {};
    /// Whose certificate is asked for; `host` if left out.
    std::string_view server_hostname = {};
    std::chrono::nanoseconds ssl_handshake_timeout = std::chrono::seconds(60);
    /// How long a line may be, see StreamReader.
    std::size_t limit = default_limit;
    /// The address to connect from: a number, and a port or 0.
    std::string_view local_host = {};
    std::uint16_t local_port = 0;
    /// AF_INET or AF_INET6: only that.
    int family = 0;
    /// How long an address may take until the next one is tried beside it.
    std::chrono::nanoseconds happy_eyeballs_delay = std::chrono::milliseconds(250);
};

/// Connects to a TCP server; to the first of its addresses that answers.      Python: asyncio.open_connection
///
///     auto [reader, writer] = co_await open_connection("example.org", 443, {.ssl = context});
///
/// Cancel    Also while the name is looked up, and in mid-handshake; nothing is left behind. At the deadline: TimeoutError.
/// Errors    ResolveError; OSError with what each address said; ssl::SSLError.
Coro<Streams> open_connection(std::string host, int port, const ConnectOptions& options = {},
                              Deadline deadline = forever);

/// The same to a Unix socket. With TLS, server_hostname is needed.
Coro<Streams> open_unix_connection(std::string path, const ConnectOptions& options = {}, Deadline deadline = forever);

/// Streams of a connected socket, which they own from now on.      Python: open_connection(sock=)
Coro<Streams> open_socket(os::Fd connected, const ConnectOptions& options = {}, Deadline deadline = forever);
/// The same without TLS: nothing to wait for.
Streams stream_of_socket(os::Fd connected, std::size_t limit = default_limit);

/// A reader of a pipe, terminal or FIFO; a writer to one. They own the descriptor, which becomes non-blocking.
/// Python: loop.connect_read_pipe, connect_write_pipe
StreamReader connect_read_pipe(os::Fd pipe, std::size_t limit = default_limit);
StreamWriter connect_write_pipe(os::Fd pipe);

/// Sends `count` bytes of a file from `offset` on, all of it if left out; without copying them through this process, but for
/// TLS. How many: fewer where the file ends. What was written before goes first.      Python: loop.sendfile
Coro<std::size_t> sendfile(StreamWriter& writer, int file, std::int64_t offset = 0, std::int64_t count = -1);

} // namespace sennit::asyncio
