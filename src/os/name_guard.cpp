// The guard is a fork of a process whose locks may be held, and keeps none of its memory that can be large: it calls nothing of
// libc but syscall(), and touches its stack, its code and the table alone.
#include <sennit/os/name_guard.hpp>

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::os {
namespace {

constexpr int p_pidfd = 3; // P_PIDFD
using KernelSigset = std::uint64_t;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true; // their own memory is among what would be given up
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

// Gives up this process's copy of memory without a file (heap, stacks of threads), but for where `a` and `b` are: else the
// parent's would be kept twice as it goes on writing.
void give_up_memory(const void* a, const void* b) noexcept {
    if (sanitized) return;
    const auto keep_a = reinterpret_cast<std::uintptr_t>(a), keep_b = reinterpret_cast<std::uintptr_t>(b);
    const long maps = ::syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY, 0);
    // A line: FIRST-END rw-p OFFSET DEVICE INODE [PATH]
    std::uintptr_t number[2] = {0, 0};
    int field = 0, letter = 0; // of the line
    bool is_ours = true, has_file = false;
    char buffer[4096];
    for (;;) {
        const long n = ::syscall(SYS_read, maps, buffer, sizeof buffer);
        if (n <= 0) break;
        for (long i = 0; i < n; ++i) {
            const char c = buffer[i];
            if (c == '\n') {
                const auto has = [&](std::uintptr_t at) { return at >= number[0] && at < number[1]; };
                if (is_ours && !has_file && !has(keep_a) && !has(keep_b))
                    ::syscall(SYS_madvise, number[0], number[1] - number[0], MADV_DONTNEED);
                number[0] = number[1] = 0;
                field = letter = 0;
                is_ours = true;
                has_file = false;
            } else if (c == ' ' || (c == '-' && field == 0)) {
                if (field < 6) ++field; // a path may have spaces
                letter = 0;
            } else if (field < 2) {
                const unsigned digit = static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
                number[field] = number[field] * 16 + digit;
            } else if (field == 2) {
                constexpr char wanted[] = "rw-p";
                is_ours = is_ours && letter < 4 && c == wanted[letter];
                ++letter;
            } else if (field == 5) {
                has_file = has_file || c != '0';
            }
        }
    }
    ::syscall(SYS_close, maps);
}

} // namespace

NameGuard::NameGuard() : self_(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))), parent_(::getpid()) {
    if (!self_) throw OSError(errno, "pidfd_open: cannot watch this process");
    void* memory = ::mmap(nullptr, most * sizeof(Place), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw OSError(errno, "mmap: cannot share memory with the guard of shared memory's names");
    places_ = {static_cast<Place*>(memory), most}; // zeroes: free
    try {
        start();
    } catch (...) {
        ::munmap(memory, places_.size_bytes());
        throw;
    }
}

void NameGuard::start() {
    int pidfd = -1;
    const KernelSigset all = ~KernelSigset{0};
    KernelSigset before = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof before);
    const long pid = ::syscall(SYS_clone, CLONE_PIDFD, nullptr, &pidfd, nullptr, nullptr);
    if (pid == 0) guard();
    const int error = errno;
    // Out of this group before anything is in its care: it may not have come to its setsid() when the whole group is killed.
    if (pid > 0) ::syscall(SYS_setpgid, pid, pid);
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
    if (pid < 0)
        throw OSError(error, "clone: cannot start the guard that unlinks shared memory if this process is killed");
    pid_ = static_cast<pid_t>(pid);
    pidfd_.reset(pidfd);
}

void NameGuard::guard() noexcept {
    ::syscall(SYS_setsid);
    ::syscall(SYS_prctl, PR_SET_NAME, "sennit-guard", 0, 0, 0);
    // Keeps descriptor 0, and the process that it watches: an end of somebody's pipe in here would keep it open.
    ::syscall(SYS_dup3, self_.get(), 0, 0);
    ::syscall(SYS_close_range, 1U, ~0U, 0U);
    ::syscall(SYS_chdir, "/");                     // keeps no file system busy
    const std::span<const Place> places = places_; // this object may be in what is given up
    give_up_memory(&places, &errno);
    for (;;) {
        pollfd parent{0, POLLIN, 0};
        if (::syscall(SYS_ppoll, &parent, 1, nullptr, nullptr, sizeof(KernelSigset)) > 0) break;
    }
    const long shm = ::syscall(SYS_openat, AT_FDCWD, "/dev/shm", O_PATH | O_DIRECTORY, 0);
    for (const Place& place : places) {
        if (!place.name[0]) continue;
        struct stat now; // filled by the kernel
        if (::syscall(SYS_newfstatat, shm, place.name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
            now.st_dev == place.id.device && now.st_ino == place.id.inode)
            ::syscall(SYS_unlinkat, shm, place.name, 0);
    }
    for (;;) ::syscall(SYS_exit_group, 0);
}

std::size_t NameGuard::add(const char* name, const FileId& id) noexcept {
    const std::size_t length = std::strlen(name);
    if (length == 0 || length > longest_name) return most;
    for (std::size_t i = 0; i < most; ++i) {
        Place& place = places_[i];
        if (place.name[0]) continue;
        place.id = id;
        std::memcpy(place.name + 1, name + 1, length); // with the final NUL
        // release: the guard, which reads after this process's end, sees a whole name or none.
        __atomic_store_n(place.name, name[0], __ATOMIC_RELEASE);
        return i;
    }
    return most;
}

void NameGuard::forget(std::size_t place) noexcept { __atomic_store_n(places_[place].name, '\0', __ATOMIC_RELEASE); }

NameGuard::~NameGuard() {
    if (::getpid() == parent_) {
        ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
        siginfo_t info{};
        while (::syscall(SYS_waitid, p_pidfd, pidfd_.get(), &info, WEXITED | __WALL, nullptr) != 0 && errno == EINTR) {}
    }
    ::munmap(places_.data(), places_.size_bytes());
}

} // namespace sennit::os
