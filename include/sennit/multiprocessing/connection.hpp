// One end of a stream of messages.      Python: multiprocessing.Pipe, multiprocessing.connection
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/errors.hpp>
#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sennit::multiprocessing {

/// A descriptor to be sent inside an object.      Python: multiprocessing.reduction.DupFd
class DupFd {
  public:
    /// A copy of it goes along; `fd` stays the caller's, and open until the object has been sent.
    explicit DupFd(int fd) noexcept : borrowed_(fd) {}
    /// What has arrived. Once. Throws InvalidStateError when there is none.
    os::Fd detach();
    void pack(CargoWriter& to) const { to.attach(owned_ ? owned_.get() : borrowed_); }
    static DupFd unpack(CargoReader& from);

  private:
    int borrowed_;
    os::Fd owned_;
};

/// A message that has come.
class Message {
  public:
    [[nodiscard]] std::span<const std::byte> bytes() { return body.bytes(); }
    /// The object that was sent. Throws CargoError when it is no T.
    template <class T>
    T get() {
        CargoReader from(body.bytes(), std::move(fds));
        T value = unpack<T>(from);
        from.check_end();
        return value;
    }
    CargoWriter body;
    std::vector<os::Fd> fds;
};

/// One end of a stream of messages: objects, or bytes.      Python: multiprocessing.connection.Connection
///
///     auto [here, there] = Pipe();
///     here.send(Order{"nails", 3});
///     auto order = there.recv<Order>();
///
/// A message is a length and so many bytes, as CPython has it: with the functions that have `bytes` in their name the peer may be
/// Python. Objects may have shared objects, connections and descriptors in them where this is a Unix socket: Pipe(), and
/// Listener and Client with a path.
///
/// Agents    Several may send and several receive at the same time, threads and coroutines mixed: messages never mix. close() by
///           one, when no other uses it.
/// Blocks    Threads in send, recv and poll; the async_ twins suspend the coroutine.
/// Order     Messages come in the order in which they were sent.
/// Cancel    A receive that is cancelled, or times out in mid-message, loses nothing: the next one goes on with it. A send that is,
///           in mid-message, ends the stream: the peer gets EndOfFile.
/// Errors    EndOfFile when the peer is gone, also in mid-message; OSError (EPIPE) for a send then; TimeoutError; UsageError after
///           close(), for the wrong direction, and for descriptors where they can't be sent; CargoError for what is no such
///           object, and for a length that is none or above max_message(): then nothing more can be received.
/// Cost      One system call a send, two a receive, and one more each time there is nothing. Large ranges of numbers are not copied.
/// Source    CPython 3.13, Lib/multiprocessing/connection.py.
class Connection {
  public:
    /// None: as after close().
    Connection() noexcept;
    /// Takes over an end of a stream socket or of a pipe, as they are: no flag is changed.
    explicit Connection(os::Fd fd, bool readable = true, bool writable = true);
    Connection(Connection&& other) noexcept;
    Connection& operator=(Connection&& other) noexcept;
    ~Connection();

    template <class T>
    void send(const T& object, Deadline deadline = forever) {
        CargoWriter cargo(CargoWriter::Ranges::lend);
        multiprocessing::pack(cargo, object);
        send_cargo(cargo, deadline);
    }
    template <class T>
    T recv(Deadline deadline = forever) {
        return recv_message(deadline).template get<T>();
    }
    void send_bytes(std::span<const std::byte> bytes, Deadline deadline = forever);
    void send_bytes(std::string_view bytes, Deadline deadline = forever) {
        send_bytes(std::as_bytes(std::span(bytes)), deadline);
    }
    std::vector<std::byte> recv_bytes(Deadline deadline = forever) { return recv_bytes(no_limit, deadline); }
    /// At most `maxlength` bytes: see Errors.
    std::vector<std::byte> recv_bytes(std::size_t maxlength, Deadline deadline = forever);
    /// How many bytes the message had. Throws BufferTooShort, which has the message, when it does not fit.
    std::size_t recv_bytes_into(std::span<std::byte> buffer, Deadline deadline = forever);
    /// Whether there is something to receive, EndOfFile included, by the deadline; by default at once.
    bool poll(Deadline deadline = Deadline::poll());

