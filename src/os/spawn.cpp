// Starting a program the way vfork does: the child borrows the parent's memory until it executes.
//
//   parent                                         child, on a stack of its own
//   p1  gathers all that the child will need       c1  session and group, descriptors, directory, umask
//   p2  clone3, sleeps in the kernel               c2  default signals, credentials, note, parent-death signal
//   p3  reads what failed, if anything             c3  marks close-on-exec what it was not given
//                                                  c4  sets its signal mask, executes
//                                                  c5  on failure: writes step and errno, ends
//
// 1. The child never runs a signal handler of the parent on the parent's memory: clone3 resets them all before the child
//    exists (CLONE_CLEAR_SIGHAND). Where that is missing, the parent blocks all signals around p2 (also those of libc,
//    that end and synchronise threads), and the child resets the handlers one by one before c4 unblocks.
// 2. The child takes no lock, allocates nothing and calls no libc function but syscall(): libc's setuid() and friends
//    talk to all threads, malloc may be locked by a thread that does not run in the child. Its errno is the parent's,
//    which saves and restores it.
// 3. Between p2 and the end of c4 or c5 the parent's thread does not run (CLONE_VFORK), so `Task` is not shared in time.
// 4. Some tools turn CLONE_VM | CLONE_VFORK into a plain fork (valgrind, qemu-user). So c0 sets `entered`: a parent that
//    does not find it set knows that memory is not shared and reads the failure from a pipe. The pipe is made until the
//    first child of the process has shown that memory is shared.
//
// Source: clone(2), vfork(2), close_range(2), pidfd_send_signal(2), waitid(2); glibc sysdeps/unix/sysv/linux/spawni.c;
// python/cpython Modules/_posixsubprocess.c (order of steps, PATH lookup).
#include <sennit/os/spawn.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/poll.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <linux/sched.h>
#include <new>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif

// The child's code: runs in the parent's memory behind the back of the sanitizers, whose books are the parent's.
#if defined(__clang__)
#define SENNIT_IN_CHILD \
    __attribute__((no_sanitize("address", "thread", "undefined"), disable_sanitizer_instrumentation))
#else
#define SENNIT_IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

namespace sennit::os {
namespace {

constexpr unsigned pidfd_signal_process_group = 1U << 2; // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
constexpr unsigned close_range_cloexec = 1U << 2;        // CLOSE_RANGE_CLOEXEC
constexpr int p_pidfd = 3;                               // P_PIDFD, Linux 5.4
constexpr int first_free_fd = 3;                         // 0-2 are the standard streams
using KernelSigset = std::uint64_t;                      // the kernel's sigset_t: 64 signals
constexpr KernelSigset no_signals = 0, all_signals = ~KernelSigset{0};

// ---- the child's stack

// Room for a PATH candidate, the lazy binding of syscall() with the widest registers, and unoptimised code.
constexpr std::size_t stack_bytes = 64 * 1024;
constexpr std::size_t guard_bytes = 4096;
constexpr std::size_t stack_slots = 8;

// Stacks of earlier spawns, warm and mapped; each slot is empty or owned by who exchanges it out.
constinit atomic<void*> spare_stacks[stack_slots]{};

void* take_stack() noexcept {
    for (auto& slot : spare_stacks) {
        // relaxed look before the exchange: only saves traffic. acquire: meets the release in give_stack.
        if (slot.load(memory_order_relaxed) == nullptr) continue;
        if (void* stack = slot.exchange(nullptr, memory_order_acquire)) return stack;
    }
    void* stack = ::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return nullptr;
    ::mprotect(stack, guard_bytes, PROT_NONE); // an overflow ends the child, not the parent's memory
    return stack;
}

void give_stack(void* stack) noexcept {
    for (auto& slot : spare_stacks) {
        void* empty = nullptr;
        // release: what the child wrote is over; meets the acquire in take_stack.
        if (slot.compare_exchange_strong(empty, stack, memory_order_release, memory_order_relaxed)) return;
    }
    ::munmap(stack, stack_bytes);
}

// ---- what the child is told, and what it tells

struct Task {
    const SpawnRequest* request;
    const char* const* envp;
    const char* path;         // value of PATH for the lookup; nullptr: `file` is used as it is
    const FdMapping* mapping; // [mapping_count]
    std::size_t mapping_count;
    int* source;      // [mapping_count], scratch: where each mapping's source is now
    const int* kept;  // [kept_count], sorted, unique, all >= 3: not closed
    const int* given; // [given_count]: lose their close-on-exec flag
    std::size_t kept_count, given_count;
    const gid_t* groups; // [group_count]
    std::size_t group_count;
    bool sets_mask; // else the child has the caller's already
    KernelSigset mask;
    pid_t parent;
    bool handlers_are_reset; // by the kernel
    int failure_pipe;        // -1: memory is known to be shared

