#include <sennit/os/fork.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>

#include "fork_handlers.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

#if defined(__SANITIZE_THREAD__)
#define SENNIT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SENNIT_TSAN 1
#endif
#endif

#if defined(SENNIT_TSAN)
extern "C" void __sanitizer_syscall_pre_impl_fork();
extern "C" void __sanitizer_syscall_post_impl_fork(long result);
#endif

namespace sennit::os {
namespace {

constinit atomic<bool> has_warned{false}; // relaxed: twice would do no harm

// What libc keeps of the calling thread and its own fork() renews in the child.
struct LibcThread {
    int* number = nullptr; // where libc has gettid
    robust_list_head* list = nullptr;
    std::size_t list_bytes = 0;
};

LibcThread libc_thread() noexcept {
    LibcThread it;
    // Needs CONFIG_CHECKPOINT_RESTORE, as distributions have it; without it a robust or recursive pthread mutex of the child would
    // carry the number of the process it was copied from.
    if (::prctl(PR_GET_TID_ADDRESS, &it.number, 0, 0, 0) != 0) it.number = nullptr;
    if (::syscall(SYS_get_robust_list, 0, &it.list, &it.list_bytes) != 0) it.list = nullptr;
    return it;
}

// Gives the pid, 0 in the child, or -errno. Between its two calls ThreadSanitizer holds its own locks: nothing of ours runs there.
#if defined(SENNIT_TSAN)
__attribute__((no_sanitize("thread")))
#endif
long clone_sibling(const clone_args& args) noexcept {
#if defined(SENNIT_TSAN)
    __sanitizer_syscall_pre_impl_fork();
#endif
    long result = ::syscall(SYS_clone3, &args, sizeof args);
    if (result < 0) result = -errno;
#if defined(SENNIT_TSAN)
    __sanitizer_syscall_post_impl_fork(result);
#endif
    return result;
}

} // namespace

void warn_of_threads_before_fork(const char* who) noexcept {
    if (thread_count() <= 1 || has_warned.exchange(true, memory_order_relaxed)) return;
    std::fprintf(stderr,
                 "sennit: %s in a process with several threads: a lock of another library that one of them holds is "
                 "never released in "
                 "the child. Use the start method \"forkserver\", or fork before the first thread starts\n",
                 who);
}

void flush_before_fork() noexcept { std::fflush(nullptr); }

bool is_privileged() noexcept { return ::getauxval(AT_SECURE) != 0; }

bool is_linked_statically() noexcept { return ::getauxval(AT_BASE) == 0; }

bool has_variable(const char* name) noexcept { return std::getenv(name) != nullptr; }

std::vector<const char*> environment_and(const char* line) {
    std::vector<const char*> all;
    for (char** at = environ; at != nullptr && *at != nullptr; ++at) all.push_back(*at);
    all.push_back(line);
    all.push_back(nullptr);
    return all;
}

void remove_variable(const char* name) noexcept { ::unsetenv(name); }

void keep_from_copies(void* address, std::size_t bytes) noexcept { ::madvise(address, bytes, MADV_DONTFORK); }

bool is_open(int fd) noexcept { return ::fcntl(fd, F_GETFD) >= 0; }

bool is_fifo(int fd) noexcept {
    struct stat it {};
    return ::fstat(fd, &it) == 0 && S_ISFIFO(it.st_mode);
}

void set_close_on_exec(int fd) noexcept { ::fcntl(fd, F_SETFD, FD_CLOEXEC); }

pid_t fork() {
    warn_of_threads_before_fork("os::fork()");
    const int refused = FAULT_POINT_ERROR("fork.fork");
    const pid_t pid = refused != 0 ? -1 : ::fork();
    if (pid < 0) throw OSError(refused != 0 ? refused : errno, "fork: cannot copy this process");
    return pid;
}

int fork_child(pid_t& pid, ChildProcess& child) noexcept {
    const int refused = FAULT_POINT_ERROR("fork.child");
    pid = refused != 0 ? -1 : ::fork();
    if (pid < 0) return refused != 0 ? refused : errno;
    if (pid == 0) return 0;
    return adopt_child(pid, child);
}

int adopt_child(pid_t pid, ChildProcess& child) noexcept {
    // Nobody has reaped it yet: the number is the child's.
    Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (pidfd) {
        child = ChildProcess(pid, std::move(pidfd));
        return 0;
    }
    const int error = errno;
    ::kill(pid, SIGKILL);
    siginfo_t info{};
    while (::syscall(SYS_waitid, P_PID, pid, &info, WEXITED, nullptr) != 0 && errno == EINTR) {}
    return error;
}

bool signal_with_group(int pidfd, int signal) noexcept {
    constexpr unsigned process_group = 1U << 2; // PIDFD_SIGNAL_PROCESS_GROUP
    const bool one = ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0;
    const bool group = ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, process_group) == 0;
    return one || group;
}

