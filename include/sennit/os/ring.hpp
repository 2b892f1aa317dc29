#pragma once

#include <sennit/base/deadline.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <sys/socket.h>
#include <sys/types.h>

struct io_uring;
struct io_uring_sqe;

namespace sennit::os {

/// Whether this library was built with io_uring.
bool ring_is_built_in() noexcept;

/// An io_uring: submissions are queued here and handed over together; completions come back with the tag they were queued with.
///
/// Agents    One thread: the one that attached itself.
/// Lifetime  What a submission points to stays until its completion is reaped.
/// Cost      Queuing: no system call while there is room. enter(): one at most.
/// Source    io_uring(7), io_uring_setup(2): SINGLE_ISSUER with DEFER_TASKRUN (Linux 6.1) where the kernel has it, COOP_TASKRUN from
///           5.19 on; older ones are refused.
class Ring {
  public:
    struct Completion {
        std::uint64_t tag = 0;
        std::int32_t result = 0; // zero or positive, or -errno
        bool more = false;       // the submission lives on
        bool nonempty = false;   // of a recv: the socket has more
    };

    /// Throws OSError: EPERM (forbidden by a container or sysctl), ENOSYS (no io_uring, or too old a one), ENOMEM.
    Ring(unsigned submissions, unsigned completions);
    ~Ring();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    /// The calling thread is the one that uses it from now on; before anything else. 0, or -errno: -EBUSY when another one does
    /// already, for a ring can't change its thread.
    int attach() noexcept;

    // Each queues one submission. False when the kernel takes nothing more for the time being: reap, then try again.
    bool recv(int fd, void* data, std::size_t bytes, int flags, bool likely_empty, std::uint64_t tag) noexcept;
    bool send(int fd, const void* data, std::size_t bytes, int flags, std::uint64_t tag) noexcept;
    bool recvmsg(int fd, msghdr* message, int flags, std::uint64_t tag) noexcept;
    bool sendmsg(int fd, const msghdr* message, int flags, std::uint64_t tag) noexcept;
    bool accept(int fd, std::uint64_t tag) noexcept;
    /// A completion for each connection, until one without `more`.
    bool accept_each(int fd, std::uint64_t tag) noexcept;
    bool connect(int fd, const void* address, std::size_t bytes, std::uint64_t tag) noexcept;
    /// `offset` -1: where the file stands, or no file at all.
    bool read(int fd, void* data, std::size_t bytes, std::int64_t offset, std::uint64_t tag) noexcept;
    bool write(int fd, const void* data, std::size_t bytes, std::int64_t offset, std::uint64_t tag) noexcept;
    bool splice(int from, std::int64_t from_offset, int to, std::size_t bytes, std::uint64_t tag) noexcept;
    /// Once, when reading (writing) would not wait.
    bool poll_in(int fd, std::uint64_t tag) noexcept;
    bool poll_out(int fd, std::uint64_t tag) noexcept;
    /// At each event that makes it readable, until a completion without `more`.
    bool watch_in(int fd, std::uint64_t tag) noexcept;
    /// Asks the submission queued with `tag` to end with -ECANCELED. Completes with `own_tag` only when there is none.
    bool cancel(std::uint64_t tag, std::uint64_t own_tag) noexcept;
    /// The same to all of them.
    bool cancel_all(std::uint64_t own_tag) noexcept;

    /// Hands over what is queued. 0 or -errno (-EBUSY: reap first).
    int submit() noexcept;
    /// The same, and waits until there is a completion to reap or the deadline has passed, or for a signal.
    void enter(Deadline deadline) noexcept;
    /// Takes up to so many completions. How many.
    std::size_t reap(std::span<Completion> completions) noexcept;

    /// False in a child of fork(): it may be destroyed there, nothing else.
    [[nodiscard]] bool is_ours() const noexcept;

  private:
    io_uring_sqe* next() noexcept;
    template <class Prepare>
    bool queue(std::uint64_t tag, Prepare prepare) noexcept;

    std::unique_ptr<io_uring> ring_;
    int pid_ = 0;             // of the process that made it
    std::int64_t thread_ = 0; // that uses it; 0: none yet
    bool one_issuer_ = false; // SINGLE_ISSUER with DEFER_TASKRUN
};

} // namespace sennit::os