    // Written by the child.
    volatile bool entered;
    SpawnFailure failure;
    // Written by the kernel, before the child runs.
    int pidfd;
};

enum class Memory : int { unknown, shared, separate };
// relaxed everywhere: a hint about the kernel that any thread may find out again.
constinit atomic<Memory> child_memory{Memory::unknown};
[[maybe_unused]] constinit atomic<bool> clone3_works{true};
constinit atomic<bool> group_signal_works{true};

// valgrind knows no pidfd_send_signal. There, and only there, signals go by number, and never to a stranger: reaping and
// signalling exclude each other, so the number is still the child's.
constinit atomic<bool> signals_by_number{false};
constinit Mutex by_number_mutex;

// ---- the child

[[noreturn]] SENNIT_IN_CHILD void child_fails(Task& task, SpawnStep step, int error) noexcept {
    task.failure.step = step;
    task.failure.error = error;
    if (task.failure_pipe >= 0) ::syscall(SYS_write, task.failure_pipe, &task.failure, sizeof task.failure);
    for (;;) ::syscall(SYS_exit_group, 127);
}

SENNIT_IN_CHILD bool is_target(const Task& task, int fd) noexcept {
    for (std::size_t i = 0; i < task.mapping_count; ++i)
        if (task.mapping[i].to == fd) return true;
    return false;
}

// Keeps what is to be kept; moves every source out of the way of the other mappings' targets, then puts each in its place.
SENNIT_IN_CHILD void child_maps_fds(Task& task) noexcept {
    for (std::size_t i = 0; i < task.given_count; ++i) {
        if (is_target(task, task.given[i])) continue;
        if (::syscall(SYS_fcntl, task.given[i], F_SETFD, 0) < 0) child_fails(task, SpawnStep::fds, errno);
    }
    for (std::size_t i = 0; i < task.mapping_count; ++i) {
        const int from = task.mapping[i].from;
        task.source[i] = from;
        if (from == task.mapping[i].to || !is_target(task, from)) continue;
        // A free number that is no target. One that is a target is left as it is: it will be overwritten.
        long copy = first_free_fd - 1;
        do {
            copy = ::syscall(SYS_fcntl, from, F_DUPFD_CLOEXEC, copy + 1);
            if (copy < 0) child_fails(task, SpawnStep::fds, errno);
        } while (is_target(task, static_cast<int>(copy)));
        task.source[i] = static_cast<int>(copy);
    }
    for (std::size_t i = 0; i < task.mapping_count; ++i) {
        const int to = task.mapping[i].to;
        const long done =
            task.source[i] == to ? ::syscall(SYS_fcntl, to, F_SETFD, 0) : ::syscall(SYS_dup3, task.source[i], to, 0);
        if (done < 0) child_fails(task, SpawnStep::fds, errno);
    }
}

// Closes first .. last one by one, for kernels without close_range: what /proc/self/fd lists, else all numbers.
SENNIT_IN_CHILD void child_closes_slowly(unsigned first, unsigned last) noexcept {
    struct Entry { // linux_dirent64
        std::uint64_t inode;
        std::int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[5]; // goes on to its NUL
    };
    const long dir = ::syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        rlimit limit{};
        ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit);
        const unsigned end = limit.rlim_cur > 1'048'576 ? 1'048'576U : static_cast<unsigned>(limit.rlim_cur);
        for (unsigned fd = first; fd <= last && fd < end; ++fd) ::syscall(SYS_close, fd);
        return;
    }
    alignas(Entry) char buffer[2048];
    long size = 0;
    while ((size = ::syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < size;) {
            const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
            at += entry->length;
            unsigned fd = 0;
            const char* digit = entry->name;
            for (; *digit >= '0' && *digit <= '9'; ++digit) fd = fd * 10 + static_cast<unsigned>(*digit - '0');
            if (digit == entry->name || fd < first || fd > last || fd == static_cast<unsigned>(dir)) continue;
            ::syscall(SYS_close, fd);
        }
    }
    ::syscall(SYS_close, dir);
}

