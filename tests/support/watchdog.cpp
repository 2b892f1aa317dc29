#include "watchdog.hpp"

#include "tier.hpp"

#include <sennit/wait/registry.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <span>
#include <string_view>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit::testing {
namespace {

using std::chrono::milliseconds;

// The kernel's clock and not base's: a test may have replaced that.
std::int64_t now_ms() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000LL + t.tv_nsec / 1'000'000;
}

// The whole of a small file of /proc; empty when there is none.
std::string_view read_small(const char* path, std::span<char> buffer) noexcept {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    ::close(fd);
    return {buffer.data(), n < 0 ? 0 : static_cast<std::size_t>(n)};
}

// CPU time of a process and of those of its children that it has waited for.
std::int64_t cpu_ms_of(const char* pid) noexcept {
    char path[64], buffer[1024];
    std::snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    const std::string_view stat = read_small(path, std::span(buffer, sizeof buffer - 1));
    const auto name_ends = stat.rfind(')');
    if (name_ends == stat.npos) return 0;
    buffer[stat.size()] = 0;
    std::int64_t ticks = 0;
    const char* at = buffer + name_ends + 2; // field 3; 14 to 17 are utime, stime, cutime, cstime
    for (int field = 3; field <= 17 && *at; ++field) {
        if (field >= 14) ticks += std::atoll(at);
        while (*at && *at != ' ') ++at;
        if (*at) ++at;
    }
    return ticks * 1'000 / ::sysconf(_SC_CLK_TCK);
}

// CPU time of this process and its dead children.
std::int64_t cpu_ms() noexcept {
    std::int64_t sum = 0;
    for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
        rusage u{};
        ::getrusage(who, &u);
        sum += (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000LL + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1'000;
    }
    return sum;
}

// The living children. Opens files, which a test may count: only once a test seems to hang.
template <class F>
void for_each_child(F f) noexcept {
    DIR* tasks = ::opendir("/proc/self/task");
    while (const dirent* task = tasks ? ::readdir(tasks) : nullptr) {
        char path[64], buffer[4096];
        std::snprintf(path, sizeof path, "/proc/self/task/%.16s/children", task->d_name);
        const std::string_view pids = read_small(path, std::span(buffer, sizeof buffer - 1));
        if (pids.empty()) continue;
        buffer[pids.size()] = 0;
        for (char *rest = buffer, *pid; (pid = ::strtok_r(rest, " ", &rest));) f(pid);
    }
    if (tasks) ::closedir(tasks);
}
std::int64_t children_cpu_ms() noexcept {
    std::int64_t sum = 0;
    for_each_child([&](const char* pid) { sum += cpu_ms_of(pid); });
    return sum;
}

// How long the threads of a process, this one's watchdog apart, have been ready to run and not had a core.
std::int64_t ready_ms_of(const char* pid) noexcept {
    std::int64_t sum = 0;
    char path[320], buffer[128];
    std::snprintf(path, sizeof path, "/proc/%.16s/task", pid);
    DIR* tasks = ::opendir(path);
    while (const dirent* task = tasks ? ::readdir(tasks) : nullptr) {
        if (std::atoi(task->d_name) == ::gettid()) continue;
        std::snprintf(path, sizeof path, "/proc/%.16s/task/%.16s/schedstat", pid, task->d_name);
        const std::string_view stat =
            read_small(path, std::span(buffer, sizeof buffer - 1)); // on a core, ready, how often
        if (stat.empty()) continue;
        buffer[stat.size()] = 0;
        const char* second = std::strchr(buffer, ' ');
        if (second) sum += std::atoll(second) / 1'000'000;
    }
    if (tasks) ::closedir(tasks);
    return sum;
}
std::int64_t ready_ms() noexcept {
    std::int64_t sum = ready_ms_of("self");
    for_each_child([&](const char* pid) { sum += ready_ms_of(pid); });
    return sum;
}

