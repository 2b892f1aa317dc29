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
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
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

std::atomic<bool> running{false};
std::atomic<std::int64_t> limit_ms{0};
std::atomic<unsigned> kicks{0};
char name[256]; // written before `running`, read after it

void* watch(void*) {
    ::pthread_setname_np(::pthread_self(), "watchdog");
    unsigned seen = 0;
    std::int64_t test_began = 0, quiet_since = 0, cpu_then = 0;
    bool was_running = false;
    for (;;) {
        timespec pause{0, 100'000'000};
        ::nanosleep(&pause, nullptr);
        if (!running.load(std::memory_order_acquire)) {
            was_running = false;
            continue;
        }
        const std::int64_t now = now_ms(), h = limit_ms.load(), cpu = cpu_ms();
        if (!was_running || kicks.load() != seen) {
            was_running = true;
            seen = kicks.load();
            test_began = quiet_since = now;
            cpu_then = cpu;
            continue;
        }
        if (cpu - cpu_then > 5) quiet_since = now; // 5 % of the time since: more than idle polls take
        cpu_then = cpu;
        const bool idle = now - quiet_since > h;
        if (!idle && now - test_began < 12 * h) continue;
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
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    ::pthread_attr_destroy(&attributes);
}

void Watchdog::begin(const char* test_name) noexcept {
    std::snprintf(name, sizeof name, "%s", test_name);
    limit_ms = hang_limit().count();
    kick();
    running.store(true, std::memory_order_release);
}

void Watchdog::end() noexcept { running.store(false, std::memory_order_release); }
void Watchdog::kick() noexcept { kicks.fetch_add(1); }
void Watchdog::expect_processes() noexcept { limit_ms = hang_limit(true).count(); }
void Watchdog::set_limit(milliseconds h) noexcept { limit_ms = h.count(); }

} // namespace sennit::testing
