#pragma once

#include <sennit/sync/lock.hpp>

namespace sennit::sync {

/// Mutual exclusion that its owner may take again.     Python: threading.RLock
///
/// Use it where a locked function calls another one that locks; where that can't happen, Lock is leaner. Satisfies the
/// standard's TimedLockable. asyncio.Lock has no recursive kind in Python; here coroutines may use it too.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines. The owner is the agent, not its
///           OS thread: two coroutines of one loop exclude each other.
/// Blocks, Order, Fairness, Cancel, Lifetime    As Lock.
/// Cost      The first acquire as Lock; each further one a load, a compare and an increment.
class SENNIT_CAPABILITY("mutex") RLock {
  public:
    constexpr RLock() noexcept = default;
    RLock(const RLock&) = delete;
    RLock& operator=(const RLock&) = delete;

    /// True once the lock is held (once more); each true needs one release(). Otherwise as Lock::acquire.
    bool acquire(bool blocking = true, Deadline deadline = forever) SENNIT_NO_TSA {
        if (is_owned() || lock_.try_fast()) [[likely]] {
            ++depth_;
            return check_arguments(blocking, deadline);
        }
        return acquire_slow(blocking, deadline);
    }
    bool acquire(Deadline deadline) SENNIT_NO_TSA { return acquire(true, deadline); }
    /// Throws UsageError when the calling agent does not hold it.
    void release() SENNIT_NO_TSA {
        if (!is_owned()) [[unlikely]]
            refuse_release();
        release_noexcept();
    }
    /// Whether anybody holds it.
    [[nodiscard]] bool locked() const noexcept { return lock_.locked(); }
    /// Whether the calling agent holds it.
    [[nodiscard]] bool is_owned() const noexcept {
        // relaxed: only this agent itself writes its own id, and it clears it before it lets go.
        return lock_.owner_.load(memory_order_relaxed) == wait::current_agent().id();
    }

    void lock() SENNIT_ACQUIRE() { acquire(); }
    bool try_lock() SENNIT_TRY_ACQUIRE(true) { return acquire(false); }
    void unlock() SENNIT_RELEASE() { release(); }
    template <class Rep, class Period>
    bool try_lock_for(std::chrono::duration<Rep, Period> d) SENNIT_TRY_ACQUIRE(true) {
        return acquire(true, Deadline(d));
    }
    template <class Duration>
    bool try_lock_until(std::chrono::time_point<std::chrono::steady_clock, Duration> at) SENNIT_TRY_ACQUIRE(true) {
        return acquire(true, Deadline(at));
    }

    class AcquireOp;
    using ScopedOp = ScopedAcquire<RLock>;
    Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever);
    Awaitable<AcquireOp> async_acquire(Deadline deadline);
    Awaitable<ScopedOp> async_scoped_lock();

    /// release() for guards: the caller holds it, so it can't fail.
    void release_noexcept() noexcept {
        if (--depth_ == 0) lock_.release_held();
    }
    /// In the child of a fork(): makes it free.
    void reset_after_fork() noexcept {
        depth_ = 0;
        lock_.reset_after_fork();
    }

  private:
    friend class Condition;
    bool acquire_slow(bool blocking, Deadline deadline);
    bool check_arguments(bool blocking, Deadline deadline) {
        if (!blocking && !deadline.is_forever()) [[unlikely]]
            refuse_arguments(true);
        return true;
    }
    void refuse_arguments(bool release_first);
    [[noreturn]] static void refuse_release();
    static const wait::WaitSite acquire_site;

    Lock lock_;                      // its owner_ is ours
    plain<std::uint32_t> depth_ = 0; // only the owner touches it
};

class RLock::AcquireOp {
  public:
    AcquireOp(RLock& lock, bool blocking) noexcept : op_(lock.lock_, blocking, acquire_site), lock_(lock) {}
    bool try_now(Deadline deadline) {
        if (!lock_.is_owned()) return op_.try_now(deadline);
        if (!op_.blocking() && !deadline.is_forever()) lock_.refuse_arguments(false);
        return again_ = true;
    }
    bool finish(wait::Agent& me) {
        if (!again_ && !op_.finish(me)) return false;
        // A coroutine that blocked its loop's thread waited as that thread: the owner is who called.
        lock_.lock_.owner_.store(me.id(), memory_order_relaxed);
        ++lock_.depth_;
        return true;
    }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    Lock::AcquireOp op_;
    RLock& lock_;
    bool again_ = false;
};

inline Awaitable<RLock::AcquireOp> RLock::async_acquire(bool blocking, Deadline deadline) {
    return Awaitable<AcquireOp>(deadline, *this, blocking);
}
inline Awaitable<RLock::AcquireOp> RLock::async_acquire(Deadline deadline) {
    return Awaitable<AcquireOp>(deadline, *this, true);
}
inline Awaitable<RLock::ScopedOp> RLock::async_scoped_lock() { return Awaitable<ScopedOp>(forever, *this); }

} // namespace sennit::sync