SENNIT_IN_CHILD void child_closes(unsigned first, unsigned last) noexcept {
    // To mark them for execve is one operation on a bit map (0.2 us); to close a range looks at each number (2 us).
    // The mark came with Linux 5.11, the call with 5.9.
    if (::syscall(SYS_close_range, first, last, close_range_cloexec) == 0) return;
    if (::syscall(SYS_close_range, first, last, 0) != 0) child_closes_slowly(first, last);
}

SENNIT_IN_CHILD void child_closes_the_rest(const Task& task) noexcept {
    unsigned next = first_free_fd;
    for (std::size_t i = 0; i < task.kept_count; ++i) {
        const auto keep = static_cast<unsigned>(task.kept[i]);
        if (keep > next) child_closes(next, keep - 1);
        next = keep + 1;
    }
    child_closes(next, ~0U);
}

// The kernel's struct sigaction is {handler, flags, ...} but on MIPS; all zero means SIG_DFL, no flags, on every one.
SENNIT_IN_CHILD void child_resets_signals(const Task& task) noexcept {
    alignas(long) char zero[64] = {};
    if (!task.handlers_are_reset) {
        for (int signal = 1; signal < _NSIG; ++signal) {
            long now[8] = {};
            if (::syscall(SYS_rt_sigaction, signal, nullptr, now, sizeof(KernelSigset)) != 0) continue;
            if (now[0] == reinterpret_cast<long>(SIG_DFL) || now[0] == reinterpret_cast<long>(SIG_IGN)) continue;
            ::syscall(SYS_rt_sigaction, signal, zero, nullptr, sizeof(KernelSigset));
        }
    }
    if (task.request->restore_signals) { // those that Python's interpreter, and many a program, ignores for itself
        ::syscall(SYS_rt_sigaction, SIGPIPE, zero, nullptr, sizeof(KernelSigset));
        ::syscall(SYS_rt_sigaction, SIGXFSZ, zero, nullptr, sizeof(KernelSigset));
    }
}

SENNIT_IN_CHILD void child_takes_credentials(Task& task) noexcept {
    const SpawnRequest& r = *task.request;
    if (task.groups != nullptr && ::syscall(SYS_setgroups, task.group_count, task.groups) != 0)
        child_fails(task, SpawnStep::credentials, errno);
    if (r.group.has_value() && ::syscall(SYS_setresgid, *r.group, *r.group, *r.group) != 0)
        child_fails(task, SpawnStep::credentials, errno);
    if (r.user.has_value() && ::syscall(SYS_setresuid, *r.user, *r.user, *r.user) != 0)
        child_fails(task, SpawnStep::credentials, errno);
}