// Whether somebody of it would run if he had a core: who looks for something in a loop with sched_yield(), or takes a lock in turn with
// thousands, gets hardly any CPU time where others work.
bool is_kept_from_the_cores() noexcept {
    const std::int64_t before = ready_ms(), began = now_ms();
    timespec pause{0, 500'000'000};
    ::nanosleep(&pause, nullptr);
    return std::llabs(ready_ms() - before) > (now_ms() - began) / 5; // less also when one ends, with what it had
}

// Children may also wait for others, and a slow machine does not end that soon.
bool has_children() noexcept {
    siginfo_t info;
    return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

std::atomic<bool> running{false}, limit_ms_is_default{true};
std::atomic<std::int64_t> limit_ms{0};
std::atomic<unsigned> kicks{0};
char name[256]; // written before `running`, read after it

std::atomic<bool> watches{false};

void* watch(void*) {
    ::pthread_setname_np(::pthread_self(), "watchdog");
    watches.store(true, std::memory_order_release);
    const std::int64_t most_times = by_tier(24, 120, 600);
    unsigned seen = 0;
    std::int64_t test_began = 0, quiet_since = 0, cpu_then = 0, children_then = -1;
    bool was_running = false;
    for (;;) {
        timespec pause{0, 100'000'000};
        ::nanosleep(&pause, nullptr);
        if (!running.load(std::memory_order_acquire)) {
            was_running = false;
            continue;
        }
        const std::int64_t now = now_ms(), cpu = cpu_ms();
        if (!was_running || kicks.load() != seen) {
            was_running = true;
            seen = kicks.load();
            test_began = quiet_since = now;
            cpu_then = cpu;
            children_then = -1;
            continue;
        }
        std::int64_t h = limit_ms.load();
        std::int64_t worked = cpu - cpu_then;
        if (now - quiet_since > h && limit_ms_is_default.load() && has_children()) {
            const std::int64_t children = children_cpu_ms();
            if (children_then < 0) children_then = children;
            worked += std::llabs(children - children_then);
            h *= 2;
        }
        if (worked > (now - quiet_since) / 20) { // 5 % of the time since: more than idle polls take
            quiet_since = now;
            cpu_then = cpu;
            children_then = -1;
        }
        const bool idle = now - quiet_since > h;
        if (!idle && now - test_began < most_times * h) continue;
        if (idle && now - test_began < most_times * h && is_kept_from_the_cores()) {
            quiet_since = now;
            cpu_then = cpu;
            children_then = -1;
            continue;
        }
        std::fprintf(
            stderr, "\n[   HANG   ] %s: %s for %.1f s (H = %.1f s)\n", name, idle ? "has done nothing" : "has run",
            static_cast<double>(idle ? now - quiet_since : now - test_began) / 1e3, static_cast<double>(h) / 1e3);
        wait::dump_agents();
        std::fflush(nullptr);
        std::abort();
    }
    return nullptr;
}

} // namespace

milliseconds hang_limit(bool with_processes) noexcept {
    return milliseconds((with_processes ? 10'000 : 5'000) * (sanitized() ? 5 : 1));
}

void Watchdog::start() noexcept {
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigset_t all, old; // no signal of a test is handled on this thread
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t thread;
    if (const int e = ::pthread_create(&thread, &attributes, watch, nullptr))
        std::fprintf(stderr, "tests: no watchdog: %s\n", std::strerror(e));
    else // Its start takes memory. A fork() meanwhile left the child of a test with an allocator that is locked for ever, under a sanitizer.
        while (!watches.load(std::memory_order_acquire)) ::sched_yield();
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    ::pthread_attr_destroy(&attributes);
}

void Watchdog::begin(const char* test_name) noexcept {
    std::snprintf(name, sizeof name, "%s", test_name);
    limit_ms = hang_limit().count();
    limit_ms_is_default = true;
    kick();
    running.store(true, std::memory_order_release);
}

void Watchdog::end() noexcept { running.store(false, std::memory_order_release); }
void Watchdog::kick() noexcept { kicks.fetch_add(1); }
void Watchdog::set_limit(milliseconds h) noexcept {
    limit_ms_is_default = false;
    limit_ms = h.count();
}

} // namespace sennit::testing
