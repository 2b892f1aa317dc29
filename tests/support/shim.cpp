#include "shim.hpp"

#include "seed.hpp"

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <mutex>
#include <new>
#include <poll.h>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::testing {
namespace {

// What may be done to a call besides failing it outright.
enum : unsigned { may_interrupt = 1, may_shorten = 2, may_say_again = 4 };

enum Call : unsigned {
#define SENNIT_CALL(name, flags) c_##name,
#define SENNIT_CALLS                                                   \
    SENNIT_CALL(read, may_interrupt | may_shorten | may_say_again)     \
    SENNIT_CALL(write, may_interrupt | may_shorten | may_say_again)    \
    SENNIT_CALL(readv, may_interrupt | may_say_again)                  \
    SENNIT_CALL(writev, may_interrupt | may_say_again)                 \
    SENNIT_CALL(pwritev2, may_interrupt | may_shorten | may_say_again) \
    SENNIT_CALL(pread, may_interrupt | may_shorten)                    \
    SENNIT_CALL(pwrite, may_interrupt | may_shorten)                   \
    SENNIT_CALL(open, may_interrupt)                                   \
    SENNIT_CALL(openat, may_interrupt)                                 \
    SENNIT_CALL(dup, 0)                                                \
    SENNIT_CALL(dup2, may_interrupt)                                   \
    SENNIT_CALL(dup3, may_interrupt)                                   \
    SENNIT_CALL(pipe, 0)                                               \
    SENNIT_CALL(pipe2, 0)                                              \
    SENNIT_CALL(fcntl, 0)                                              \
    SENNIT_CALL(poll, may_interrupt)                                   \
    SENNIT_CALL(ppoll, may_interrupt)                                  \
    SENNIT_CALL(epoll_create1, 0)                                      \
    SENNIT_CALL(epoll_ctl, 0)                                          \
    SENNIT_CALL(epoll_wait, may_interrupt)                             \
    SENNIT_CALL(epoll_pwait, may_interrupt)                            \
    SENNIT_CALL(eventfd, 0)                                            \
    SENNIT_CALL(timerfd_create, 0)                                     \
    SENNIT_CALL(timerfd_settime, 0)                                    \
    SENNIT_CALL(signalfd, 0)                                           \
    SENNIT_CALL(memfd_create, 0)                                       \
    SENNIT_CALL(ftruncate, may_interrupt)                              \
    SENNIT_CALL(fallocate, may_interrupt)                              \
    SENNIT_CALL(mmap, 0)                                               \
    SENNIT_CALL(mprotect, 0)                                           \
    SENNIT_CALL(socket, 0)                                             \
    SENNIT_CALL(socketpair, 0)                                         \
    SENNIT_CALL(accept4, may_interrupt | may_say_again)                \
    SENNIT_CALL(connect, 0)                                            \
    SENNIT_CALL(send, may_interrupt | may_shorten | may_say_again)     \
    SENNIT_CALL(recv, may_interrupt | may_shorten | may_say_again)     \
    SENNIT_CALL(sendmsg, may_interrupt | may_say_again)                \
    SENNIT_CALL(recvmsg, may_interrupt | may_say_again)                \
    SENNIT_CALL(waitid, may_interrupt)                                 \
    SENNIT_CALL(pthread_create, 0)                                     \
    SENNIT_CALL(fork, 0)                                               \
    /* through syscall(2) */                                           \
    SENNIT_CALL(clone3, 0)                                             \
    SENNIT_CALL(pidfd_open, 0)                                         \
    SENNIT_CALL(pidfd_send_signal, 0)                                  \
    SENNIT_CALL(close_range, 0)                                        \
    SENNIT_CALL(futex, may_interrupt)                                  \
    SENNIT_CALL(other_syscall, 0)
    SENNIT_CALLS
#undef SENNIT_CALL
        calls
};

constexpr struct {
    const char* name;
    unsigned flags;
} about[calls] = {
#define SENNIT_CALL(name, flags) {#name, flags},
    SENNIT_CALLS
#undef SENNIT_CALL
};

struct Rule {
    unsigned call; // `calls`: any but futex
    int error;
    Shim::When when;
    std::uint64_t thread;
    std::atomic<std::int64_t> seen{0};
};

constexpr int most_rules = 16;
Rule rules[most_rules];
std::atomic<int> rules_used{0};
std::atomic<unsigned> disturb_percent{0};
std::atomic<bool> active{false};
int active_for_syscall = 0; // the same, for a function that is not instrumented: the process in which one lives
std::atomic<std::int64_t> counts[calls], injections{0};
std::atomic<std::uint64_t> random_state{1};
thread_local bool exempt = false;
thread_local char this_thread; // its address is the thread's name

struct Verdict {
    int error = 0;
    bool shorten = false;
};

std::uint64_t draw() noexcept {
    return Random(random_state.fetch_add(0x9e3779b97f4a7c15u, std::memory_order_relaxed))();
}

Verdict consult(Call call, int fd = -1) noexcept {
    if (!active.load(std::memory_order_acquire) || exempt) return {};
    counts[call].fetch_add(1, std::memory_order_relaxed);
    const int used = rules_used.load(std::memory_order_acquire);
    for (int i = 0; i < used; ++i) {
        Rule& r = rules[i];
        if (r.call == calls ? call == c_futex : r.call != call) continue;
        if (r.when.this_thread && r.thread != reinterpret_cast<std::uintptr_t>(&this_thread)) continue;
        const std::int64_t n = r.seen.fetch_add(1, std::memory_order_relaxed) + 1;
        if (r.when.nth != 0 && (n < r.when.nth || n >= r.when.nth + r.when.times)) continue;
        injections.fetch_add(1, std::memory_order_relaxed);
        return {r.error};
    }
    const unsigned percent = disturb_percent.load(std::memory_order_relaxed), may = about[call].flags;
    if (percent == 0 || may == 0 || draw() % 100 >= percent) return {};
    switch (draw() % 3) {
    case 0:
        if (!(may & may_interrupt)) break;
        injections.fetch_add(1, std::memory_order_relaxed);
        return {EINTR};
    case 1:
        if (!(may & may_say_again) || fd < 0) break;
        if (const long flags = ::syscall(SYS_fcntl, fd, F_GETFL); flags < 0 || !(flags & O_NONBLOCK)) break;
        injections.fetch_add(1, std::memory_order_relaxed);
        return {EAGAIN};
    case 2:
        if (!(may & may_shorten)) break;
        injections.fetch_add(1, std::memory_order_relaxed);
        return {0, true};
    }
    return {};
}

std::size_t shortened(std::size_t n) noexcept { return n <= 1 ? n : 1 + draw() % (n - 1); }

Call call_named(std::string_view name) {
    for (unsigned i = 0; i < calls; ++i)
        if (name == about[i].name) return static_cast<Call>(i);
    if (name == "*") return calls;
    throw std::invalid_argument("Shim: it does not know the call '" + std::string(name) + "'; see shim_calls.txt");
}

// ---- the wall clock

std::atomic<std::int64_t> wall_clock_off{0}; // seconds

std::int64_t off(clockid_t clock) noexcept {
    const bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    return wall ? wall_clock_off.load(std::memory_order_acquire) : 0;
}

// ---- allocations

std::atomic<std::int64_t> all_allocations{0};
struct AllocationState { // of one thread
    std::int64_t count = 0, nth = 0;
    bool on = false, hit = false;
};
constinit thread_local AllocationState allocation;

// False: this one fails.
bool may_allocate() noexcept {
    all_allocations.fetch_add(1, std::memory_order_relaxed);
    if (!allocation.on || exempt) return true;
    if (++allocation.count != allocation.nth) return true;
    allocation.hit = true;
    return false;
}

} // namespace

