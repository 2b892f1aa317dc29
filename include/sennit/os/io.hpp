// Reading from and writing to descriptors: EINTR, SIGPIPE and errno end here.
#pragma once

#include <sennit/os/fd.hpp>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <sys/types.h>

namespace sennit::os {

/// read(2), repeated after a signal. Gives the number of bytes, 0 at the end, or -errno.
ssize_t read_some(int fd, void* buffer, std::size_t bytes) noexcept;

/// write(2), repeated after a signal. Gives the number of bytes (maybe fewer than asked) or -errno.
ssize_t write_some(int fd, const void* data, std::size_t bytes) noexcept;

/// Writes what a pipe takes without waiting, even if the descriptor is a blocking one; -EAGAIN when it takes nothing.
/// Only when poll has said that it is writable: before Linux 6.4 it then writes up to 4,096 bytes, which a pipe that is
/// writable has room for if nobody else writes to it.
ssize_t write_nowait(int fd, const void* data, std::size_t bytes) noexcept;

/// pread(2) and pwrite(2), repeated after a signal. Bytes or -errno.
ssize_t pread_some(int fd, void* buffer, std::size_t bytes, std::int64_t offset) noexcept;
/// pread_some() of what is in memory already; -EAGAIN when the disk would have to be asked, or the kernel can't tell.
ssize_t pread_nowait(int fd, void* buffer, std::size_t bytes, std::int64_t offset) noexcept;
ssize_t pwrite_some(int fd, const void* data, std::size_t bytes, std::int64_t offset) noexcept;

/// /dev/null, for reading and writing, close-on-exec. Throws OSError.
Fd open_null();

/// make_pipe() with numbers of at least 3, so that the ends never take the place of a closed standard stream.
Pipe make_pipe_above_standard_streams();

/// Sets the capacity of a pipe (F_SETPIPE_SZ; the kernel rounds up). Throws OSError.
void set_pipe_bytes(int fd, int bytes);

/// While it lives, writing to a pipe or socket that nobody reads gives EPIPE to this thread and no SIGPIPE, whatever the
/// process does with that signal; the process's disposition is not touched.
///
/// Agents    One thread: the one that made it.
/// Cost      Three system calls.
/// Source    The kernel sends SIGPIPE to the writing thread: block, write, take the pending one away (sigtimedwait).
class SigpipeGuard {
  public:
    SigpipeGuard() noexcept;
    ~SigpipeGuard();
    SigpipeGuard(const SigpipeGuard&) = delete;
    SigpipeGuard& operator=(const SigpipeGuard&) = delete;

  private:
    sigset_t before_;
    bool was_pending_;
};

} // namespace sennit::os
