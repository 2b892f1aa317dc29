// Loaded before a program (LD_PRELOAD): says which descriptors it leaves open when it ends, by return, exit() or _exit(), other than
// those that it began with. One line each, at the end of the file that SENNIT_OPEN_AT_EXIT names:
//
//     PROGRAM PID: 5 -> socket:[1234]
//
// What valgrind's --track-fds tells, for programs that use what valgrind does not know (pidfd_open, io_uring).
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

bool had[4096]; // at the start

template <class F>
void each_open(F&& f) {
    DIR* const all = ::opendir("/proc/self/fd");
    if (!all) return;
    while (const dirent* one = ::readdir(all)) {
        if (one->d_name[0] == '.') continue;
        const int fd = std::atoi(one->d_name);
        if (fd != ::dirfd(all)) f(fd);
    }
    ::closedir(all);
}

__attribute__((constructor)) void note_what_is_open() {
    each_open([](int fd) {
        if (fd < static_cast<int>(sizeof had)) had[fd] = true;
    });
}

void say_what_is_open() {
    const char* const file = std::getenv("SENNIT_OPEN_AT_EXIT");
    if (!file) return;
    char program[PATH_MAX] = "?", name[64], what[256], line[512];
    const ssize_t n = ::readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) program[n] = '\0';
    const char* const slash = std::strrchr(program, '/');
    each_open([&](int fd) {
        if (fd < static_cast<int>(sizeof had) && had[fd]) return;
        std::snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        const ssize_t length = ::readlink(name, what, sizeof what - 1);
        what[std::max<ssize_t>(length, 0)] = '\0';
        const int size = std::snprintf(line, sizeof line, "%.150s %d: %d -> %.250s\n", slash ? slash + 1 : program,
                                       static_cast<int>(::getpid()), fd, what);
        const int to = ::open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (to < 0 || ::write(to, line, static_cast<std::size_t>(size)) != size) std::abort();
        ::close(to);
    });
}

__attribute__((destructor)) void at_the_end() { say_what_is_open(); }

} // namespace

extern "C" [[noreturn]] void _exit(int code) { // NOLINT(bugprone-reserved-identifier): libc's
    say_what_is_open();
    for (;;) ::syscall(SYS_exit_group, code);
}