Shim::Shim() noexcept {
    for (auto& c : counts) c = 0;
    injections = 0;
    rules_used = 0;
    disturb_percent = 0;
    random_state = seed();
    active.store(true, std::memory_order_release);
    __atomic_store_n(&active_for_syscall, ::getpid(), __ATOMIC_RELEASE);
}

Shim::~Shim() {
    __atomic_store_n(&active_for_syscall, 0, __ATOMIC_RELEASE);
    active.store(false, std::memory_order_release);
    rules_used = 0;
    disturb_percent = 0;
}

void Shim::fail(std::string_view call, int error, When when) {
    const unsigned which = call_named(call);
    const int n = rules_used;
    if (n == most_rules) throw std::invalid_argument("Shim: it has room for 16 rules");
    rules[n].call = which;
    rules[n].error = error;
    rules[n].when = when;
    rules[n].thread = reinterpret_cast<std::uintptr_t>(&this_thread);
    rules[n].seen = 0;
    rules_used.store(n + 1, std::memory_order_release);
}

void Shim::disturb(unsigned percent) { disturb_percent = percent; }

std::int64_t Shim::count(std::string_view call) const {
    const Call which = call_named(call);
    if (which != calls) return counts[which];
    std::int64_t sum = 0;
    for (unsigned i = 0; i < calls; ++i) sum += i == c_futex ? 0 : counts[i].load();
    return sum;
}

