#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/os/fd.hpp>

#include <cstdint>
#include <span>
#include <sys/epoll.h>

namespace sennit::os {

/// An epoll instance: waits for many descriptors at once.                    Python: select.epoll
///
/// Agents    One waits; add, modify and remove may be called beside it.
/// Lifetime  A descriptor leaves by itself when its last copy is closed.
/// Cost      One system call each. wait() reads no clock but for a deadline that is neither forever nor a poll.
/// Source    epoll(7), epoll_pwait2(2).
class Epoll {
  public:
    /// Throws OSError.
    Epoll();

    /// Watches `fd`; `tag` comes back with its events. Returns 0, or an errno: EPERM for what is always ready (a regular
    /// file, /dev/null), ENOSPC, ENOMEM.
    int add(int fd, std::uint32_t events, std::uint64_t tag) const noexcept;
    int modify(int fd, std::uint32_t events, std::uint64_t tag) const noexcept;
    int remove(int fd) const noexcept;

    /// Waits until something is ready or the deadline has passed. How many of `events` are filled in; 0 at the deadline;
    /// -errno on failure. Signals do not end the wait.
    /// Blocks    The OS thread. Wakes no earlier than the deadline; on kernels before 5.11 up to 1 ms later.
    int wait(std::span<epoll_event> events, Deadline deadline) const noexcept;

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

  private:
    Fd fd_;
};

} // namespace sennit::os
