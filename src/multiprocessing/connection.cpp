// Frames, as CPython has them: 4 bytes, signed, big-endian: the length of the body; or -1, and then 8 bytes of it, unsigned.
//
// Sending and receiving are machines that never wait: step() goes on as far as the kernel lets it, and says what for it is to be
// polled. Threads poll by poll(2), coroutines through their loop. The state of a message that has come in part is the
// Connection's, so that whoever receives next goes on with it.
#include <sennit/multiprocessing/connection.hpp>

#include <sennit/base/fault_point.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/os/epoll.hpp>
#include <sennit/os/fd_passing.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/socket.hpp>
#include <sennit/os/socket_setup.hpp>
#include <sennit/sync/lock.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <netinet/in.h>
#include <netinet/tcp.h>

namespace sennit::multiprocessing {
namespace {

constexpr std::size_t first_room = 64 * 1024; // for a body, before any of it has come
constexpr std::size_t pipe_piece = 4096;      // what a pipe that is writable has room for

std::uint64_t read_big(const unsigned char* bytes, int n) {
    std::uint64_t value = 0;
    for (int i = 0; i < n; ++i) value = value << 8 | bytes[i];
    return value;
}

enum class Step : unsigned char { done, would_wait };

} // namespace

struct Connection::State {
    State(os::Fd f, bool r, bool w) noexcept
        : fd(std::move(f)), readable(r), writable(w), kind(os::kind_of(fd.get())) {}

    os::Fd fd;
    bool readable, writable;
    os::FdKind kind;
    std::size_t max_message = no_limit;
    sync::Lock sending, receiving;

    // The message that is coming in, under `receiving`.
    struct Incoming {
        unsigned char header[12];
        std::size_t header_got = 0, header_size = 4;
        std::uint64_t size = 0, got = 0;
        Message message;
    };
    Incoming in;
    [[nodiscard]] bool in_mid_message() const noexcept { return in.header_got > 0; }

    ssize_t read(void* to, std::size_t bytes) {
        if (kind == os::FdKind::other) {
            pollfd p{fd.get(), POLLIN, 0};
            if (os::poll_fds({&p, 1}, Deadline::poll()) == 0) return -EAGAIN;
            return os::read_some(fd.get(), to, bytes);
        }
        // Descriptors come with the first byte of a message, and with no other.
        if (kind == os::FdKind::unix_stream && in.header_got == 0)
            return os::recv_with_fds(fd.get(), to, bytes, in.message.fds);
        return os::recv_nowait(fd.get(), to, bytes, 0);
    }
    [[noreturn]] void refuse_length(const std::string& what) {
        readable = false; // where the next message begins nobody knows
        in = Incoming();
        if (!writable) fd.reset();
        throw CargoError("Connection: " + what + "; nothing more can be received from it");
    }
    // True: some came.
    bool read_into(void* to, std::size_t bytes, ssize_t& n) {
        n = read(to, bytes);
        if (n > 0) return true;
        if (n == -EAGAIN) return false;
        if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
            const bool within = in_mid_message();
            throw EndOfFile(within ? "Connection: the peer was gone in the middle of a message"
                                   : "Connection: the peer has closed its end, and nothing is left to receive");
        }
        throw OSError(static_cast<int>(-n), "Connection: cannot receive");
    }
    Step receive(std::size_t limit) {
        ssize_t n = 0;
        while (in.header_got < in.header_size) {
            if (!read_into(in.header + in.header_got, in.header_size - in.header_got, n)) return Step::would_wait;
            in.header_got += static_cast<std::size_t>(n);
            if (in.header_got == 4) {
                const auto length = static_cast<std::int32_t>(read_big(in.header, 4));
                if (length == -1) {
                    in.header_size = 12;
                } else if (length < 0) {
                    refuse_length("the length of a message is " + std::to_string(length) + ", which can't be");
                }
                in.size = static_cast<std::uint64_t>(length);
            }
            if (in.header_got == 12) in.size = read_big(in.header + 4, 8);
        }
        if (in.size > std::min(limit, max_message))
            refuse_length("a message has " + std::to_string(in.size) + " bytes, and may have " +
                          std::to_string(std::min(limit, max_message)));
        while (in.got < in.size) {
            CargoWriter& body = in.message.body;
            // As much room as has come already: who promises much and sends little costs little.
            const std::uint64_t room =
                std::min<std::uint64_t>(in.size, std::max<std::uint64_t>(first_room, in.got * 2));
            if (body.size() < room) body.extend(static_cast<std::size_t>(room) - body.size());
            auto* const to = const_cast<std::byte*>(body.bytes().data()) + in.got;
            if (!read_into(to, static_cast<std::size_t>(room - in.got), n)) {
                if (in.size > 16'384 &&
                    kind == os::FdKind::socket) // a Python peer waits for the acknowledgement of its header
                    os::set_socket_option(fd.get(), IPPROTO_TCP, TCP_QUICKACK, 1);
                return Step::would_wait;
            }
            in.got += static_cast<std::uint64_t>(n);
        }
        return Step::done;
    }
    Message take() {
        Message message = std::move(in.message);
        in = Incoming();
        return message;
    }
};

