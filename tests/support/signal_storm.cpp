#include "signal_storm.hpp"

#include "shim.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dirent.h>
#include <pthread.h>
#include <stdexcept>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::testing {
namespace {

std::atomic<std::uint64_t> handled_count{0};
std::atomic<unsigned> rate{0};
std::atomic<bool> stop{false};

void handle(int) { handled_count.fetch_add(1, std::memory_order_relaxed); }

// Threads that are no part of the test: this one, and the watchdog, which blocks the signal.
void* storm(void*) {
    ::pthread_setname_np(::pthread_self(), "storm");
    exempt_this_thread_from_shim();
    const int me = static_cast<int>(::syscall(SYS_gettid)), signal = SIGRTMIN + 3, pid = ::getpid();
    while (!stop.load()) {
        const timespec pause{0, static_cast<long>(1'000'000'000L / rate.load())};
        ::nanosleep(&pause, nullptr);
        DIR* d = ::opendir("/proc/self/task");
        if (!d) continue;
        while (const dirent* e = ::readdir(d))
            if (const int tid = std::atoi(e->d_name); tid > 0 && tid != me) ::syscall(SYS_tgkill, pid, tid, signal);
        ::closedir(d);
    }
    return nullptr;
}

} // namespace

SignalStorm::SignalStorm(unsigned per_second) {
    struct sigaction action {};
    action.sa_handler = handle; // no SA_RESTART
    ::sigaction(SIGRTMIN + 3, &action, nullptr);
    rate = per_second;
    stop = false;
    sigset_t all, old;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t thread{};
    const int e = ::pthread_create(&thread, nullptr, storm, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    if (e) throw std::runtime_error("SignalStorm: cannot start its thread");
    thread_ = thread;
}

SignalStorm::~SignalStorm() {
    stop = true;
    ::pthread_join(thread_, nullptr);
}

std::uint64_t SignalStorm::handled() noexcept { return handled_count; }

void start_signal_storm_from_environment() {
    const char* text = std::getenv("SENNIT_SIGNAL_STORM");
    if (!text || std::atoi(text) <= 0) return;
    static SignalStorm it(static_cast<unsigned>(std::atoi(text)));
    std::printf("[  STORM   ] %s signals a second to each thread\n", text);
}

} // namespace sennit::testing