// Executes; comes back with what to report. Goes on after every failure, as CPython does, and reports the first that
// says more than "not here".
SENNIT_IN_CHILD int child_executes(const Task& task) noexcept {
    const SpawnRequest& r = *task.request;
    if (task.path == nullptr) {
        ::syscall(SYS_execve, r.file, r.argv, task.envp);
        return errno;
    }
    char candidate[PATH_MAX];
    std::size_t file_length = 0;
    while (r.file[file_length] != '\0') ++file_length;
    int reported = 0;
    int last = ENOENT;
    const char* dir = task.path;
    for (;;) {
        std::size_t length = 0;
        while (dir[length] != '\0' && dir[length] != ':') ++length;
        if (length + 1 + file_length + 1 > sizeof candidate) {
            last = ENAMETOOLONG;
        } else {
            std::size_t at = 0;
            for (std::size_t i = 0; i < length; ++i) candidate[at++] = dir[i];
            if (length != 0) candidate[at++] = '/'; // an empty entry is the working directory
            for (std::size_t i = 0; i <= file_length; ++i) candidate[at++] = r.file[i];
            ::syscall(SYS_execve, candidate, r.argv, task.envp);
            last = errno;
        }
        if (last != ENOENT && last != ENOTDIR && reported == 0) reported = last;
        if (dir[length] == '\0') return reported != 0 ? reported : last;
        dir += length + 1;
    }
}

SENNIT_IN_CHILD std::uint64_t note_of(pid_t pid, int pidfd) noexcept {
    return static_cast<std::uint64_t>(pid) << 32 | static_cast<std::uint64_t>(pidfd + 1);
}

SENNIT_IN_CHILD int child_main(void* argument) noexcept {
    Task& task = *static_cast<Task*>(argument);
    task.entered = true;
    const SpawnRequest& r = *task.request;
    if (r.new_session && ::syscall(SYS_setsid) < 0) child_fails(task, SpawnStep::session, errno);
    const bool leads_already = r.new_session && r.process_group == 0;
    if (r.process_group >= 0 && !leads_already && ::syscall(SYS_setpgid, 0, r.process_group) != 0)
        child_fails(task, SpawnStep::session, errno);
    child_maps_fds(task);
    if (r.cwd != nullptr && ::syscall(SYS_chdir, r.cwd) != 0) child_fails(task, SpawnStep::cwd, errno);
    if (r.umask.has_value()) ::syscall(SYS_umask, *r.umask);
    child_resets_signals(task);
    child_takes_credentials(task);
    // Before the parent-death signal: a parent that dies before this leaves a child that finds no parent below and ends; one
    // that dies later has its child noted.
    if (r.note != nullptr) *r.note = note_of(static_cast<pid_t>(::syscall(SYS_getpid)), task.pidfd);
    if (r.parent_death_signal != 0) { // after the credentials, whose change clears it
        if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, r.parent_death_signal, 0, 0, 0) != 0)
            child_fails(task, SpawnStep::session, errno);
        if (::syscall(SYS_getppid) != task.parent) child_fails(task, SpawnStep::session, ESRCH); // died before that
    }
    if (r.close_fds) child_closes_the_rest(task);
    if (task.sets_mask) ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &task.mask, nullptr, sizeof task.mask);
    child_fails(task, SpawnStep::exec, child_executes(task));
}

// ---- the parent

// What the child does first: run(task), which never returns.
struct Entry {
    int (*run)(void*) noexcept;
    void* task;
};

#if defined(__x86_64__) || defined(__aarch64__)
#define SENNIT_RAW_CLONE 1
// clone3(a, b) or clone(a, b, c), where the child goes on at `entry` on the stack that the arguments name. Gives the pid or
// -errno. By hand, as libc has no clone3 for us and ThreadSanitizer replaces clone() by one that breaks with CLONE_VM.
SENNIT_IN_CHILD long raw_clone(long number, std::uintptr_t a, std::uintptr_t b, std::uintptr_t c,
                               const Entry& entry) noexcept {
#if defined(__x86_64__)
    asm volatile("xorl %%r10d, %%r10d\n\t"
                 "xorl %%r8d, %%r8d\n\t"
                 "syscall\n\t"
                 "testq %%rax, %%rax\n\t"
                 "jnz 1f\n\t"
                 "xorl %%ebp, %%ebp\n\t" // the end of the chain of frames
                 "movq 8(%%rbx), %%rdi\n\t"
                 "callq *(%%rbx)\n\t"
                 "ud2\n"
                 "1:"
                 : "+a"(number)
                 : "D"(a), "S"(b), "d"(c), "b"(&entry)
                 : "r8", "r10", "rcx", "r11", "memory", "cc");
    return number;
#else
    register long x8 asm("x8") = number;
    register std::uintptr_t x0 asm("x0") = a;
    register std::uintptr_t x1 asm("x1") = b;
    register std::uintptr_t x2 asm("x2") = c;
    register const Entry* x9 asm("x9") = &entry;
    asm volatile("mov x3, xzr\n\t"
                 "mov x4, xzr\n\t"
                 "svc #0\n\t"
                 "cbnz x0, 1f\n\t"
                 "mov x29, xzr\n\t"
                 "mov x30, xzr\n\t"
                 "ldp x10, x0, [x9]\n\t"
                 "blr x10\n\t"
                 "brk #1\n"
                 "1:"
                 : "+r"(x0)
                 : "r"(x8), "r"(x1), "r"(x2), "r"(x9)
                 : "x3", "x4", "x10", "memory", "cc");
    return static_cast<long>(x0);
#endif
}
#endif