namespace {

// The message that goes out.
class Outgoing {
  public:
    Outgoing(std::span<const std::byte> bytes, std::span<const int> fds) : fds_(fds) {
        begin(bytes.size());
        add(bytes);
    }
    explicit Outgoing(const CargoWriter& cargo) : fds_(cargo.fds()) {
        begin(cargo.size());
        cargo.for_each_piece([this](std::span<const std::byte> piece) { add(piece); });
    }
    Outgoing(const Outgoing&) = delete;
    Outgoing& operator=(const Outgoing&) = delete;

    [[nodiscard]] bool begun() const noexcept { return begun_; }
    Step step(int fd, os::FdKind kind) {
        while (at_ < pieces_.size()) {
            ssize_t n = 0;
            if (kind == os::FdKind::other) {
                pollfd p{fd, POLLOUT, 0};
                if (os::poll_fds({&p, 1}, Deadline::poll()) == 0) return Step::would_wait;
                const os::SigpipeGuard no_signal;
                n = write_to_pipe(fd);
            } else {
                const std::size_t count = std::min<std::size_t>(pieces_.size() - at_, 64);
                n = os::send_with_fds(fd, {pieces_.data() + at_, count}, begun_ ? std::span<const int>() : fds_);
            }
            if (n == -EAGAIN) return Step::would_wait;
            if (n < 0) throw OSError(static_cast<int>(n == -ECONNRESET ? EPIPE : -n), "Connection: cannot send");
            begun_ = true;
            FAULT_POINT("connection.sent_a_part");
            for (auto left = static_cast<std::size_t>(n); left > 0;) {
                iovec& piece = pieces_[at_];
                const std::size_t gone = std::min(left, piece.iov_len);
                piece.iov_base = static_cast<char*>(piece.iov_base) + gone;
                piece.iov_len -= gone;
                left -= gone;
                if (piece.iov_len == 0) ++at_;
            }
        }
        return Step::done;
    }

  private:
    void begin(std::size_t size) {
        std::size_t n = 4;
        if (size > 0x7fff'ffff) {
            n = 12;
            std::memset(header_, 0xff, 4);
            for (std::size_t i = 0; i < 8; ++i) header_[4 + i] = static_cast<unsigned char>(size >> (56 - 8 * i));
        } else {
            for (std::size_t i = 0; i < 4; ++i) header_[i] = static_cast<unsigned char>(size >> (24 - 8 * i));
        }
        pieces_.push_back({header_, n});
    }
    void add(std::span<const std::byte> bytes) {
        if (!bytes.empty()) pieces_.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    }
    // As much as surely fits: a message that is no longer goes as a whole.
    ssize_t write_to_pipe(int fd) {
        char together[pipe_piece];
        std::size_t n = 0;
        for (std::size_t i = at_; i < pieces_.size() && n < sizeof together; ++i) {
            const std::size_t more = std::min(pieces_[i].iov_len, sizeof together - n);
            if (i == at_ && more == sizeof together)
                return os::write_nowait(fd, pieces_[i].iov_base, pieces_[i].iov_len);
            std::memcpy(together + n, pieces_[i].iov_base, more);
            n += more;
        }
        return os::write_nowait(fd, together, n);
    }

