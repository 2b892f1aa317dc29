#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/thread_safety.hpp>

#include <cstdint>

namespace sennit::os {

/// A Mutex for what is disputed once in a blue moon: by somebody who looks at a list that one thread changes all the time.
/// Who finds it taken spins, and then lets others have the core.
///
/// Fairness  None. Order: unlock releases, lock acquires.
/// Cost      One exchange to lock, a plain store to unlock: half a Mutex; 4 bytes; no destructor.
class SENNIT_CAPABILITY("mutex") BriefMutex {
  public:
    constexpr BriefMutex() noexcept = default;
    BriefMutex(const BriefMutex&) = delete;
    BriefMutex& operator=(const BriefMutex&) = delete;

    void lock() noexcept SENNIT_ACQUIRE() {
        // acquire: meets the release in unlock().
        if (held_.exchange(true, memory_order_acquire)) [[unlikely]]
            lock_slow();
    }
    /// release: meets the acquire in lock(). Only the holder stores, and nobody sleeps: there is no one to wake.
    void unlock() noexcept SENNIT_RELEASE() { held_.store(false, memory_order_release); }
    /// In the child after fork(): nobody else is left who could hold it.
    void reset_after_fork() noexcept { held_.store(false, memory_order_relaxed); }

  private:
    void lock_slow() noexcept;
    atomic<bool> held_{false};
};

/// Holds a BriefMutex for a scope.
class SENNIT_SCOPED_CAPABILITY BriefGuard {
  public:
    explicit BriefGuard(BriefMutex& m) noexcept SENNIT_ACQUIRE(m) : mutex_(m) { mutex_.lock(); }
    ~BriefGuard() SENNIT_RELEASE() { mutex_.unlock(); }
    BriefGuard(const BriefGuard&) = delete;
    BriefGuard& operator=(const BriefGuard&) = delete;

  private:
    BriefMutex& mutex_;
};

} // namespace sennit::os
