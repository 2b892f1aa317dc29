// Every exception that sennit throws by itself. Each text says what, where, and what to do.
#pragma once

#include <stdexcept>
#include <string>

namespace sennit {

/// The root of sennit's errors.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A call that owes a value did not get it by its deadline.      Python: TimeoutError
class TimeoutError : public Error {
  public:
    explicit TimeoutError(const std::string& what = "timed out") : Error(what) {}
};

/// The agent that waits was cancelled.                           Python: asyncio.CancelledError
class CancelledError : public Error {
  public:
    explicit CancelledError(const std::string& what = "cancelled") : Error(what) {}
};

/// The object is not in a state that allows the call.            Python: asyncio.InvalidStateError
class InvalidStateError : public Error {
  public:
    using Error::Error;
};

/// The barrier is broken: somebody timed out, aborted it, or its action threw.   Python: threading.BrokenBarrierError
class BrokenBarrierError : public Error {
  public:
    explicit BrokenBarrierError(const std::string& what = "the barrier is broken; reset() makes it usable again")
        : Error(what) {}
};

/// An executor can run nothing any more.                         Python: concurrent.futures.BrokenExecutor
class BrokenExecutor : public Error {
  public:
    using Error::Error;
};

/// The operating system refused something. `code()` is the errno; the text names the call and what it was about.
/// Python: OSError
class OSError : public Error {
  public:
    OSError(int code, const std::string& what_and_where);
    /// The errno value.
    [[nodiscard]] int code() const noexcept { return code_; }

  private:
    int code_;
};

/// The library was used in a way that can't be right; the text says what to do instead. A bug in the caller, hence a
/// std::logic_error and not an Error.
class UsageError : public std::logic_error {
  public:
    using std::logic_error::logic_error;
};

namespace queue {

/// get without waiting, or till its deadline, found nothing.     Python: queue.Empty
class Empty : public Error {
  public:
    explicit Empty(const std::string& what = "the queue is empty") : Error(what) {}
};
/// put without waiting, or till its deadline, found no room.     Python: queue.Full
class Full : public Error {
  public:
    explicit Full(const std::string& what = "the queue is full") : Error(what) {}
};
/// The queue was shut down.                                      Python: queue.ShutDown
class ShutDown : public Error {
  public:
    explicit ShutDown(const std::string& what = "the queue is shut down") : Error(what) {}
};

} // namespace queue
} // namespace sennit