    unsigned char header_[12];
    std::vector<iovec> pieces_;
    std::size_t at_ = 0;
    std::span<const int> fds_;
    bool begun_ = false;
};

// In mid-message the stream is of no use any more: the peer is to know it.
template <class State>
class EndsUnlessWhole {
  public:
    EndsUnlessWhole(State& state, const Outgoing& out) noexcept : state_(state), out_(out) {}
    ~EndsUnlessWhole() {
        if (whole || !out_.begun()) return;
        state_.writable = false;
        if (state_.kind == os::FdKind::other)
            state_.fd.reset();
        else
            os::shutdown_write(state_.fd.get());
    }
    EndsUnlessWhole(const EndsUnlessWhole&) = delete;
    EndsUnlessWhole& operator=(const EndsUnlessWhole&) = delete;
    bool whole = false;

  private:
    State& state_;
    const Outgoing& out_;
};

[[noreturn]] void throw_late(const char* call) {
    throw TimeoutError(std::string("Connection.") + call + ": timed out");
}

void poll_one(int fd, short events, Deadline deadline, const char* call) {
    pollfd p{fd, events, 0};
    const int n = os::poll_fds({&p, 1}, deadline);
    if (n < 0) throw OSError(-n, "Connection: cannot poll");
    if (n == 0) throw_late(call);
}

class Holds {
  public:
    Holds(sync::Lock& lock, Deadline deadline, const char* call) : lock_(lock) {
        if (!lock.acquire(true, deadline)) throw_late(call);
    }
    ~Holds() { lock_.release_noexcept(); }
    Holds(const Holds&) = delete;
    Holds& operator=(const Holds&) = delete;

  private:
    sync::Lock& lock_;
};
class Releases { // the same, once it is held
  public:
    explicit Releases(sync::Lock& lock) noexcept : lock_(lock) {}
    ~Releases() { lock_.release_noexcept(); }
    Releases(const Releases&) = delete;
    Releases& operator=(const Releases&) = delete;

  private:
    sync::Lock& lock_;
};

} // namespace

os::Fd DupFd::detach() {
    if (!owned_)
        throw InvalidStateError("DupFd.detach: there is no descriptor here that has arrived, or it was taken already");
    return std::move(owned_);
}

DupFd DupFd::unpack(CargoReader& from) {
    DupFd fd(-1);
    fd.owned_ = from.take_fd();
    return fd;
}

