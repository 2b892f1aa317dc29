// OS threads, thinly: create, join, identify, hooks at thread exit and after fork.
#pragma once

#include <cstddef>
#include <cstdint>

#include <pthread.h>

namespace sennit::os {

/// The kernel's id of the calling thread (gettid). Cost: a system call, then cached per thread.
std::int64_t current_thread_id() noexcept;
/// In the child of a fork(), by the thread that forked: it has another id now.
void forget_thread_id() noexcept;

/// Starts an OS thread that runs entry(argument), with all signals as in the parent.
/// stack_bytes 0: the system's default. Returns 0 or an errno (EAGAIN: no more threads or memory; EINVAL: bad stack size).
int start_thread(pthread_t& handle, void* (*entry)(void*), void* argument, std::size_t stack_bytes) noexcept;

/// How large the calling thread's stack is; 0 when the system does not say. Not for the main thread, whose stack grows.
std::size_t stack_bytes_of_this_thread() noexcept;

/// The calling thread's handle, and as a number.
pthread_t this_thread() noexcept;
std::uintptr_t thread_number(pthread_t handle) noexcept;
pthread_t thread_of(std::uintptr_t number) noexcept;
/// Waits until a thread of start_thread is gone, and frees its stack. Not for the calling thread: that is detached instead.
void join_thread(pthread_t handle) noexcept;
/// The thread frees its stack by itself when it ends; it is not joined any more.
void detach_thread(pthread_t handle) noexcept;
/// Whether the kernel has put a thread of this process to sleep, or it is gone (/proc/self/task). A hint.
bool thread_sleeps(std::int64_t id) noexcept;
/// Whether the calling thread is the process's first one; in the child of a fork() the one that forked.
bool is_main_thread() noexcept;
/// That thread's id in the kernel.
std::int64_t main_thread_id() noexcept;

/// Names a living thread for the kernel (top, gdb): the first 15 bytes, cut before a character of UTF-8 that would not fit.
void set_kernel_thread_name(pthread_t handle, const char* name) noexcept;
inline void set_kernel_thread_name(const char* name) noexcept { set_kernel_thread_name(this_thread(), name); }

/// Something to run when a thread ends. Lives till then, in the thread's storage or on the heap.
struct ThreadExitHook {
    void (*run)(ThreadExitHook&) noexcept = nullptr;
    ThreadExitHook* next = nullptr;
};
/// `hook` runs when the calling thread ends, after its C++ thread_locals have been destroyed; the last one added runs first.
/// Not on the main thread when the process ends. Returns 0 or an errno, and then it does not run.
int at_thread_exit(ThreadExitHook& hook) noexcept;

/// `before()` runs in the thread that calls fork(), then `in_parent()` and `in_child()` before fork returns there; what was
/// added last runs first before, and last after it. Each may be nullptr. Returns 0 or an errno.
int at_fork(void (*before)() noexcept, void (*in_parent)() noexcept, void (*in_child)() noexcept) noexcept;
/// `hook()` runs in the child of every later fork(), before fork returns there. Returns 0 or an errno.
int after_fork_in_child(void (*hook)() noexcept) noexcept;

/// Gives the core to another runnable thread, if there is one (sched_yield).
void yield_core() noexcept;

/// How many CPUs the machine has that are switched on (sysconf), at least 1.
int machine_cpus() noexcept;

/// How many CPUs the calling thread may run on (sched_getaffinity), at least 1.
int usable_cpus() noexcept;

/// How many CPUs the main thread may run on, at least 1: what the process was given, wherever the caller is pinned.
int process_cpus() noexcept;

} // namespace sennit::os