std::int64_t Shim::injected() const noexcept { return injections; }

WallClockJump::WallClockJump(std::chrono::seconds by) noexcept {
    wall_clock_off.store(by.count(), std::memory_order_release);
}
WallClockJump::~WallClockJump() { wall_clock_off.store(0, std::memory_order_release); }

AllocationFault::AllocationFault(std::int64_t nth) noexcept { allocation = {0, nth, true, false}; }
AllocationFault::~AllocationFault() { allocation.on = false; }
std::int64_t AllocationFault::count() const noexcept { return allocation.count; }
bool AllocationFault::injected() const noexcept { return allocation.hit; }

AllocationFault::Handover::Handover() noexcept
    : count_(allocation.count), nth_(allocation.nth), on_(allocation.on), hit_(allocation.hit) {
    allocation.on = false;
}
AllocationFault::Handover::~Handover() { allocation = {count_, nth_, on_, hit_}; }
void AllocationFault::Handover::begin() noexcept { allocation = {count_, nth_, on_, hit_}; }
void AllocationFault::Handover::end() noexcept {
    allocation.on = false;
    count_ = allocation.count;
    hit_ = allocation.hit;
}

std::int64_t total_allocations() noexcept { return all_allocations; }
void exempt_this_thread_from_shim() noexcept { exempt = true; }
void link_shim() noexcept {}

} // namespace sennit::testing

using namespace sennit::testing;

// ---- the wrappers. NAME's arguments stand twice: as parameters and as a call.
#define SENNIT_WRAP(type, name, parameters, arguments)                  \
    type __real_##name parameters;                                      \
    type __wrap_##name parameters {                                     \
        if (const Verdict verdict = consult(c_##name); verdict.error) { \
            errno = verdict.error;                                      \
            return (type)-1;                                            \
        }                                                               \
        return __real_##name arguments;                                 \
    }
// One that moves bytes: `size` is the argument that may be made smaller.
#define SENNIT_WRAP_BYTES(type, name, parameters, arguments, fd, size) \
    type __real_##name parameters;                                     \
    type __wrap_##name parameters {                                    \
        const Verdict verdict = consult(c_##name, fd);                 \
        if (verdict.error) {                                           \
            errno = verdict.error;                                     \
            return -1;                                                 \
        }                                                              \
        if (verdict.shorten) size = shortened(size);                   \
        return __real_##name arguments;                                \
    }