// Gives the pid or -errno.
long start_child(Task& task, void* stack) noexcept {
    constexpr std::uint64_t flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
    char* const stack_top = static_cast<char*>(stack) + stack_bytes;
#if defined(SENNIT_RAW_CLONE)
    const Entry entry{child_main, &task};
    if (clone3_works.load(memory_order_relaxed)) {
        clone_args args{};
        args.flags = flags | CLONE_CLEAR_SIGHAND;
        args.pidfd = reinterpret_cast<std::uintptr_t>(&task.pidfd);
        args.exit_signal = SIGCHLD;
        args.stack = reinterpret_cast<std::uintptr_t>(stack);
        args.stack_size = stack_bytes;
        task.handlers_are_reset = true;
        task.sets_mask = task.request->restore_signals;
        task.mask = no_signals;
        const long pid = raw_clone(SYS_clone3, reinterpret_cast<std::uintptr_t>(&args), sizeof args, 0, entry);
        // EINVAL: a kernel that does not know the flag. EPERM: a sandbox that refuses what it does not know.
        if (pid > 0 || (pid != -ENOSYS && pid != -EINVAL && pid != -EPERM)) return pid;
        clone3_works.store(false, memory_order_relaxed);
    }
#endif
    KernelSigset before = 0;
    // By the bare system call: libc's leaves its own signals unblocked.
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &before, sizeof before);
    task.handlers_are_reset = false;
    task.sets_mask = true;
    task.mask = task.request->restore_signals ? no_signals : before;
#if defined(SENNIT_RAW_CLONE)
    const long pid = raw_clone(SYS_clone, flags | SIGCHLD, reinterpret_cast<std::uintptr_t>(stack_top),
                               reinterpret_cast<std::uintptr_t>(&task.pidfd), entry);
#else
    int pid = ::clone(child_main, stack_top, static_cast<int>(flags) | SIGCHLD, &task, &task.pidfd);
    if (pid < 0) pid = -errno;
#endif
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
    return pid;
}

const char* path_of(const char* const* envp) noexcept {
    for (; *envp != nullptr; ++envp)
        if (std::strncmp(*envp, "PATH=", 5) == 0) return *envp + 5;
    return "/bin:/usr/bin"; // as glibc's execvp and Python's os.defpath
}

// Numbers in the child, sorted and unique. Small lists live on the stack.
class IntList {
  public:
    ~IntList() {
        if (data_ != inline_) ::operator delete(data_);
    }
    IntList() noexcept = default;
    IntList(const IntList&) = delete;
    IntList& operator=(const IntList&) = delete;

    bool reserve(std::size_t capacity) noexcept {
        if (capacity <= std::size(inline_)) return true;
        data_ = static_cast<int*>(::operator new(capacity * sizeof(int), std::nothrow));
        return data_ != nullptr;
    }
    void push(int value) noexcept { data_[size_++] = value; }
    void sort_unique() noexcept {
        if (size_ < 2) return;
        std::sort(data_, data_ + size_);
        size_ = static_cast<std::size_t>(std::unique(data_, data_ + size_) - data_);
    }
    [[nodiscard]] int* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    int inline_[24];
    int* data_ = inline_;
    std::size_t size_ = 0;
};

