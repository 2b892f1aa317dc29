// What the machine and its processes do at the moment, as /proc tells.
#pragma once

#include <sennit/os/fd.hpp>

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sennit::os {

/// How many threads of the machine run or want to run at this moment, the caller not counted; -1 when /proc does not say.
/// Source: the fourth field of /proc/loadavg.
int runnable_count();

/// Bytes that programs could take without swapping (MemAvailable); -1 when /proc does not say. The
/// limits of control groups are not looked at.
std::int64_t available_memory_bytes();

struct ProcessInfo {
    pid_t pid = 0, parent = 0, group = 0, session = 0;
    std::string name;
};

/// All processes that /proc shows. Cost: three system calls a process.
std::vector<ProcessInfo> list_processes();

/// Those of `all` that descend from `root` and are not in its process group: signals to the group do not reach them. Who has
/// lost its parent is not found.
std::vector<ProcessInfo> outside_group(const std::vector<ProcessInfo>& all, pid_t root);

/// A pidfd of a process that is no child of ours; empty when it has ended.
/// Whether it is the one that was meant is for the caller to check after opening: a pidfd never changes its process.
Fd open_process(pid_t pid) noexcept;
/// True when the process behind a pidfd has ended. Never waits.
bool has_ended(int pidfd) noexcept;
/// Whether a process is stopped (SIGSTOP, Ctrl-Z); false when /proc does not say.
bool is_stopped(pid_t pid) noexcept;
/// True for a file that this user may execute.
bool is_program(const char* path) noexcept;

/// Columns of the terminal behind `fd`; 0 when it is none.
int terminal_columns(int fd) noexcept;
bool is_terminal(int fd) noexcept;

/// CPU time of this process in nanoseconds.
std::int64_t own_cpu_ns() noexcept;
/// CPU time of one thread of this process (os::current_thread_id) in nanoseconds, exact also while it runs; -1 when it has ended.
/// Source: clock_gettime(2), the clock that pthread_getcpuclockid(3) makes of a thread's id.
std::int64_t thread_cpu_ns(std::int64_t thread_id) noexcept;

} // namespace sennit::os
