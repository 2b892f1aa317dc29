// The kernel's side of an event loop.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/loop/operation.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace sennit::loop {

/// Carries out operations and waits for the kernel. Two implementations with one behaviour: UringPoller where the kernel lets us,
/// EpollPoller everywhere.
///
/// Agents    One thread, the one that calls turn(). wake() is for any thread, and for signal handlers.
/// Blocks    turn() alone.
/// Lifetime  Outlives its operations: none is in flight when it is destroyed. forget() a descriptor before it is closed while an
///           operation on it may be in flight, and always where it is not an os::Fd that closes it.
class Poller {
  public:
    virtual ~Poller() = default;
    Poller(const Poller&) = delete;
    Poller& operator=(const Poller&) = delete;

    /// The calling thread is the one from now on; by start() or turn() otherwise. Throws OSError when another one was, and the
    /// poller can't change its thread.
    virtual void attach() {}

    /// Starts `op`. done() is called from a later moment of turn(), never in here, whatever happens.
    void start(Operation& op) noexcept {
        if (start_or_finish(op)) end(op);
    }
    /// The same; true when it could be done without waiting: `op.result` is there, and done() will not be called. Who goes on
    /// with the next one at once takes care that others get their turn, too.
    [[nodiscard]] virtual bool start_or_finish(Operation& op) noexcept = 0;
    /// Asks an operation in flight to end. done() comes all the same, from turn(): with -ECANCELED, or the result if that was
    /// quicker. Nothing for one that is not in flight.
    virtual void cancel(Operation& op) noexcept = 0;
    /// Before `fd` is closed: its operations in flight end with -ECANCELED, and what is kept about it is dropped.
    virtual void forget(int fd) noexcept = 0;

    /// Submits what was started, waits until something ended, until wake(), or the deadline; runs done() of what has
    /// ended. Does not wait while done() of something is due already.
    virtual void turn(Deadline deadline) noexcept = 0;
    /// Ends a waiting turn(); when none waits, the next one will not. From any thread; async-signal-safe.
    virtual void wake() noexcept = 0;

    /// Whether it carries out operations of this kind, one of those that repeat themselves. The kernel may refuse all the same: -EINVAL.
    [[nodiscard]] virtual bool repeats(OperationKind) const noexcept { return false; }
    /// "io_uring" or "epoll".
    [[nodiscard]] virtual const char* name() const noexcept = 0;
    /// How many operations are in flight.
    [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

  protected:
    Poller() = default;
    /// `op`, whose result is set, is put with those whose done() the next run_ended() calls.
    void end(Operation& op) noexcept {
        if (op.state_ == Operation::State::idle) ++in_flight_;
        op.state_ = Operation::State::ended;
        ended_.push_back(op);
    }
    /// Calls done() of all that had ended when it was called.
    void run_ended() noexcept;
    /// Calls done() of one that is in flight and in no list.
    void finish(Operation& op) noexcept {
        op.state_ = Operation::State::idle;
        --in_flight_;
        op.done(op);
    }

    base::IntrusiveList ended_;
    std::size_t in_flight_ = 0;
};

/// The best poller that the kernel lets us have: io_uring, or epoll with one line on stderr that says why.
/// SENNIT_POLLER=io_uring|epoll in the environment forces one. Throws UsageError when that is neither, OSError when the kernel
/// refuses.
std::unique_ptr<Poller> make_poller();

} // namespace sennit::loop