// A pipe whose write end the child keeps for its failure, away from the numbers that the mappings write over.
int make_failure_pipe(const SpawnRequest& request, Fd& read_end, Fd& write_end) noexcept {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return errno;
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
    int number = first_free_fd;
    for (const FdMapping& m : request.fds) number = std::max(number, m.to + 1);
    if (write_end.get() < number) {
        const int moved = ::fcntl(write_end.get(), F_DUPFD_CLOEXEC, number);
        if (moved < 0) return errno;
        write_end.reset(moved);
    }
    return 0;
}

// Reads what a child in separate memory reports; nothing before the end of file means that it has executed.
SpawnFailure read_failure(int fd) noexcept {
    SpawnFailure failure;
    ssize_t n = 0;
    do n = ::read(fd, &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    return n == static_cast<ssize_t>(sizeof failure) ? failure : SpawnFailure{};
}

} // namespace

SpawnFailure spawn(const SpawnRequest& request, ChildProcess& child) noexcept {
    const int saved_errno = errno;
    reap_released();
    Task task{};
    task.request = &request;
    task.envp = request.envp != nullptr ? request.envp : environ;
    task.path = request.file[0] == '\0' || std::strchr(request.file, '/') != nullptr ? nullptr : path_of(task.envp);
    task.mapping = request.fds.data();
    task.mapping_count = request.fds.size();
    if (request.extra_groups.has_value()) {
        static constexpr gid_t none = 0;
        task.groups = request.extra_groups->empty() ? &none : request.extra_groups->data();
        task.group_count = request.extra_groups->size();
    }
    if (request.parent_death_signal != 0) task.parent = ::getpid();

    IntList source, kept;
    if (!source.reserve(request.fds.size()) || !kept.reserve(request.fds.size() + request.keep_fds.size() + 1))
        return {SpawnStep::resources, ENOMEM};
    task.source = source.data();
    task.given = request.keep_fds.data();
    task.given_count = request.keep_fds.size();

    Fd failure_read, failure_write;
    task.failure_pipe = -1;
    if (child_memory.load(memory_order_relaxed) != Memory::shared) {
        if (const int error = make_failure_pipe(request, failure_read, failure_write); error != 0) {
            errno = saved_errno;
            return {SpawnStep::resources, error};
        }
        task.failure_pipe = failure_write.get();
        kept.push(task.failure_pipe);
    }
    if (request.close_fds) {
        for (const FdMapping& m : request.fds)
            if (m.to >= first_free_fd) kept.push(m.to);
        for (const int fd : request.keep_fds)
            if (fd >= first_free_fd) kept.push(fd);
        kept.sort_unique();
    }
    task.kept = kept.data();
    task.kept_count = kept.size();

    void* stack = take_stack();
    if (stack == nullptr) {
        errno = saved_errno;
        return {SpawnStep::resources, ENOMEM};
    }

    task.pidfd = -1;
    const int refused = FAULT_POINT_ERROR("spawn.clone");
    const long pid = refused != 0 ? -refused : start_child(task, stack);
    FAULT_POINT("spawn.cloned");

    SpawnFailure failure;
    if (pid < 0) {
        give_stack(stack);
        failure = {SpawnStep::resources, static_cast<int>(-pid)};
    } else {
        const int pidfd = task.pidfd;
        ChildProcess started(static_cast<pid_t>(pid), Fd(pidfd));
        give_stack(stack); // in separate memory the child has a copy of it
        if (task.entered) {
            child_memory.store(Memory::shared, memory_order_relaxed);
            failure = task.failure;
        } else {
            child_memory.store(Memory::separate, memory_order_relaxed);
            // relaxed: set before the child is known to anybody who could signal or reap it.
            if (started.send_signal(0) == ENOSYS) signals_by_number.store(true, memory_order_relaxed);
            failure_write.reset();
            failure = read_failure(failure_read.get());
            if (request.note != nullptr) *request.note = note_of(started.pid(), pidfd);
        }
        if (failure.step != SpawnStep::none) {
            if (request.note != nullptr) *request.note = 0;
            started.wait(forever); // it ends by itself
        } else {
            if (pidfd < first_free_fd) { // the standard streams are closed: keep their numbers free
                if (const int moved = ::fcntl(pidfd, F_DUPFD_CLOEXEC, first_free_fd); moved >= 0) {
                    if (request.note != nullptr) *request.note = note_of(started.pid(), moved);
                    started.pidfd_.reset(moved);
                }
            }
            child = std::move(started);
        }
    }
    errno = saved_errno;
    return failure;
}

