#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/os/fd.hpp>

#include <cstddef>
#include <string_view>
#include <utility>

namespace sennit::subprocess {

/// The end of a pipe that one writes a child's input to.      Python: Popen.stdin
///
/// Nothing is buffered, so nothing needs a flush; the child sees the end of its input at close(). To write much while the
/// child answers, take Popen::communicate(): a child whose output nobody reads stops reading one day, and both wait.
///
/// Agents    One at a time. Blocks: the OS thread, until the deadline. Errors: OSError, with EPIPE when the child no longer
///           reads (never SIGPIPE, whatever the process does with that signal); UsageError after close().
class PipeWriter {
  public:
    PipeWriter() noexcept = default;
    explicit PipeWriter(os::Fd fd) noexcept : fd_(std::move(fd)) {}

    /// Writes all of `data`. Gives the number of bytes written: fewer only when the deadline came first.
    std::size_t write(std::string_view data, Deadline deadline = forever);

    /// The end of the child's input. Twice: nothing.
    void close() noexcept { fd_.reset(); }
    [[nodiscard]] bool closed() const noexcept { return !fd_; }
    int fileno() const;

  private:
    friend class Popen;
    os::Fd fd_;
};

} // namespace sennit::subprocess