int fork_sibling(pid_t& pid, Fd& pidfd, volatile pid_t* shared_pid) noexcept {
    const LibcThread libc = libc_thread();
    int descriptor = -1;
    clone_args args{};
    args.flags = CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID;
    args.pidfd = reinterpret_cast<std::uintptr_t>(&descriptor);
    args.parent_tid = reinterpret_cast<std::uintptr_t>(shared_pid);
    if (libc.number != nullptr) {
        args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
        args.child_tid = reinterpret_cast<std::uintptr_t>(libc.number);
    }
    if (const int refused = FAULT_POINT_ERROR("zygote.clone"); refused != 0) return refused;
    const long result = clone_sibling(args);
    if (result == 0) {
        if (libc.list != nullptr) ::syscall(SYS_set_robust_list, libc.list, libc.list_bytes);
        run_handlers_in_child();
        pid = 0;
        return 0;
    }
    if (result < 0) return static_cast<int>(-result);
    pid = static_cast<pid_t>(result);
    pidfd.reset(descriptor);
    return 0;
}

int thread_count() noexcept {
    struct stat task {};
    if (::stat("/proc/self/task", &task) != 0) return 0;
    const int count = static_cast<int>(task.st_nlink) - 2;
#if defined(SENNIT_TSAN)
    return count > 1 ? count - 1 : count;
#else
    return count;
#endif
}

pid_t parent_id() noexcept { return ::getppid(); }

int lead_process_group() noexcept { return ::setpgid(0, 0) == 0 ? 0 : errno; }

int at_exit_with_code(void (*run)(int code)) noexcept {
    const auto call = [](int code, void* argument) { reinterpret_cast<void (*)(int)>(argument)(code); };
    return ::on_exit(call, reinterpret_cast<void*>(run)) == 0 ? 0 : ENOMEM;
}

void exit_now(int code) noexcept { ::_exit(code); }

// ---- Lifeline

namespace {

struct LifelinePipe {
    Mutex mutex;
    Fd read_end, write_end;
};

LifelinePipe& lifeline() noexcept {
    alignas(LifelinePipe) static unsigned char memory[sizeof(LifelinePipe)];
    static auto* const it =
        ::new (static_cast<void*>(memory)) LifelinePipe; // never destroyed: it ends with the process
    return *it;
}

} // namespace

int Lifeline::read_end() {
    LifelinePipe& it = lifeline();
    static const int handled = at_fork([]() SENNIT_NO_TSA noexcept { lifeline().mutex.lock(); },
                                       []() SENNIT_NO_TSA noexcept { lifeline().mutex.unlock(); },
                                       []() SENNIT_NO_TSA noexcept {
                                           lifeline().mutex.reset_after_fork();
                                           // The child's own life begins a pipe of its own, and it must not hold its parent's.
                                           lifeline().read_end.reset();
                                           lifeline().write_end.reset();
                                       });
    if (handled != 0) throw OSError(handled, "pthread_atfork: cannot prepare for a fork");
    const MutexGuard guard(it.mutex);
    if (!it.read_end) {
        Pipe made = make_pipe();
        // Away from the standard streams' numbers, which may be closed.
        if (made.read_end.get() < 3) made.read_end = duplicate(made.read_end.get());
        if (made.write_end.get() < 3) made.write_end = duplicate(made.write_end.get());
        it.read_end = std::move(made.read_end);
        it.write_end = std::move(made.write_end);
    }
    return it.read_end.get();
}

Fd Lifeline::open_own_fds() noexcept { return Fd(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)); }

int Lifeline::open_watch(int read_end, Fd& watch, const Fd& own_fds) noexcept {
    char path[40];
    std::snprintf(path, sizeof path, own_fds ? "%d" : "/proc/self/fd/%d", read_end);
    // Opened anew: who is sent the signal belongs to the opening, which siblings would share.
    Fd own(::openat(own_fds ? own_fds.get() : AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!own) return errno;
    watch = std::move(own);
    return 0;
}

int Lifeline::arm(const Fd& watch) noexcept {
    FAULT_POINT("child.before_death_signal");
    const pid_t me = ::getpid();
    if (::fcntl(watch.get(), F_SETOWN, ::getpgrp() == me ? -me : me) != 0 ||
        ::fcntl(watch.get(), F_SETSIG, SIGKILL) != 0 || ::fcntl(watch.get(), F_SETFL, O_NONBLOCK | O_ASYNC) != 0)
        return errno;
    pollfd end{watch.get(), 0, 0};
    if (::poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0) ::kill(me, SIGKILL); // it ended before that
    FAULT_POINT("child.looked_for_parent");
    return 0;
}

int Lifeline::die_with(int read_end, Fd& watch) noexcept {
    Fd own;
    if (const int error = open_watch(read_end, own); error != 0) return error;
    if (const int error = arm(own); error != 0) return error;
    watch = std::move(own);
    return 0;
}

void close_all_but(std::span<const int> keep) noexcept {
    unsigned next = 3;
    const auto close = [](unsigned first, unsigned last) {
        if (::syscall(SYS_close_range, first, last, 0) == 0) return;
        const long most = ::sysconf(_SC_OPEN_MAX);
        for (unsigned fd = first; fd <= last && static_cast<long>(fd) < most; ++fd) ::close(static_cast<int>(fd));
    };
    for (const int fd : keep) {
        if (fd < 3) continue;
        const auto number = static_cast<unsigned>(fd);
        if (number < next) continue;
        if (number > next) close(next, number - 1);
        next = number + 1;
    }
    close(next, ~0U);
}

int set_standard_stream(int from, int number) noexcept {
    if (from == number) return ::fcntl(number, F_SETFD, 0) == 0 ? 0 : errno;
    int done = 0;
    do done = ::dup3(from, number, 0);
    while (done < 0 && (errno == EINTR || errno == EBUSY));
    return done < 0 ? errno : 0;
}

} // namespace sennit::os