extern "C" {

SENNIT_WRAP_BYTES(ssize_t, read, (int fd, void* to, size_t n), (fd, to, n), fd, n)
SENNIT_WRAP_BYTES(ssize_t, write, (int fd, const void* from, size_t n), (fd, from, n), fd, n)
SENNIT_WRAP_BYTES(ssize_t, pread, (int fd, void* to, size_t n, off_t at), (fd, to, n, at), fd, n)
SENNIT_WRAP_BYTES(ssize_t, pwrite, (int fd, const void* from, size_t n, off_t at), (fd, from, n, at), fd, n)
SENNIT_WRAP_BYTES(ssize_t, send, (int fd, const void* from, size_t n, int flags), (fd, from, n, flags), fd, n)
SENNIT_WRAP_BYTES(ssize_t, recv, (int fd, void* to, size_t n, int flags), (fd, to, n, flags), fd, n)
SENNIT_WRAP_BYTES(ssize_t, readv, (int fd, const iovec* v, int n), (fd, v, n), fd, n)
SENNIT_WRAP_BYTES(ssize_t, writev, (int fd, const iovec* v, int n), (fd, v, n), fd, n)
SENNIT_WRAP_BYTES(int, accept4, (int fd, sockaddr* a, socklen_t* n, int flags), (fd, a, n, flags), fd, flags)

ssize_t __real_pwritev2(int, const iovec*, int, off_t, int);
ssize_t __wrap_pwritev2(int fd, const iovec* v, int n, off_t at, int flags) {
    const Verdict verdict = consult(c_pwritev2, fd);
    if (verdict.error) return errno = verdict.error, -1;
    if (!verdict.shorten || n != 1) return __real_pwritev2(fd, v, n, at, flags);
    const iovec less{v->iov_base, shortened(v->iov_len)};
    return __real_pwritev2(fd, &less, 1, at, flags);
}
ssize_t __real_sendmsg(int, const msghdr*, int);
ssize_t __wrap_sendmsg(int fd, const msghdr* m, int flags) {
    if (const Verdict v = consult(c_sendmsg, fd); v.error) return errno = v.error, -1;
    return __real_sendmsg(fd, m, flags);
}
ssize_t __real_recvmsg(int, msghdr*, int);
ssize_t __wrap_recvmsg(int fd, msghdr* m, int flags) {
    if (const Verdict v = consult(c_recvmsg, fd); v.error) return errno = v.error, -1;
    return __real_recvmsg(fd, m, flags);
}

SENNIT_WRAP(int, dup, (int fd), (fd))
SENNIT_WRAP(int, dup2, (int a, int b), (a, b))
SENNIT_WRAP(int, dup3, (int a, int b, int flags), (a, b, flags))
SENNIT_WRAP(int, pipe, (int* fds), (fds))
SENNIT_WRAP(int, pipe2, (int* fds, int flags), (fds, flags))
SENNIT_WRAP(int, poll, (pollfd * fds, nfds_t n, int ms), (fds, n, ms))
SENNIT_WRAP(int, ppoll, (pollfd * fds, nfds_t n, const timespec* t, const sigset_t* s), (fds, n, t, s))
SENNIT_WRAP(int, epoll_create1, (int flags), (flags))
SENNIT_WRAP(int, epoll_ctl, (int e, int op, int fd, epoll_event* v), (e, op, fd, v))
SENNIT_WRAP(int, epoll_wait, (int e, epoll_event* v, int n, int ms), (e, v, n, ms))
SENNIT_WRAP(int, epoll_pwait, (int e, epoll_event* v, int n, int ms, const sigset_t* s), (e, v, n, ms, s))
SENNIT_WRAP(int, eventfd, (unsigned n, int flags), (n, flags))
SENNIT_WRAP(int, timerfd_create, (int clock, int flags), (clock, flags))
SENNIT_WRAP(int, timerfd_settime, (int fd, int flags, const itimerspec* a, itimerspec* b), (fd, flags, a, b))
SENNIT_WRAP(int, signalfd, (int fd, const sigset_t* s, int flags), (fd, s, flags))
SENNIT_WRAP(int, memfd_create, (const char* name, unsigned flags), (name, flags))
SENNIT_WRAP(int, ftruncate, (int fd, off_t n), (fd, n))
SENNIT_WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
SENNIT_WRAP(void*, mmap, (void* at, size_t n, int prot, int flags, int fd, off_t from), (at, n, prot, flags, fd, from))
SENNIT_WRAP(int, mprotect, (void* at, size_t n, int prot), (at, n, prot))
SENNIT_WRAP(int, socket, (int d, int t, int p), (d, t, p))
SENNIT_WRAP(int, socketpair, (int d, int t, int p, int* fds), (d, t, p, fds))
SENNIT_WRAP(int, connect, (int fd, const sockaddr* a, socklen_t n), (fd, a, n))
SENNIT_WRAP(int, waitid, (idtype_t t, id_t id, siginfo_t* info, int options), (t, id, info, options))
SENNIT_WRAP(pid_t, fork, (), ())

int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* a, void* (*entry)(void*), void* argument) {
    if (const Verdict v = consult(c_pthread_create); v.error) return v.error;
    return __real_pthread_create(thread, a, entry, argument);
}