Connection::Connection() noexcept = default;
Connection::Connection(os::Fd fd, bool readable, bool writable) {
    if (!fd) throw UsageError("Connection: there is no descriptor in what it is made of; pass an open one");
    if (!readable && !writable) throw UsageError("Connection: it must be readable or writable, or both");
    state_ = std::make_unique<State>(std::move(fd), readable, writable);
    if (state_->kind == os::FdKind::socket && os::is_tcp(state_->fd.get()))
        os::set_socket_option(state_->fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
}
Connection::Connection(Connection&& other) noexcept = default;
Connection& Connection::operator=(Connection&& other) noexcept = default;
Connection::~Connection() = default;

void Connection::close() noexcept { state_.reset(); }

Connection::State& Connection::open_for(bool writing) const {
    if (!state_) throw UsageError("Connection: it was closed here; make another one");
    if (writing && !state_->writable)
        throw UsageError(
            "Connection: it can't send: it is the receiving end of a Pipe(false), or a send was broken off in "
            "the middle of a message; use the other end");
    if (!writing && !state_->readable)
        throw UsageError(
            "Connection: it can't receive: it is the sending end of a Pipe(false), or what came was no message; use "
            "the other end");
    return *state_;
}

int Connection::fileno() const {
    if (!state_ || !state_->fd) throw UsageError("Connection.fileno: it was closed here");
    return state_->fd.get();
}
bool Connection::readable() const noexcept { return state_ && state_->readable; }
bool Connection::writable() const noexcept { return state_ && state_->writable; }
std::size_t Connection::max_message() const { return state_ ? state_->max_message : 0; }
void Connection::set_max_message(std::size_t bytes) {
    if (!state_) throw UsageError("Connection: it was closed here; make another one");
    state_->max_message = bytes;
}

namespace {
void check_fds(const CargoWriter& cargo, os::FdKind kind) {
    if (!cargo.fds().empty() && kind != os::FdKind::unix_stream)
        throw UsageError(
            "Connection.send: the object has descriptors or shared memory in it, which only travel over Unix sockets: "
            "use Pipe(), or Listener and Client with a path");
}
} // namespace

void Connection::send_cargo(const CargoWriter& cargo, Deadline deadline) {
    State& s = open_for(true);
    check_fds(cargo, s.kind);
    const Holds held(s.sending, deadline, "send");
    open_for(true);
    Outgoing out(cargo);
    EndsUnlessWhole end(s, out);
    while (out.step(s.fd.get(), s.kind) == Step::would_wait) poll_one(s.fd.get(), POLLOUT, deadline, "send");
    end.whole = true;
}

void Connection::send_bytes(std::span<const std::byte> bytes, Deadline deadline) {
    State& s = open_for(true);
    const Holds held(s.sending, deadline, "send_bytes");
    open_for(true);
    Outgoing out(bytes, {});
    EndsUnlessWhole end(s, out);
    while (out.step(s.fd.get(), s.kind) == Step::would_wait) poll_one(s.fd.get(), POLLOUT, deadline, "send_bytes");
    end.whole = true;
}

Message Connection::recv_message(Deadline deadline) {
    State& s = open_for(false);
    const Holds held(s.receiving, deadline, "recv");
    open_for(false);
    while (s.receive(no_limit) == Step::would_wait) poll_one(s.fd.get(), POLLIN, deadline, "recv");
    return s.take();
}

std::vector<std::byte> Connection::recv_bytes(std::size_t maxlength, Deadline deadline) {
    State& s = open_for(false);
    const Holds held(s.receiving, deadline, "recv_bytes");
    open_for(false);
    while (s.receive(maxlength) == Step::would_wait) poll_one(s.fd.get(), POLLIN, deadline, "recv_bytes");
    Message message = s.take();
    const auto bytes = message.bytes();
    return {bytes.begin(), bytes.end()};
}

namespace {
std::size_t copy_into(Message message, std::span<std::byte> buffer) {
    const auto bytes = message.bytes();
    if (bytes.size() > buffer.size()) throw BufferTooShort(buffer.size(), {bytes.begin(), bytes.end()});
    if (!bytes.empty()) std::memcpy(buffer.data(), bytes.data(), bytes.size());
    return bytes.size();
}
} // namespace

std::size_t Connection::recv_bytes_into(std::span<std::byte> buffer, Deadline deadline) {
    return copy_into(recv_message(deadline), buffer);
}

bool Connection::poll(Deadline deadline) {
    State& s = open_for(false);
    pollfd p{s.fd.get(), POLLIN, 0};
    const int n = os::poll_fds({&p, 1}, deadline);
    if (n < 0) throw OSError(-n, "Connection.poll: cannot poll");
    return n > 0;
}

asyncio::Coro<void> Connection::async_send_cargo(CargoWriter cargo, Deadline deadline) {
    State& s = open_for(true);
    check_fds(cargo, s.kind);
    const bool held = co_await s.sending.async_acquire(true, deadline);
    if (!held) throw_late("send");
    const Releases releases(s.sending);
    open_for(true);
    Outgoing out(cargo);
    EndsUnlessWhole end(s, out);
    while (out.step(s.fd.get(), s.kind) == Step::would_wait) co_await loop::wait_writable(s.fd.get(), deadline);
    end.whole = true;
}

asyncio::Coro<void> Connection::async_send_bytes(std::span<const std::byte> bytes, Deadline deadline) {
    CargoWriter cargo;
    cargo.write(bytes.data(), bytes.size());
    return async_send_cargo(std::move(cargo), deadline);
}

asyncio::Coro<Message> Connection::async_recv_message(Deadline deadline) {
    State& s = open_for(false);
    const bool held = co_await s.receiving.async_acquire(true, deadline);
    if (!held) throw_late("recv");
    const Releases releases(s.receiving);
    open_for(false);
    while (s.receive(no_limit) == Step::would_wait) co_await loop::wait_readable(s.fd.get(), deadline);
    co_return s.take();
}

asyncio::Coro<std::vector<std::byte>> Connection::async_recv_bytes(std::size_t maxlength, Deadline deadline) {
    State& s = open_for(false);
    const bool held = co_await s.receiving.async_acquire(true, deadline);
    if (!held) throw_late("recv_bytes");
    const Releases releases(s.receiving);
    open_for(false);
    while (s.receive(maxlength) == Step::would_wait) co_await loop::wait_readable(s.fd.get(), deadline);
    Message message = s.take();
    const auto bytes = message.bytes();
    std::vector<std::byte> result(bytes.begin(), bytes.end());
    co_return result;
}

asyncio::Coro<std::size_t> Connection::async_recv_bytes_into(std::span<std::byte> buffer, Deadline deadline) {
    Message message = co_await async_recv_message(deadline);
    co_return copy_into(std::move(message), buffer);
}

asyncio::Coro<bool> Connection::async_poll(Deadline deadline) {
    State& s = open_for(false);
    if (poll()) co_return true;
    if (deadline.is_poll()) co_return false;
    try {
        co_await loop::wait_readable(s.fd.get(), deadline);
    } catch (const TimeoutError&) {
        co_return false;
    }
    co_return true;
}

void Connection::pack(CargoWriter& to) const {
    if (!state_ || !state_->fd) throw UsageError("Connection: one that is closed can't be sent");
    if (state_->in_mid_message())
        throw UsageError("Connection: it can't be sent while a message has come in part; receive that first");
    to.attach(state_->fd.get());
    to.write_raw(static_cast<std::uint8_t>((state_->readable ? 1 : 0) | (state_->writable ? 2 : 0)));
    to.write_raw(static_cast<std::uint64_t>(state_->max_message));
}

Connection Connection::unpack(CargoReader& from) {
    os::Fd fd = from.take_fd();
    const auto directions = from.read_raw<std::uint8_t>();
    if (directions < 1 || directions > 3) detail::refuse_value("the directions of a connection", directions);
    Connection connection(std::move(fd), (directions & 1) != 0, (directions & 2) != 0);
    connection.set_max_message(static_cast<std::size_t>(from.read_raw<std::uint64_t>()));
    return connection;
}

std::pair<Connection, Connection> Pipe(bool duplex) {
    if (duplex) {
        auto [a, b] = os::make_socket_pair();
        // As Python has them: who gets an end may not know how to wait for one that does not block.
        os::set_nonblocking(a.get(), false);
        os::set_nonblocking(b.get(), false);
        return {Connection(std::move(a)), Connection(std::move(b))};
    }
    os::Pipe pipe = os::make_pipe();
    return {Connection(std::move(pipe.read_end), true, false), Connection(std::move(pipe.write_end), false, true)};
}

namespace connection {
namespace {

std::vector<Waitable> ready(const std::vector<Waitable>& objects, std::vector<pollfd>& polled, Deadline deadline) {
    polled.clear();
    for (const Waitable& one : objects) {
        if (one.fileno() < 0)
            throw UsageError("connection.wait: " + std::to_string(one.fileno()) + " is no descriptor: is it closed?");
        polled.push_back({one.fileno(), POLLIN, 0});
    }
    const int n = os::poll_fds(polled, deadline);
    if (n < 0) throw OSError(-n, "connection.wait: cannot poll");
    std::vector<Waitable> result;
    for (std::size_t i = 0; i < polled.size(); ++i) {
        if ((polled[i].revents & POLLNVAL) != 0)
            throw OSError(EBADF, "connection.wait: descriptor " + std::to_string(polled[i].fd));
        if (polled[i].revents != 0) result.push_back(objects[i]);
    }
    return result;
}

} // namespace

std::vector<Waitable> wait(const std::vector<Waitable>& objects, Deadline deadline) {
    std::vector<pollfd> polled;
    return ready(objects, polled, deadline);
}

asyncio::Coro<std::vector<Waitable>> async_wait(std::vector<Waitable> objects, Deadline deadline) {
    std::vector<pollfd> polled;
    auto result = ready(objects, polled, Deadline::poll());
    if (!result.empty() || deadline.is_poll() || objects.empty()) co_return result;
    // An epoll instance is ready when one of those in it is.
    const os::Epoll all;
    for (const Waitable& one : objects) {
        const int error = all.add(one.fileno(), EPOLLIN, 0);
        if (error != 0 && error != EEXIST)
            throw OSError(error, "connection.wait: descriptor " + std::to_string(one.fileno()));
    }
    try {
        co_await loop::wait_readable(all.fd(), deadline);
    } catch (const TimeoutError&) {}
    co_return ready(objects, polled, Deadline::poll());
}

} // namespace connection
} // namespace sennit::multiprocessing
