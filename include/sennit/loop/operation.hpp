// One input or output in flight.
#pragma once

#include <sennit/base/intrusive_list.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace sennit::loop {

/// What an Operation does. `data` and `size` are the buffer where nothing else is said; a result is the number of bytes.
enum class OperationKind : std::uint8_t {
    poll_in,     // until reading would not wait; result 0
    poll_out,    // until writing would not wait; result 0
    read,        // a pipe, a terminal, an eventfd …: read(2)
    write,       // write(2), with no SIGPIPE where the kernel can do without
    recv,        // a socket; `flags` are those of recv(2)
    send,        // never SIGPIPE
    recvmsg,     // `data` is a msghdr
    sendmsg,     // `data` is a msghdr
    accept,      // a listening socket; the result is a new socket, non-blocking, close-on-exec
    accept_each, // the same until it is cancelled: a RepeatedOperation, where Poller::repeats() says so
    connect,     // `data`, `size` are the sockaddr; result 0
    file_read,   // a regular file at `offset`; does not stop the loop
    file_write,  // a regular file at `offset`; does not stop the loop
    sendfile,    // from the file `other` at `offset` to the socket `fd`
    splice,      // from `other` to `fd`, one of them a pipe; from `offset` on unless that is -1
};

/// One input or output, in the frame of who waits for it.
///
/// Agents    The thread of the loop.
/// Lifetime  From Poller::start() until done(): the operation, its buffer, and what `data` points to stay where they are; the kernel
///           may write to them.
/// Cancel    Poller::cancel(); done() comes all the same, with -ECANCELED, or with the result if that was quicker.
class Operation : public base::ListNode {
  public:
    using Kind = OperationKind;
    using Done = void (*)(Operation&) noexcept;

    Operation(Kind kind, int fd, Done done) noexcept : done(done), fd(fd), kind(kind) {}
    Operation(Kind kind, int fd, void* data, std::size_t size, Done done) noexcept
        : done(done), data(data), size(size), fd(fd), kind(kind) {}
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    /// Called on the loop's thread, from Poller::turn(), once, as the poller's last touch. May start, cancel and destroy
    /// operations, this one included.
    Done done;
    void* data = nullptr;
    std::size_t size = 0;
    std::int64_t offset = 0;
    int fd;
    int other = -1; // of sendfile and splice: where from
    int flags = 0;
    /// Zero or positive: what the kernel said; negative: -errno.
    std::int32_t result = 0;
    Kind kind;

    /// Whether a poller has it: done() is to come.
    [[nodiscard]] bool in_flight() const noexcept { return state_ != State::idle; }

  private:
    friend class Poller;
    friend class EpollPoller;
    friend class UringPoller;
    enum class State : std::uint8_t {
        idle,    // nobody's
        waiting, // the kernel has it, or the descriptor's queue
        ended,   // in the list of those whose done() is to be called
    };
    State state_ = State::idle;
    std::uint8_t step_ = 0; // the poller's own
    bool cancelled_ = false;
};

/// One that brings many results, until it is cancelled or fails: one submission for all of them.
///
/// Each result is handed to arrived(), in Poller::turn() or forget(): it keeps what came and does nothing else. done() follows from
/// turn(), once for some results; in_flight() then tells whether more may come. When none does, `result` says why: -errno.
class RepeatedOperation : public Operation {
  public:
    using Arrived = void (*)(RepeatedOperation&, std::int32_t result) noexcept;
    RepeatedOperation(Kind kind, int fd, Arrived arrived, Done done) noexcept
        : Operation(kind, fd, done), arrived(arrived) {
        told_.op = this;
    }
    Arrived arrived;

  private:
    friend class UringPoller;
    struct Told : base::ListNode {
        RepeatedOperation* op = nullptr;
    };
    Told told_; // linked: results have come, done() is to be called
};

} // namespace sennit::loop