// ---- ChildProcess

namespace {

constexpr std::int64_t ns(const timeval& t) noexcept { return t.tv_sec * 1'000'000'000LL + t.tv_usec * 1'000LL; }

// waitid with the fifth argument that libc's lacks. Gives 0 or an errno; info.si_pid is 0 while the child runs.
int wait_pidfd(int pidfd, int options, siginfo_t& info, rusage& usage) noexcept {
    const int saved = errno;
    int error = 0;
    do {
        info.si_pid = 0;
        error = ::syscall(SYS_waitid, p_pidfd, pidfd, &info, options, &usage) == 0 ? 0 : errno;
    } while (error == EINTR);
    errno = saved;
    return error;
}

ExitStatus exit_status(int error, const siginfo_t& info, const rusage& usage) noexcept {
    ExitStatus status;
    if (error != 0) { // ECHILD: the kernel or somebody else has reaped it
        status.unknown = true;
        return status;
    }
    status.code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    status.core_dumped = info.si_code == CLD_DUMPED;
    status.user_ns = ns(usage.ru_utime);
    status.system_ns = ns(usage.ru_stime);
    status.max_rss_bytes = usage.ru_maxrss * 1024LL;
    return status;
}

} // namespace

std::optional<ExitStatus> ChildProcess::reap(int options) noexcept {
    siginfo_t info{};
    rusage usage{};
    const int error = wait_pidfd(pidfd_.get(), WEXITED | options, info, usage);
    if (error == 0 && info.si_pid == 0) return std::nullopt;
    reaped_ = true;
    return exit_status(error, info, usage);
}

std::optional<ExitStatus> ChildProcess::reap_by_number(int options) noexcept {
    siginfo_t info{};
    rusage usage{};
    if (options == 0) wait_pidfd(pidfd_.get(), WEXITED | WNOWAIT, info, usage);
    const MutexGuard guard(by_number_mutex);
    return reap(WNOHANG);
}

std::optional<ExitStatus> ChildProcess::try_wait() noexcept {
    // relaxed, here and below: see signals_by_number.
    return signals_by_number.load(memory_order_relaxed) ? reap_by_number(WNOHANG) : reap(WNOHANG);
}

std::optional<ExitStatus> ChildProcess::wait(Deadline deadline) noexcept {
    if (deadline.is_forever()) return signals_by_number.load(memory_order_relaxed) ? reap_by_number(0) : reap(0);
    for (;;) {
        if (auto status = try_wait()) return status;
        if (deadline.has_passed()) return std::nullopt;
        pollfd ended{pidfd_.get(), POLLIN, 0};
        poll_fds({&ended, 1}, deadline);
    }
}

int ChildProcess::send_signal(int signal) const noexcept {
    const int saved = errno;
    int error = 0;
    if (!signals_by_number.load(memory_order_relaxed)) {
        error = ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) == 0 ? 0 : errno;
    } else {
        const MutexGuard guard(by_number_mutex);
        error = reaped_ || ::syscall(SYS_tgkill, pid_, pid_, signal) == 0 ? 0 : errno;
    }
    if (error == ESRCH) error = 0;
    errno = saved;
    return error;
}

