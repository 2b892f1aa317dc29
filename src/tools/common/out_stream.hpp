#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <sys/types.h>

namespace sennit::tools {

/// Standard output or error, written without ever stopping the event loop for a reader that is slow.
///
/// O_NONBLOCK belongs to what is open, not to the descriptor: setting it on standard output would set it for the shell and for
/// every other program of the pipeline too. So a pipe or terminal is opened anew through /proc, and the copy is made
/// non-blocking; a socket is sent to with MSG_DONTWAIT; a file never blocks; and what can be none of these is asked by
/// poll() first and then given no more than a pipe surely takes.
///
/// Lifetime  `fd` stays the caller's and open.
class OutStream {
  public:
    explicit OutStream(int fd) noexcept;

    /// How many bytes were taken, 0 if none can be taken now, or -errno.
    ssize_t write(const char* from, std::size_t bytes) noexcept;
    /// What to wait for with EPOLLOUT after write() gave 0.
    [[nodiscard]] int wait_fd() const noexcept { return reopened_ ? reopened_.get() : fd_; }
    [[nodiscard]] bool is_terminal() const noexcept { return terminal_; }

  private:
    enum class Kind : unsigned char { file, reopened, socket, polled };
    int fd_;
    Kind kind_ = Kind::file;
    bool terminal_ = false;
    os::Fd reopened_;
};

} // namespace sennit::tools
