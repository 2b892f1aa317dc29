// Locks that one writes by hand or takes from the C library, to compare with.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace bench {

/// One word: 0 free, 1 held, 2 held and somebody may sleep (U. Drepper, "Futexes Are Tricky", mutex 3). No fairness, no
/// time-outs, no wait records, threads only: how little a lock can cost when it can do no more.
class FutexMutex {
  public:
    void lock() {
        std::uint32_t seen = 0;
        if (word_.compare_exchange_strong(seen, 1, std::memory_order_acquire)) return;
        while (word_.exchange(2, std::memory_order_acquire) != 0) futex(FUTEX_WAIT_PRIVATE, 2);
    }
    void unlock() {
        if (word_.exchange(0, std::memory_order_release) == 2) futex(FUTEX_WAKE_PRIVATE, 1);
    }

  private:
    void futex(int operation, std::uint32_t value) {
        ::syscall(SYS_futex, &word_, operation, value, nullptr, nullptr, 0);
    }
    std::atomic<std::uint32_t> word_{0};
};

/// A pthread mutex shared between processes that survives its holder's death. For orientation: it can do more than a
/// lock within one process.
class RobustMutex {
  public:
    RobustMutex() {
        pthread_mutexattr_t how;
        pthread_mutexattr_init(&how);
        pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&mutex_, &how);
        pthread_mutexattr_destroy(&how);
    }
    ~RobustMutex() { pthread_mutex_destroy(&mutex_); }
    RobustMutex(const RobustMutex&) = delete;
    RobustMutex& operator=(const RobustMutex&) = delete;
    void lock() {
        if (pthread_mutex_lock(&mutex_) == EOWNERDEAD) pthread_mutex_consistent(&mutex_);
    }
    void unlock() { pthread_mutex_unlock(&mutex_); }

  private:
    pthread_mutex_t mutex_;
};

} // namespace bench