int __real_open(const char*, int, ...);
int __wrap_open(const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, unsigned) : 0;
    va_end(more);
    if (const Verdict v = consult(c_open); v.error) return errno = v.error, -1;
    return __real_open(path, flags, mode);
}
int __real_openat(int, const char*, int, ...);
int __wrap_openat(int at, const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, unsigned) : 0;
    va_end(more);
    if (const Verdict v = consult(c_openat); v.error) return errno = v.error, -1;
    return __real_openat(at, path, flags, mode);
}
int __real_fcntl(int, int, ...);
int __wrap_fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    void* const argument = va_arg(more, void*); // the widest there is
    va_end(more);
    if (const Verdict v = consult(c_fcntl); v.error) return errno = v.error, -1;
    return __real_fcntl(fd, command, argument);
}

int __real_clock_gettime(clockid_t, timespec*);
int __wrap_clock_gettime(clockid_t clock, timespec* at) {
#if defined(SENNIT_SHIM_WRAPS_NEW)
    const int result = __real_clock_gettime(clock, at);
    if (result == 0) at->tv_sec += off(clock);
    return result;
#else
    return clock_gettime(clock, at);
#endif
}
int __real_gettimeofday(timeval*, void*);
int __wrap_gettimeofday(timeval* at, void* zone) {
    const int result = __real_gettimeofday(at, zone);
    if (result == 0 && at) at->tv_sec += off(CLOCK_REALTIME);
    return result;
}
time_t __real_time(time_t*);
time_t __wrap_time(time_t* at) {
    const time_t now = __real_time(nullptr) + off(CLOCK_REALTIME);
    if (at) *at = now;
    return now;
}
#if !defined(SENNIT_SHIM_WRAPS_NEW)
// In the place of libc's, for libstdc++ too, whose clocks call it.
int clock_gettime(clockid_t clock, timespec* at) noexcept {
    static const auto libc = reinterpret_cast<int (*)(clockid_t, timespec*)>(::dlsym(RTLD_NEXT, "clock_gettime"));
    const int result = libc(clock, at);
    if (result == 0) at->tv_sec += off(clock);
    return result;
}
#endif