int ChildProcess::send_signal_to_group(int signal) const noexcept {
    const int saved = errno;
    int error = EINVAL;
    if (group_signal_works.load(memory_order_relaxed)) {
        // Reaches the group by identity, not by number: right also after the leader was reaped.
        error = ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, pidfd_signal_process_group) == 0
                    ? 0
                    : errno;
        if (error == ENOSYS || (error == EINVAL && signal >= 0 && signal < _NSIG))
            group_signal_works.store(false, memory_order_relaxed);
    }
    if (error == EINVAL || error == ENOSYS) {
        // Older kernels: by number, which is the group's as long as its leader has not been reaped.
        error = reaped_ ? ESRCH : ::killpg(pid_, signal) == 0 ? 0 : errno;
    }
    if (error == ESRCH) error = 0;
    errno = saved;
    return error;
}

// ---- children that nobody waits for any more

namespace {

// A released child: owned by the list, on the heap.
struct Released {
    ChildProcess child;
    Released* next;
};

constinit Mutex released_mutex;
constinit Released* released SENNIT_GUARDED_BY(released_mutex) = nullptr;
// relaxed: only says whether looking is worth while; a child that is missed now is found at the next spawn.
constinit atomic<bool> any_released{false};

} // namespace

void release_to_reaper(ChildProcess&& child) noexcept {
    if (!child || child.try_wait()) return;
    auto* const entry = new (std::nothrow) Released{std::move(child), nullptr};
    if (entry == nullptr) return; // no memory: the zombie stays until this process ends
    const MutexGuard guard(released_mutex);
    entry->next = released;
    released = entry;
    any_released.store(true, memory_order_relaxed);
}

void reap_released() noexcept {
    if (!any_released.load(memory_order_relaxed)) return;
    Released* ended = nullptr;
    {
        const MutexGuard guard(released_mutex);
        for (Released** link = &released; *link != nullptr;) {
            Released* const entry = *link;
            if (!entry->child.try_wait()) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            entry->next = ended;
            ended = entry;
        }
        any_released.store(released != nullptr, memory_order_relaxed);
    }
    while (ended != nullptr) delete std::exchange(ended, ended->next);
}

// ---- saying what went wrong

std::string describe(const SpawnFailure& failure, const SpawnRequest& request) {
    std::string file = "'" + std::string(request.file) + "'";
    switch (failure.step) {
    case SpawnStep::cwd:
        return "cannot start " + file + ": cannot enter its working directory '" + request.cwd + "'";
    case SpawnStep::fds:
        return "cannot start " + file + ": a descriptor to hand over is not open or there is no number left for it";
    case SpawnStep::session:
        return "cannot start " + file + ": cannot make its session, join process group " +
               std::to_string(request.process_group) + ", or bind it to this thread";
    case SpawnStep::credentials:
        return "cannot start " + file + ": cannot take the user, group or extra groups asked for";
    case SpawnStep::resources:
        return "cannot start " + file + ": the system has no process, memory or descriptor for it";
    case SpawnStep::exec:
        break;
    case SpawnStep::none:
        return file + " was started";
    }
    const bool looked_up = std::strchr(request.file, '/') == nullptr;
    if (failure.error == ENOENT || failure.error == ENOTDIR) {
        if (looked_up) {
            const char* path = path_of(request.envp != nullptr ? request.envp : environ);
            return "cannot execute " + file + ": no such program in PATH (" + path + ")";
        }
        const bool here = request.file[0] == '/' || request.cwd == nullptr;
        if (here && ::access(request.file, F_OK) == 0)
            return "cannot execute " + file +
                   ": the file exists, but the interpreter that it names (first line, or ELF loader) does not";
        return "cannot execute " + file;
    }
    if (failure.error == EACCES)
        return "cannot execute " + file +
               ": it is not executable for this user, or no file, or lies in a closed directory";
    if (failure.error == ENOEXEC)
        return "cannot execute " + file + ": neither a program for this machine nor a script with #!";
    if (failure.error == E2BIG) return "cannot execute " + file + ": arguments and environment are too long together";
    return "cannot execute " + file;
}

} // namespace sennit::os
