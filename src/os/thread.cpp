#include <sennit/os/thread.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/brief_mutex.hpp>

#include "fork_handlers.hpp"

#if defined(SENNIT_MODEL)
#include <sennit/impl/model_scheduler.hpp>
#endif

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// The kernel's id never changes within a thread, but the child of a fork has another one.
constinit thread_local std::int64_t cached_id = 0;

// The list of a thread's hooks begins in the value of a pthread key, whose destructor runs them.
void run_exit_hooks(void* first);

struct Key {
    pthread_key_t key{};
    int error;
    Key() noexcept : error(::pthread_key_create(&key, run_exit_hooks)) {}
};

const Key& exit_key() noexcept {
    static const Key it; // trivially destroyed: threads may end until the very end of the process
    return it;
}

void run_exit_hooks(void* first) {
    const Key& at = exit_key();
    auto* hook = static_cast<ThreadExitHook*>(first);
    while (hook) {
        ThreadExitHook* const next = hook->next;
        ::pthread_setspecific(at.key, next); // before it runs: it may add another one, or die
        hook->run(*hook);
        hook = static_cast<ThreadExitHook*>(::pthread_getspecific(at.key));
    }
}

} // namespace

std::int64_t current_thread_id() noexcept {
    if (cached_id == 0) [[unlikely]] {
        // A fork that can't be told about leaves the parent's id in the child; so does glibc itself.
        [[maybe_unused]] static const int handled = after_fork_in_child(forget_thread_id);
        cached_id = ::syscall(SYS_gettid);
    }
    return cached_id;
}

void forget_thread_id() noexcept { cached_id = 0; }

int start_thread(pthread_t& handle, void* (*entry)(void*), void* argument, std::size_t stack_bytes) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::start_thread(handle, entry, argument);
#endif
    if (const int e = FAULT_POINT_ERROR("thread.create")) return e;
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

std::size_t stack_bytes_of_this_thread() noexcept {
    pthread_attr_t attributes;
    if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return 0;
    std::size_t bytes = 0;
    if (::pthread_attr_getstacksize(&attributes, &bytes) != 0) bytes = 0;
    ::pthread_attr_destroy(&attributes);
    return bytes;
}

pthread_t this_thread() noexcept { return ::pthread_self(); }

std::uintptr_t thread_number(pthread_t handle) noexcept { return static_cast<std::uintptr_t>(handle); }

pthread_t thread_of(std::uintptr_t number) noexcept { return static_cast<pthread_t>(number); }

void join_thread(pthread_t handle) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::join_thread(handle);
#endif
    ::pthread_join(handle, nullptr);
}

void detach_thread(pthread_t handle) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return; // the OS threads of the model are kept
#endif
    ::pthread_detach(handle);
}

bool thread_sleeps(std::int64_t id) noexcept {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%lld/stat", static_cast<long long>(id));
    const int saved = errno;
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        errno = saved;
        return true;
    }
    char text[256];
    const ssize_t n = ::read(file, text, sizeof text - 1);
    ::close(file);
    errno = saved;
    if (n <= 0) return true;
    text[n] = '\0';
    // "id (name) state ...": the name may hold anything, so look from its end.
    const char* end = std::strrchr(text, ')');
    return !end || end[1] == '\0' || end[2] != 'R';
}

std::int64_t main_thread_id() noexcept { return ::getpid(); }

bool is_main_thread() noexcept { return current_thread_id() == main_thread_id(); }

void set_kernel_thread_name(pthread_t handle, const char* name) noexcept {
    char short_name[16];
    std::size_t n = ::strnlen(name, sizeof short_name);
    if (n == sizeof short_name) {
        n = sizeof short_name - 1;
        while (n > 0 && (static_cast<unsigned char>(name[n]) & 0xC0) == 0x80) --n; // not within a character
    }
    std::memcpy(short_name, name, n);
    short_name[n] = '\0';
    ::pthread_setname_np(handle, short_name);
}

int at_thread_exit(ThreadExitHook& hook) noexcept {
    const Key& at = exit_key(); // a pthread key's destructors run after those of C++ thread_locals
    if (at.error) return at.error;
#if defined(SENNIT_MODEL)
    // The model's threads end and their OS threads go on.
    model::set_exit_hook([] { run_exit_hooks(::pthread_getspecific(exit_key().key)); });
#endif
    hook.next = static_cast<ThreadExitHook*>(::pthread_getspecific(at.key));
    return ::pthread_setspecific(at.key, &hook);
}

namespace {

// Once more what libc was told: fork_sibling() can't go through libc. Only grows.
struct ForkHandlers {
    static constexpr std::size_t most = 64;
    BriefMutex mutex;
    void (*in_child[most])() noexcept {};
    std::size_t count = 0;
};
constinit ForkHandlers fork_handlers;

} // namespace

int at_fork(void (*before)() noexcept, void (*in_parent)() noexcept, void (*in_child)() noexcept) noexcept {
    const BriefGuard guard(fork_handlers.mutex);
    if (fork_handlers.count == ForkHandlers::most) return ENOMEM;
    if (const int error = ::pthread_atfork(before, in_parent, in_child); error != 0) return error;
    fork_handlers.in_child[fork_handlers.count++] = in_child;
    return 0;
}

int after_fork_in_child(void (*hook)() noexcept) noexcept { return at_fork(nullptr, nullptr, hook); }

void run_handlers_in_child() noexcept {
    for (std::size_t i = 0; i < fork_handlers.count; ++i)
        if (fork_handlers.in_child[i] != nullptr) fork_handlers.in_child[i]();
}

void yield_core() noexcept {
#if defined(SENNIT_MODEL)
    cpu_relax();
#else
    ::sched_yield();
#endif
}

namespace {

int cpus_of(pid_t thread) noexcept {
    cpu_set_t set;
    if (::sched_getaffinity(thread, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

} // namespace

int machine_cpus() noexcept { return static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN))); }

int usable_cpus() noexcept { return cpus_of(0); }

int process_cpus() noexcept { return cpus_of(::getpid()); }

} // namespace sennit::os
