// Copies of this process.
#pragma once

#include <sennit/os/fd.hpp>
#include <sennit/os/spawn.hpp>

#include <cstddef>
#include <span>
#include <sys/types.h>
#include <vector>

namespace sennit::os {

/// fork(2): 0 in the child, the child's number in the parent.            Python: os.fork
///
/// In the child only the calling thread lives. The library's locks work, other agents have ended, each event loop is a new one when
/// it is asked for, and processes that the parent started are none of the child's. When other threads exist it says so on stderr,
/// once: a lock of another library that one of them holds is never let go in the child. A process that runs a function is better
/// started by multiprocessing::Process, which is safe with threads.
///
/// Throws    OSError when the system refuses.
/// Cost      Copies the page tables: 0.1 ms, and about 28 ms for each GiB that the parent has touched.
/// Source    fork(2), pthread_atfork(3); Python 3.12 warns alike.
pid_t fork();

/// The same without a warning, and with the child's pidfd for the parent; 0 or an errno. `pid` is 0 in the child.
int fork_child(pid_t& pid, ChildProcess& child) noexcept;

/// The child becomes a child of this process's *parent*, which is sent SIGCHLD and reaps it. For a process with one thread. 0 or an
/// errno; `pid` is 0 in the child. The kernel writes the child's number to `shared_pid` before the child runs: in memory that others
/// map, it is there even if this process is killed in the same moment.
///
/// Of what pthread_atfork() knows, at_fork()'s handlers of the child run and no others: libc's fork() can't do this.
/// Source    clone(2), CLONE_PARENT.
int fork_sibling(pid_t& pid, Fd& pidfd, volatile pid_t* shared_pid) noexcept;

/// A child of this process that nobody has reaped, by its number. 0, or an errno: then it was killed and reaped.
int adopt_child(pid_t pid, ChildProcess& child) noexcept;

/// Sends a signal to the process behind a pidfd, and to the process group that it leads or led (Linux 6.9; nothing before that).
/// False when nobody of them is left. Signal 0 only looks.
bool signal_with_group(int pidfd, int signal) noexcept;

/// Threads of this process, 0 when /proc does not tell. A sanitizer's own is not counted.
int thread_count() noexcept;
/// This process's parent.
pid_t parent_id() noexcept;
/// A process group of its own for this process. 0 or an errno.
int lead_process_group() noexcept;
/// exit() calls run(code) before what atexit() was told till now. 0 or an errno.      Source: on_exit(3)
int at_exit_with_code(void (*run)(int code)) noexcept;
/// _exit(2).
[[noreturn]] void exit_now(int code) noexcept;

/// A pipe by whose end other processes learn that this one has ended, in whichever way.
///
/// A parent-death signal (prctl(PR_SET_PDEATHSIG)) comes when the *thread* ends that made the child; this one when the process does,
/// and costs no thread to watch it: the kernel sends it (fcntl(2), F_SETSIG with SIGKILL).
class Lifeline {
  public:
    /// The end that tells; only this process may have the other one. Made at the first call. Throws OSError.
    static int read_end();
    /// In a child that has `read_end`: it is killed (SIGKILL) when who made the pipe ends, and with it all who are in its process group
    /// if it leads one; at once, if that has ended. 0 or an errno.
    /// The descriptor that must stay open for that is left in `watch`.
    static int die_with(int read_end, Fd& watch) noexcept;
    /// The two steps of that, of which the first may be done by who makes the child: an opening of the pipe for one process alone,
    /// who opens many in its life finds it more quickly by open_own_fds(), and not at all in a copy of itself,
    static int open_watch(int read_end, Fd& watch, const Fd& own_fds = Fd()) noexcept;
    static Fd open_own_fds() noexcept;
    /// and in the child what it dies by.
    static int arm(const Fd& watch) noexcept;
};

/// Says on stderr, once, that threads exist which a fork does not copy; `who` forks.
void warn_of_threads_before_fork(const char* who) noexcept;
/// Writes out what stdio has buffered, so that a copy of this process does not write it once more.
void flush_before_fork() noexcept;
/// Whether this program has more rights than who started it (AT_SECURE).
bool is_privileged() noexcept;
/// Whether this program was started without a dynamic loader.
bool is_linked_statically() noexcept;

/// Whether the environment has it.
bool has_variable(const char* name) noexcept;
/// The environment's lines, this one, and nullptr: for SpawnRequest::envp.
std::vector<const char*> environment_and(const char* line);
void remove_variable(const char* name) noexcept;
/// Copies of this process are not to have this memory, whole pages.
void keep_from_copies(void* address, std::size_t bytes) noexcept;

bool is_open(int fd) noexcept;
bool is_fifo(int fd) noexcept;
void set_close_on_exec(int fd) noexcept;
/// Closes every descriptor from 3 on but those in `keep`, which is sorted.
void close_all_but(std::span<const int> keep) noexcept;
/// Puts `from` in the place of 0, 1 or 2. 0 or an errno.
int set_standard_stream(int from, int number) noexcept;

} // namespace sennit::os
