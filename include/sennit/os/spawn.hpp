// Starting a program: the one way in which sennit does it.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/os/fd.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace sennit::os {

/// One descriptor that the child gets: the parent's `from` becomes the child's `to`.
/// Any combination is right, also swaps (1 -> 2, 2 -> 1) and sources among 0-2.
struct FdMapping {
    int from;
    int to;
};

/// Who a child is, as it writes into memory that others read: pid << 32 | number of its pidfd + 1. 0: nobody. No number, only
/// a pid, comes from a child that does not share the parent's memory. See OrphanGuard::place.
using ChildNote = volatile std::uint64_t;

/// What to start, and how. Strings and arrays are the caller's and must live until spawn() returns.
struct SpawnRequest {
    /// The file to execute; when it has no '/', it is looked up in the PATH of `envp` (as posix_spawnp and Python do).
    const char* file = nullptr;
    /// Null-terminated, argv[0] included.
    const char* const* argv = nullptr;
    /// Null-terminated; nullptr: the parent's environment.
    const char* const* envp = nullptr;
    /// The child's working directory; nullptr: the parent's.
    const char* cwd = nullptr;
    std::span<const FdMapping> fds{};
    /// Everything but 0-2 and the targets of `fds` is closed in the child (it is close-on-exec anyway when sennit made it).
    bool close_fds = true;
    /// Descriptors that stay open under their own number.
    std::span<const int> keep_fds{};
    bool new_session = false;
    /// -1: the parent's process group. 0: a group of its own. Else: joins that group.
    pid_t process_group = -1;
    /// The child is killed (SIGKILL) when the thread that spawned it ends. 0: not.
    int parent_death_signal = 0;
    /// Where the child notes who it is once it has its process group, before it executes and before its parent-death signal
    /// counts: so whoever reads it after the parent's death knows of every child that executed. nullptr: nowhere.
    ChildNote* note = nullptr;
    std::optional<uid_t> user{};
    std::optional<gid_t> group{};
    std::optional<std::vector<gid_t>> extra_groups{};
    std::optional<mode_t> umask{};
    /// The program starts with an empty signal mask and with SIGPIPE and SIGXFSZ at their defaults; false: with the
    /// caller's mask and what it ignores. Either way, what the parent handles is reset, and what else it ignores (SIGHUP
    /// under nohup) stays ignored.
    bool restore_signals = true;
};

/// What failed when a program could not be started.
enum class SpawnStep : std::uint8_t { none, resources, cwd, fds, session, credentials, exec };

struct SpawnFailure {
    SpawnStep step = SpawnStep::none;
    int error = 0; // errno
};

/// The failure as a sentence that names what was wrong: the file, the directory, ... (without the text of errno, which
/// OSError adds).
std::string describe(const SpawnFailure& failure, const SpawnRequest& request);

/// How a child ended.
struct ExitStatus {
    /// The code of exit(); or -N when signal N killed it.
    int code = 0;
    bool core_dumped = false;
    /// Somebody else took the status (waitpid(-1) in the program, SIGCHLD ignored): `code` means nothing.
    bool unknown = false;
    /// CPU time of the child in nanoseconds and its peak memory in bytes, as wait4 tells.
    std::int64_t user_ns = 0;
    std::int64_t system_ns = 0;
    std::int64_t max_rss_bytes = 0;
};

/// A started program, known by its pidfd from birth: signals can never reach a stranger who got the same pid.
///
/// Lifetime  Destroying one that runs neither kills nor waits; the kernel keeps the zombie until it is reaped: see
///           release_to_reaper().
/// Agents    One at a time, but for send_signal, which may run beside any other.
class ChildProcess {
  public:
    ChildProcess() noexcept = default;
    /// A child of this process that was made in another way, and has not been reaped.
    ChildProcess(pid_t pid, Fd pidfd) noexcept : pid_(pid), pidfd_(std::move(pidfd)) {}
    ChildProcess(ChildProcess&& other) noexcept
        : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)), reaped_(other.reaped_) {}
    ChildProcess& operator=(ChildProcess&& other) noexcept {
        pidfd_ = std::move(other.pidfd_);
        if (this != &other) pid_ = std::exchange(other.pid_, -1), reaped_ = other.reaped_;
        return *this;
    }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    /// Readable (POLLIN) once the child has ended. -1 when there is none.
    [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(pidfd_); }

    /// Reaps the child if it has ended. Never waits. Once the child is reaped, `unknown` comes: keep the first answer.
    std::optional<ExitStatus> try_wait() noexcept;
    /// Waits for the end till the deadline (blocks the OS thread), then reaps. Empty at the deadline.
    std::optional<ExitStatus> wait(Deadline deadline = forever) noexcept;
    /// Sends a signal through the pidfd. Nothing happens to one that has ended. Returns 0 or an errno.
    int send_signal(int signal) const noexcept;
    /// Sends a signal to the child's process group, which must be one of its own (process_group = 0 or new_session).
    /// From Linux 6.9 on it reaches what is left of the group also after the child itself was reaped; on older kernels
    /// nothing happens then, as the group's number may have passed to strangers. Returns 0 or errno.
    int send_signal_to_group(int signal) const noexcept;

  private:
    friend SpawnFailure spawn(const SpawnRequest&, ChildProcess&) noexcept;
    std::optional<ExitStatus> reap(int options) noexcept;
    std::optional<ExitStatus> reap_by_number(int options) noexcept;
    pid_t pid_ = -1;
    Fd pidfd_;
    bool reaped_ = false;
};

/// Starts a program. On failure nothing is left behind, and the step and errno say what went wrong. `child` must not hold
/// another child.
///
/// Agents    Any number of threads at the same time.
/// Blocks    Until the child has executed the program (some hundred microseconds), as vfork does. Signals to the
///           calling thread wait as long.
/// Cost      Independent of the parent's memory: clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD) on a small stack that is
///           kept for the next, no copy of page tables; handlers are reset by the kernel.
/// Source    clone(2), vfork(2); glibc's posix_spawn does the same but knows no pidfd.
SpawnFailure spawn(const SpawnRequest& request, ChildProcess& child) noexcept;

/// For who drops a child that may still run: it is reaped by a later spawn() or reap_released(), so it never stays a
/// zombie for long. The child runs on.              Python: subprocess._active
void release_to_reaper(ChildProcess&& child) noexcept;
/// Reaps those released children that have ended. Never waits. Cost: one load when there are none.
void reap_released() noexcept;

} // namespace sennit::os
