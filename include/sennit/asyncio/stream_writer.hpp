#pragma once

#include <sennit/asyncio/stream_op.hpp>
#include <sennit/asyncio/tls.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sennit::asyncio {

/// The bytes that go to the other side of a connection or pipe.      Python: asyncio.StreamWriter
///
///     writer.write("hello\n");
///     co_await writer.drain(); // not faster than the other side takes them
///     writer.close();
///     co_await writer.wait_closed();
///
/// Agents    Coroutines and callbacks of its loop; any number.
/// Blocks    write() never: it sends what the kernel takes and keeps the rest. drain() waits while that is too much.
/// Cancel    A cancelled drain() or wait_closed() changes nothing.
/// Lifetime  The destructor closes: what was written is still sent, as long as the loop runs.
/// Errors    Once the other side is gone, what is written is dropped, and drain() throws what went wrong.
/// Cost      write() is one send(2), without a copy, when nothing waits to be sent.
class StreamWriter {
  public:
    using Wait = sync::Awaitable<detail::WriteOp>;

    StreamWriter() noexcept = default;
    StreamWriter(StreamWriter&&) noexcept = default;
    StreamWriter& operator=(StreamWriter&& other) noexcept;
    ~StreamWriter();

    /// UsageError after write_eof(). After close() it is dropped.
    void write(std::string_view data);
    void writelines(std::span<const std::string> lines);
    void writelines(std::span<const std::string_view> lines);
    /// Waits while more than the high-water mark is to be sent, until it is down at the low one.
    [[nodiscard]] Wait drain(Deadline deadline = forever);
    /// 64 KiB and a quarter of that, unless set otherwise.      Python: transport.set_write_buffer_limits
    void set_write_buffer_limits(std::size_t high, std::size_t low);
    /// How much was written and not sent yet.
    [[nodiscard]] std::size_t get_write_buffer_size() const;

    /// Sends what was written, then closes. TLS: says farewell, and waits up to 30 s for the other side's. Twice is as once.
    void close();
    /// Closes now; what was not sent is dropped.      Python: writer.transport.abort
    void abort();
    [[nodiscard]] bool is_closing() const noexcept;
    /// Throws what ended the connection, if that was an error.
    [[nodiscard]] Wait wait_closed(Deadline deadline = forever);
    /// Not with TLS.
    [[nodiscard]] bool can_write_eof() const noexcept;
    /// The other side reads the end after what was written; this side goes on reading. UsageError with TLS.
    void write_eof();

    /// Waits until all that was written has been given to the kernel.
    [[nodiscard]] Wait flush(Deadline deadline = forever);

    /// From now on by TLS; this side is the client's unless the context is a server's. What has come and was not read is
    /// taken for the other side's handshake. Nobody reads meanwhile. A failure closes the connection.
    [[nodiscard]] sync::Awaitable<detail::HandshakeOp>
    start_tls(const TlsContextRef& context, std::string_view server_hostname = {},
              Deadline handshake_timeout = default_handshake_timeout());

    /// "peername", "sockname" ("127.0.0.1:80", "[::1]:80", a path), "socket" or "pipe" (its descriptor); with TLS "ssl_object"
    /// (the version), "cipher", "alpn", "server_hostname", "peercert" (PEM). Empty when there is none.
    [[nodiscard]] std::string get_extra_info(std::string_view name) const;
    /// The same of TLS, typed.
    [[nodiscard]] TlsInfo tls() const;
    /// -1 once closed.
    [[nodiscard]] int fileno() const noexcept;
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(core_); }

    explicit StreamWriter(std::shared_ptr<StreamCore> core) noexcept;
    static Deadline default_handshake_timeout();
    [[nodiscard]] const std::shared_ptr<StreamCore>& core(const char* call) const;

  private:
    std::shared_ptr<StreamCore> core_;
};

} // namespace sennit::asyncio