    /// The same for coroutines. What is sent is packed, or copied, before the call returns.
    template <class T>
    asyncio::Coro<void> async_send(const T& object, Deadline deadline = forever) {
        CargoWriter cargo;
        multiprocessing::pack(cargo, object);
        return async_send_cargo(std::move(cargo), deadline);
    }
    template <class T>
    asyncio::Coro<T> async_recv(Deadline deadline = forever) {
        Message message = co_await async_recv_message(deadline);
        co_return message.get<T>();
    }
    asyncio::Coro<void> async_send_bytes(std::span<const std::byte> bytes, Deadline deadline = forever);
    asyncio::Coro<void> async_send_bytes(std::string_view bytes, Deadline deadline = forever) {
        return async_send_bytes(std::as_bytes(std::span(bytes)), deadline);
    }
    asyncio::Coro<std::vector<std::byte>> async_recv_bytes(std::size_t maxlength = no_limit,
                                                           Deadline deadline = forever);
    asyncio::Coro<std::size_t> async_recv_bytes_into(std::span<std::byte> buffer, Deadline deadline = forever);
    asyncio::Coro<bool> async_poll(Deadline deadline = Deadline::poll());

    /// Cargo that was packed before; a message as it came.
    void send_cargo(const CargoWriter& cargo, Deadline deadline = forever);
    Message recv_message(Deadline deadline = forever);
    asyncio::Coro<void> async_send_cargo(CargoWriter cargo, Deadline deadline = forever);
    asyncio::Coro<Message> async_recv_message(Deadline deadline = forever);

    /// Twice is as once.
    void close() noexcept;
    [[nodiscard]] bool closed() const noexcept { return state_ == nullptr; }
    /// Throws UsageError after close().
    [[nodiscard]] int fileno() const;
    [[nodiscard]] bool readable() const noexcept;
    [[nodiscard]] bool writable() const noexcept;
    /// The longest message that is received: no limit for a Pipe, 256 MiB over Listener and Client. Memory is taken as bytes come.
    [[nodiscard]] std::size_t max_message() const;
    void set_max_message(std::size_t bytes);
    static constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

    /// A copy of the descriptor: another handle of this end. Throws UsageError in mid-message.
    void pack(CargoWriter& to) const;
    static Connection unpack(CargoReader& from);

  private:
    struct State;
    State& open_for(bool writing) const;
    std::unique_ptr<State> state_;
};

/// Two connected ends. Duplex: both send and receive; else the first receives and the second sends. Throws OSError.
std::pair<Connection, Connection> Pipe(bool duplex = true);

namespace connection {

using multiprocessing::Connection;
using multiprocessing::Pipe;

/// What wait() waits for: a Connection, a Listener, a Process's sentinel, or another descriptor.
class Waitable {
  public:
    Waitable(int fd) noexcept : fd_(fd) {} // NOLINT(google-explicit-constructor)
    template <class T>
    requires requires(const T& t) {
        { t.fileno() } -> std::convertible_to<int>;
    }
    Waitable(const T& object) : fd_(object.fileno()) {} // NOLINT(google-explicit-constructor)
    [[nodiscard]] int fileno() const noexcept { return fd_; }
    friend bool operator==(Waitable, Waitable) = default;

  private:
    int fd_;
};

/// Those from which one can receive (or accept; which have ended), in their order; none at the deadline.
/// Throws OSError; UsageError for what is closed.
std::vector<Waitable> wait(const std::vector<Waitable>& objects, Deadline deadline = forever);
asyncio::Coro<std::vector<Waitable>> async_wait(std::vector<Waitable> objects, Deadline deadline = forever);

} // namespace connection
} // namespace sennit::multiprocessing
