// this process             its child, before it executes            the guard, a copy of this process with the same
//                                                                   table of descriptors
//   o1  spawn                c1  leads a group                        g1  blocks all signals, has a session of its own
//   o2  ...                  c2  places[i] = itself                   g2  sleeps until the pidfd of this process says that it
//   o3  ends, at any         c3  asks to die with its parent              has ended
//       moment               c4  has it died already? Then ends       g3  kills the group of every place
//                            c5  executes
//
// 1. The guard reads the places only after this process has ended. Who executes then, or has executed, is in its place: if o3
//    is after c3, c2 is before o3, and so before g3; if o3 is before c3, c4 ends the child. So no place need be atomic: what
//    is torn or too late for g3 is of a child that ends at c4.
// 2. A place that is stale (the leader's descriptor closed and its number used anew) can name nothing but another descriptor of
//    this process: a pidfd of another group in care, which dies as well, or no pidfd, which the kernel refuses.
// 3. The guard never allocates and calls nothing of libc but syscall(): it is a fork of a process whose locks may be held.
// 4. A child that does not share this process's memory (spawn.cpp, 4) knows its pid only, and notes that.
#include <sennit/os/orphan_guard.hpp>

#include <sennit/base/errors.hpp>

#include <cerrno>
#include <csignal>
#include <linux/sched.h>
#include <new>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::os {
namespace {

constexpr unsigned pidfd_signal_process_group = 1U << 2; // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
constexpr int p_pidfd = 3;                               // P_PIDFD

using KernelSigset = std::uint64_t;

} // namespace

OrphanGuard::OrphanGuard(std::size_t places) : self_(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))) {
    if (!self_) throw OSError(errno, "pidfd_open: cannot watch this process");
    void* memory = ::mmap(nullptr, places * sizeof(ChildNote), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw OSError(errno, "mmap: cannot share memory with the guard of the jobs");
    places_ = {static_cast<ChildNote*>(memory), places}; // zeroes, which are free places
    try {
        start();
    } catch (...) {
        ::munmap(memory, places * sizeof(ChildNote));
        throw;
    }
}

void OrphanGuard::start() {
    int pidfd = -1;
    const KernelSigset all = ~KernelSigset{0};
    KernelSigset before = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof before);
    const long pid = ::syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD | SIGCHLD, nullptr, &pidfd, nullptr, nullptr);
    if (pid == 0) {
        ::syscall(SYS_setsid);
        ::syscall(SYS_prctl, PR_SET_NAME, "sennit-guard", 0, 0, 0);
        for (;;) {
            pollfd parent{self_.get(), POLLIN, 0};
            const long ready = ::syscall(SYS_ppoll, &parent, 1, nullptr, nullptr, sizeof(KernelSigset));
            if (ready > 0) break;
        }
        for (const std::uint64_t value : places_) {
            if (value == 0) continue;
            const int leader_pidfd = static_cast<int>(value & 0xffffffff) - 1;
            const auto leader = static_cast<pid_t>(value >> 32);
            if (leader_pidfd >= 0 &&
                (::syscall(SYS_pidfd_send_signal, leader_pidfd, SIGKILL, nullptr, pidfd_signal_process_group) == 0 ||
                 errno != EINVAL))
                continue;
            // Before Linux 6.9: by number, which is taken as long as anybody is in the group.
            if (leader > 1) ::syscall(SYS_kill, -leader, SIGKILL);
        }
        for (;;) ::syscall(SYS_exit_group, 0);
    }
    const int error = errno;
    // Out of this group before anything is in its care: it may not have come to its setsid() when the whole group is killed.
    if (pid > 0) ::syscall(SYS_setpgid, pid, pid);
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
    if (pid < 0) throw OSError(error, "clone: cannot start the guard that ends the jobs if this process is killed");
    pid_ = static_cast<pid_t>(pid);
    pidfd_.reset(pidfd);
}

OrphanGuard::~OrphanGuard() {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    siginfo_t info{};
    while (::syscall(SYS_waitid, p_pidfd, pidfd_.get(), &info, WEXITED, nullptr) != 0 && errno == EINTR) {}
    ::munmap(const_cast<std::uint64_t*>(places_.data()), places_.size_bytes());
}

} // namespace sennit::os
