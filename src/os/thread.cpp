#include <sennit/os/thread.hpp>

#include <sennit/base/atomic.hpp>

#include <cerrno>
#include <climits>
#include <cstring>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// The kernel's id never changes within a thread, but the child of a fork has another one: hence the pid beside it.
thread_local std::int64_t cached_id = 0;
thread_local pid_t cached_for_pid = 0;

struct ExitHook {
    void (*hook)(void*) noexcept;
    void* argument;
};
// One slot a thread: sennit needs one hook. Destroyed by the pthread key below.
thread_local ExitHook exit_hook{nullptr, nullptr};

void run_exit_hook(void*) {
    const ExitHook h = exit_hook;
    exit_hook = {nullptr, nullptr};
    if (h.hook) h.hook(h.argument);
}

struct Key {
    pthread_key_t key{};
    int error;
    Key() noexcept : error(::pthread_key_create(&key, run_exit_hook)) {}
};

} // namespace

std::int64_t current_thread_id() noexcept {
    const pid_t pid = ::getpid();
    if (cached_for_pid != pid) {
        cached_id = ::syscall(SYS_gettid);
        cached_for_pid = pid;
    }
    return cached_id;
}

int start_thread(pthread_t& handle, void* (*entry)(void*), void* argument, std::size_t stack_bytes) noexcept {
    pthread_attr_t attributes;
    if (stack_bytes == 0) return ::pthread_create(&handle, nullptr, entry, argument);
    if (int e = ::pthread_attr_init(&attributes)) return e;
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (stack_bytes < static_cast<std::size_t>(PTHREAD_STACK_MIN))
        stack_bytes = static_cast<std::size_t>(PTHREAD_STACK_MIN);
    stack_bytes = (stack_bytes + page - 1) / page * page;
    int e = ::pthread_attr_setstacksize(&attributes, stack_bytes);
    if (e == 0) e = ::pthread_create(&handle, &attributes, entry, argument);
    ::pthread_attr_destroy(&attributes);
    return e;
}

void set_kernel_thread_name(const char* name) noexcept {
    char short_name[16];
    std::strncpy(short_name, name, sizeof short_name - 1);
    short_name[sizeof short_name - 1] = '\0';
    ::pthread_setname_np(::pthread_self(), short_name);
}

int at_thread_exit(void (*hook)(void*) noexcept, void* argument) noexcept {
    static const Key key; // a pthread key's destructors run after those of C++ thread_locals
    if (key.error) return key.error;
    exit_hook = {hook, argument};
    return ::pthread_setspecific(key.key, &exit_hook);
}

int after_fork_in_child(void (*hook)() noexcept) noexcept { return ::pthread_atfork(nullptr, nullptr, hook); }

void yield_core() noexcept {
#if defined(SENNIT_MODEL)
    cpu_relax();
#else
    ::sched_yield();
#endif
}

int usable_cpus() noexcept {
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

} // namespace sennit::os