// Also the child between clone and exec comes through here, in its parent's memory and on a small stack: hence no
// instrumentation, and nothing is done to it.
#if defined(__clang__)
#define SENNIT_UNINSTRUMENTED __attribute__((disable_sanitizer_instrumentation))
#else
#define SENNIT_UNINSTRUMENTED __attribute__((no_sanitize("address", "thread", "undefined")))
#endif
static int consult_number(long number) {
    static constexpr struct {
        long number;
        Call call;
    } known[] = {{SYS_futex, c_futex},
                 {SYS_futex_waitv, c_futex},
                 {SYS_clone3, c_clone3},
                 {SYS_pidfd_open, c_pidfd_open},
                 {SYS_pidfd_send_signal, c_pidfd_send_signal},
                 {SYS_close_range, c_close_range},
                 {SYS_waitid, c_waitid},
                 {SYS_read, c_read},
                 {SYS_write, c_write},
                 {SYS_fcntl, c_fcntl},
                 {SYS_dup3, c_dup3},
                 {SYS_openat, c_openat}};
    for (const auto& k : known)
        if (k.number == number) return consult(k.call).error;
    return consult(c_other_syscall).error;
}
long __real_syscall(long, ...);
SENNIT_UNINSTRUMENTED long __wrap_syscall(long number, ...) {
    long a[6];
    va_list more;
    va_start(more, number);
    for (long& x : a) x = va_arg(more, long);
    va_end(more);
    // By the process's number: the child has the parent's memory, and its calls are none of ours.
    if (const int process = __atomic_load_n(&active_for_syscall, __ATOMIC_RELAXED);
        process != 0 && __real_syscall(SYS_getpid) == process) {
        if (const int error = consult_number(number)) return errno = error, -1;
    }
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void* __real_malloc(size_t);
void* __wrap_malloc(size_t n) { return may_allocate() ? __real_malloc(n) : (errno = ENOMEM, nullptr); }
void* __real_calloc(size_t, size_t);
void* __wrap_calloc(size_t n, size_t size) {
    return may_allocate() ? __real_calloc(n, size) : (errno = ENOMEM, nullptr);
}
void* __real_realloc(void*, size_t);
void* __wrap_realloc(void* p, size_t n) { return may_allocate() ? __real_realloc(p, n) : (errno = ENOMEM, nullptr); }
void* __real_aligned_alloc(size_t, size_t);
void* __wrap_aligned_alloc(size_t align, size_t n) {
    return may_allocate() ? __real_aligned_alloc(align, n) : (errno = ENOMEM, nullptr);
}
int __real_posix_memalign(void**, size_t, size_t);
int __wrap_posix_memalign(void** p, size_t align, size_t n) {
    return may_allocate() ? __real_posix_memalign(p, align, n) : ENOMEM;
}

} // extern "C"

#if defined(SENNIT_SHIM_WRAPS_NEW)

// ---- operator new where a sanitizer brings its own: only what this program calls, not the standard library's inside
extern "C" {
#define SENNIT_WRAP_NEW(name, parameters, arguments) \
    void* __real_##name parameters;                  \
    void* __wrap_##name parameters {                 \
        if (!may_allocate()) throw std::bad_alloc(); \
        return __real_##name arguments;              \
    }
SENNIT_WRAP_NEW(_Znwm, (std::size_t n), (n))
SENNIT_WRAP_NEW(_Znam, (std::size_t n), (n))
SENNIT_WRAP_NEW(_ZnwmSt11align_val_t, (std::size_t n, std::align_val_t a), (n, a))
SENNIT_WRAP_NEW(_ZnamSt11align_val_t, (std::size_t n, std::align_val_t a), (n, a))
#define SENNIT_WRAP_NOTHROW(name)                                          \
    void* __real_##name(std::size_t, const std::nothrow_t&) noexcept;      \
    void* __wrap_##name(std::size_t n, const std::nothrow_t& t) noexcept { \
        return may_allocate() ? __real_##name(n, t) : nullptr;             \
    }
SENNIT_WRAP_NOTHROW(_ZnwmRKSt9nothrow_t)
SENNIT_WRAP_NOTHROW(_ZnamRKSt9nothrow_t)
} // extern "C"

#else

// ---- operator new and delete, all of them; the memory is malloc's
namespace {

void* allocate(std::size_t n) noexcept { return may_allocate() ? __real_malloc(n == 0 ? 1 : n) : nullptr; }
void* allocate(std::size_t n, std::align_val_t align) noexcept {
    void* p = nullptr;
    const auto a = static_cast<std::size_t>(align);
    return may_allocate() && __real_posix_memalign(&p, a < sizeof p ? sizeof p : a, n == 0 ? 1 : n) == 0 ? p : nullptr;
}
void* or_throw(void* p) {
    if (!p) throw std::bad_alloc();
    return p;
}

} // namespace

void* operator new(std::size_t n) { return or_throw(allocate(n)); }
void* operator new[](std::size_t n) { return or_throw(allocate(n)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n); }
void* operator new(std::size_t n, std::align_val_t a) { return or_throw(allocate(n, a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return or_throw(allocate(n, a)); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return allocate(n, a); }
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return allocate(n, a); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }

#endif
