#pragma once

#include <sennit/asyncio/stream_op.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace sennit::asyncio {

/// The bytes that come from the other side of a connection or pipe.      Python: asyncio.StreamReader
///
///     auto [reader, writer] = co_await open_connection("localhost", 7);
///     for (std::string line; !(line = co_await reader.readline()).empty();) ...
///
/// Agents    Coroutines of its loop; one reads at a time (UsageError).
/// Cancel    A read that is cancelled or late takes nothing out: the next one gets it all. Late: TimeoutError.
/// Lifetime  Shares the connection with its StreamWriter. When that is closed, what has come can still be read.
/// Errors    What has come is given first; then IncompleteReadError, or what ended the connection (OSError, SSLError).
/// Cost      Asks the kernel only when what has come does not do: never holds more than twice the limit, but for readexactly and
///           read() of all. An idle one has a buffer of 4 KiB.
class StreamReader {
  public:
    using Read = sync::Awaitable<detail::ReadOp>;

    StreamReader() noexcept = default;
    StreamReader(StreamReader&&) noexcept = default;
    StreamReader& operator=(StreamReader&& other) noexcept;
    /// Closes a pipe. A connection is closed by its writer.
    ~StreamReader();

    /// As soon as there is something, up to `n` bytes; "" at the end. Without `n`: all until the end.
    [[nodiscard]] Read read(std::ptrdiff_t n = -1, Deadline deadline = forever);
    /// Up to and with the next '\n', at the end what there is. A line longer than the limit is dropped: LimitOverrunError.
    [[nodiscard]] Read readline(Deadline deadline = forever);
    /// IncompleteReadError, with what there is, when the end comes before.
    [[nodiscard]] Read readexactly(std::size_t n, Deadline deadline = forever);
    /// Up to and with a separator. IncompleteReadError at the end; LimitOverrunError leaves the data to be read otherwise.
    [[nodiscard]] Read readuntil(Separators separators = "\n", Deadline deadline = forever);
    /// The end has come and all before it was read.
    [[nodiscard]] bool at_eof() const noexcept;
    /// False for a moved-from or default one.
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(core_); }

    explicit StreamReader(std::shared_ptr<StreamCore> core) noexcept;

  private:
    friend class StreamWriter;
    [[nodiscard]] const std::shared_ptr<StreamCore>& core(const char* call) const;
    std::shared_ptr<StreamCore> core_;
};

} // namespace sennit::asyncio
