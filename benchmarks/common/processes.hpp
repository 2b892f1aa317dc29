// For benchmarks of several processes: memory that they share, children, and the smallest honest futex toolkit.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <linux/futex.h>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.hpp"

namespace bench {

/// An object that children of a fork have as well. Never unmapped: a benchmark has few.
template <class T>
T* shared() {
    void* const p =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    return ::new (p) T;
}

inline pid_t child(const std::function<void()>& body) {
    const pid_t pid = ::fork();
    if (pid < 0) die("fork");
    if (pid == 0) {
        body();
        ::_exit(0);
    }
    return pid;
}
inline void reap(pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || status != 0) die("a child failed");
}

using Word = std::atomic<std::uint32_t>;
inline void futex_wait(Word& w, std::uint32_t expected) {
    ::syscall(SYS_futex, &w, FUTEX_WAIT, expected, nullptr, nullptr, 0);
}
inline void futex_wake(Word& w, int n) { ::syscall(SYS_futex, &w, FUTEX_WAKE, n, nullptr, nullptr, 0); }
inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/// 0 free, 1 held, 2 held with waiters.
struct FutexMutex {
    Word w{0};
    void lock() {
        std::uint32_t c = 0;
        if (w.compare_exchange_strong(c, 1, std::memory_order_acquire)) return;
        while (w.exchange(2, std::memory_order_acquire) != 0) futex_wait(w, 2);
    }
    void unlock() {
        if (w.exchange(0, std::memory_order_release) == 2) futex_wake(w, 1);
    }
};

/// A counter that one side raises and the other waits for: polling `spins` times (for ever if negative), then asleep.
struct Gate {
    Word v{0};
    Word sleeping{0};
    void post() {
        v.fetch_add(1, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (sleeping.load(std::memory_order_relaxed)) futex_wake(v, 1);
    }
    void await(std::uint32_t target, int spins) {
        for (int i = 0; spins < 0 || i < spins; ++i) {
            if (v.load(std::memory_order_acquire) == target) return;
            relax();
        }
        sleeping.store(1, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        for (std::uint32_t c; (c = v.load(std::memory_order_acquire)) != target;) futex_wait(v, c);
        sleeping.store(0, std::memory_order_relaxed);
    }
};

} // namespace bench
