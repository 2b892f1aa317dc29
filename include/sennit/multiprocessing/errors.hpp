// What multiprocessing throws besides sennit's common errors.
#pragma once

#include <sennit/base/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sennit::multiprocessing {

/// An exception of another process, of a type that is not known here; and what goes along, nested, with one whose type is.
/// Python: multiprocessing.pool.RemoteTraceback, managers.RemoteError
///
///     try {
///         result.get();
///     } catch (const std::out_of_range& e) {          // as the worker threw it
///         if (auto remote = remote_cause(e)) log(remote->stack());
///     }
class RemoteError : public Error {
  public:
    /// `type` and `message` as the exception had them there; `stack`: a line a call, or empty.
    RemoteError(std::string type, std::string message, int pid, std::string stack);
    [[nodiscard]] const std::string& type() const noexcept { return details_->type; }
    [[nodiscard]] const std::string& message() const noexcept { return details_->message; }
    /// The process that threw it.
    [[nodiscard]] int pid() const noexcept { return details_->pid; }
    [[nodiscard]] const std::string& stack() const noexcept { return details_->stack; }

  private:
    struct Details {
        std::string type, message, stack;
        int pid;
    };
    std::shared_ptr<const Details> details_; // shared: copying an exception must not throw
};

/// Where an exception came from, if it came from another process.
std::optional<RemoteError> remote_cause(const std::exception& error);
std::optional<RemoteError> remote_cause(const std::exception_ptr& error);

/// How a worker ended.
struct WorkerDeath {
    int pid = 0;
    /// Its exit code, or -N when signal N ended it.
    int exitcode = 0;
    bool core_dumped = false;
    /// The number of the job that it was about, if there was one, and the how manieth attempt (from 1).
    std::optional<std::uint64_t> task;
    std::uint32_t attempt = 1;
    /// Why somebody ended it, if that is known: "it took longer than its time-out of 2 s".
    std::string reason;
    /// Where it stood, a line a call, where it could be had.
    std::string stack;
};

/// The process that ran the job ended before the job did.      Python: concurrent.futures.process.BrokenProcessPool, of one job
class WorkerDied : public Error {
  public:
    explicit WorkerDied(WorkerDeath death);
    [[nodiscard]] const WorkerDeath& death() const noexcept { return *death_; }
    [[nodiscard]] int pid() const noexcept { return death_->pid; }
    /// Python's: -N when signal N ended it.
    [[nodiscard]] int exitcode() const noexcept { return death_->exitcode; }
    /// The signal that ended it, or 0.
    [[nodiscard]] int signal() const noexcept { return death_->exitcode < 0 ? -death_->exitcode : 0; }
    [[nodiscard]] bool core_dumped() const noexcept { return death_->core_dumped; }
    [[nodiscard]] std::optional<std::uint64_t> task() const noexcept { return death_->task; }
    [[nodiscard]] const std::string& stack() const noexcept { return death_->stack; }

  private:
    std::shared_ptr<const WorkerDeath> death_;
};

/// The peer does not have the key, or does not say so in the right way.      Python: AuthenticationError
class AuthenticationError : public Error {
  public:
    using Error::Error;
};

/// The message is longer than the buffer for it. It has been taken: here it is.      Python: BufferTooShort
class BufferTooShort : public Error {
  public:
    BufferTooShort(std::size_t buffer_bytes, std::vector<std::byte> message);
    /// The whole message.
    [[nodiscard]] const std::vector<std::byte>& message() const noexcept { return *message_; }
    [[nodiscard]] std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }

  private:
    std::size_t buffer_bytes_;
    std::shared_ptr<const std::vector<std::byte>> message_;
};

/// Nothing comes any more: the other end is closed.      Python: EOFError
class EndOfFile : public Error {
  public:
    using Error::Error;
};

/// Bytes that are not what was to come: too few of them, or a length, a number or a kind that can't be.
/// Python: pickle.UnpicklingError
class CargoError : public Error {
  public:
    using Error::Error;
};

} // namespace sennit::multiprocessing
