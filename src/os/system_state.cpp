#include <sennit/os/system_state.hpp>

#include <sennit/os/file.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::os {
namespace {

template <class Number>
bool parse(std::string_view& text, Number& value) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

bool read_process(const std::string& stat, ProcessInfo& info) {
    // pid (name) state ppid pgrp session ...; the name may hold anything, also ')'.
    const std::size_t open = stat.find('('), close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open || close + 4 > stat.size())
        return false;
    std::string_view head(stat), tail(stat);
    tail.remove_prefix(close + 3);
    if (!tail.empty()) tail.remove_prefix(1);
    info.name = stat.substr(open + 1, close - open - 1);
    return parse(head, info.pid) && parse(tail, info.parent) && parse(tail, info.group) && parse(tail, info.session);
}

} // namespace

int runnable_count() {
    const std::string text = read_small_file("/proc/loadavg");
    std::string_view rest = text;
    for (int i = 0; i < 3; ++i) {
        const std::size_t space = rest.find(' ');
        if (space == std::string_view::npos) return -1;
        rest.remove_prefix(space + 1);
    }
    int running = 0;
    if (!parse(rest, running)) return -1;
    return std::max(0, running - 1);
}

std::int64_t available_memory_bytes() {
    const std::string text = read_small_file("/proc/meminfo");
    const std::size_t at = text.find("MemAvailable:");
    if (at == std::string::npos) return -1;
    std::string_view rest = std::string_view(text).substr(at + 13);
    std::int64_t kib = 0;
    return parse(rest, kib) ? kib * 1024 : -1;
}

std::vector<ProcessInfo> list_processes() {
    std::vector<ProcessInfo> all;
    DIR* const proc = ::opendir("/proc");
    if (proc == nullptr) return all;
    while (const dirent* entry = ::readdir(proc)) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        ProcessInfo info;
        if (read_process(read_small_file(("/proc/" + std::string(entry->d_name) + "/stat").c_str()), info))
            all.push_back(std::move(info));
    }
    ::closedir(proc);
    return all;
}

std::vector<ProcessInfo> outside_group(const std::vector<ProcessInfo>& all, pid_t root) {
    std::vector<pid_t> family{root};
    std::vector<ProcessInfo> outside;
    for (std::size_t i = 0; i < family.size(); ++i) {
        for (const ProcessInfo& p : all) {
            if (p.parent != family[i] || std::find(family.begin(), family.end(), p.pid) != family.end()) continue;
            family.push_back(p.pid);
            if (p.group != root) outside.push_back(p);
        }
    }
    return outside;
}

Fd open_process(pid_t pid) noexcept { return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

bool has_ended(int pidfd) noexcept {
    pollfd end{pidfd, POLLIN, 0};
    return poll_fds({&end, 1}, Deadline::poll()) > 0;
}

bool is_stopped(pid_t pid) noexcept {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
    char text[64]; // pid (name of at most 15 bytes) state
    const ssize_t n = file ? read_some(file.get(), text, sizeof text) : -1;
    const std::string_view stat(text, n > 0 ? static_cast<std::size_t>(n) : 0);
    const std::size_t close = stat.rfind(')');
    return close != std::string_view::npos && stat.substr(close + 1, 2) == " T";
}

bool is_program(const char* path) noexcept {
    struct stat info {};
    return ::access(path, X_OK) == 0 && ::stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

int terminal_columns(int fd) noexcept {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return 0;
    return size.ws_col > 0 ? size.ws_col : 80;
}

bool is_terminal(int fd) noexcept { return ::isatty(fd) == 1; }

std::int64_t own_cpu_ns() noexcept {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto ns = [](const timeval& t) { return t.tv_sec * 1'000'000'000LL + t.tv_usec * 1'000LL; };
    return ns(usage.ru_utime) + ns(usage.ru_stime);
}

std::int64_t thread_cpu_ns(std::int64_t thread_id) noexcept {
    // CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED, in the kernel's include/linux/posix-timers.h.
    constexpr std::int64_t per_thread_sched = 6;
    timespec t{};
    if (::clock_gettime(static_cast<clockid_t>(~thread_id * 8 | per_thread_sched), &t) != 0) return -1;
    return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

} // namespace sennit::os
