// OS threads, thinly: create, join, identify, hooks at thread exit and after fork.
#pragma once

#include <cstddef>
#include <cstdint>

#include <pthread.h>

namespace sennit::os {

/// The kernel's id of the calling thread (gettid). Cost: a system call, then cached per thread.
std::int64_t current_thread_id() noexcept;

/// Starts an OS thread that runs entry(argument), with all signals as in the parent.
/// stack_bytes 0: the system's default. Returns 0 or an errno (EAGAIN: no more threads or memory; EINVAL: bad stack size).
int start_thread(pthread_t& handle, void* (*entry)(void*), void* argument, std::size_t stack_bytes) noexcept;

/// Names the calling thread for the kernel (top, gdb): the first 15 bytes.
void set_kernel_thread_name(const char* name) noexcept;

/// `hook(argument)` runs when the calling thread ends, after its C++ thread_locals have been destroyed. Not on the main
/// thread when the process ends. Returns 0 or an errno.
int at_thread_exit(void (*hook)(void*) noexcept, void* argument) noexcept;

/// `hook()` runs in the child of every later fork(), before fork returns there. Returns 0 or an errno.
int after_fork_in_child(void (*hook)() noexcept) noexcept;

/// Gives the core to another runnable thread, if there is one (sched_yield).
void yield_core() noexcept;

/// How many CPUs the calling thread may run on (sched_getaffinity), at least 1.
int usable_cpus() noexcept;

} // namespace sennit::os
