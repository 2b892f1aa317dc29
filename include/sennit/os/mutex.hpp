#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/thread_safety.hpp>
#include <sennit/os/futex.hpp>

#include <cstdint>

namespace sennit::os {

/// The library's inner lock: guards a few lines that never wait, call user code, or wake anybody. Blocks the OS thread,
/// whatever agent runs on it. Users take sync::Lock instead.
///
/// Fairness  None. Order: unlock releases, lock acquires.
/// Cost      One compare-exchange to lock, one exchange to unlock; 4 bytes; no destructor.
/// Source    U. Drepper, "Futexes Are Tricky", mutex 3.
class SENNIT_CAPABILITY("mutex") Mutex {
  public:
    constexpr Mutex() noexcept = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void lock() noexcept SENNIT_ACQUIRE() {
        std::uint32_t expected = free;
        // acquire: meets the release in unlock().
        if (!word_.compare_exchange_strong(expected, held, memory_order_acquire, memory_order_relaxed)) lock_slow();
    }
    bool try_lock() noexcept SENNIT_TRY_ACQUIRE(true) {
        std::uint32_t expected = free;
        return word_.compare_exchange_strong(expected, held, memory_order_acquire, memory_order_relaxed);
    }
    void unlock() noexcept SENNIT_RELEASE() {
        // release: meets the acquire in lock().
        if (word_.exchange(free, memory_order_release) == contended) futex_wake(word_, 1);
    }
    /// In the child after fork(): nobody else is left who could hold it.
    void reset_after_fork() noexcept { word_.store(free, memory_order_relaxed); }

  private:
    // free: nobody · held: taken, nobody sleeps · contended: taken, somebody may sleep. "May" is harmless: a needless wake.
    static constexpr std::uint32_t free = 0, held = 1, contended = 2;
    void lock_slow() noexcept;
    FutexWord word_{free};
};

/// Holds a Mutex for a scope.
class SENNIT_SCOPED_CAPABILITY MutexGuard {
  public:
    explicit MutexGuard(Mutex& m) noexcept SENNIT_ACQUIRE(m) : mutex_(m) { mutex_.lock(); }
    ~MutexGuard() SENNIT_RELEASE() { mutex_.unlock(); }
    MutexGuard(const MutexGuard&) = delete;
    MutexGuard& operator=(const MutexGuard&) = delete;

  private:
    Mutex& mutex_;
};

} // namespace sennit::os
