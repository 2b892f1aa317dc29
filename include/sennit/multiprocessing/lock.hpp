#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/base/thread_safety.hpp>
#include <sennit/multiprocessing/shared_block.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/sync/lock.hpp>

#include <cstdint>

namespace sennit::multiprocessing {

/// What Lock and RLock have in common: a robust word in shared memory.
class SharedLockBase {
  public:
    /// True while the calling thread holds it and a holder before died, whose half-done work nobody has declared repaired.
    /// Each holder is told, until one calls make_consistent() or give_up().
    [[nodiscard]] bool owner_died() const noexcept { return is_held_here() && word_->owner_died(); }
    /// What the lock guards is whole again. By the holder, or UsageError.
    void make_consistent();
    /// Releases it, and nobody gets it any more: all who wait or come have LockGivenUp. By the holder, or UsageError.
    void give_up();
    /// Whether somebody holds it. Old news at once, unless it is the caller.
    [[nodiscard]] bool locked() const noexcept { return word_->is_held(); }
    /// The memory that it lives in: what another process needs to have it.
    [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }
    static constexpr std::size_t block_bytes = sizeof(os::RobustWord);

  protected:
    SharedLockBase();
    explicit SharedLockBase(SharedBlock block);
    SharedLockBase(const SharedLockBase&) = default;
    SharedLockBase& operator=(const SharedLockBase&) = delete;
    ~SharedLockBase() {
        if (is_held_here()) [[unlikely]]
            block_.keep_for_ever();
    }
    [[nodiscard]] bool is_held_here() const noexcept { return word_->is_held_by(os::robust_thread()); }

    friend class SharedAcquire;
    friend class Condition;
    SharedBlock block_;
    os::RobustWord* word_; // in the block
};

/// The wait of acquire(), or a part of Condition::wait.
class SharedAcquire final : public SharedWait {
  public:
    SharedAcquire(SharedLockBase& lock, const wait::WaitSite& site, bool blocking) noexcept
        : SharedWait(&lock, site), lock_(lock), blocking_(blocking) {}
    bool try_now(Deadline deadline);
    bool step() noexcept override;
    bool finish(wait::Agent& me);

  private:
    SharedLockBase& lock_;
    bool blocking_;
    os::RobustWord::Take result_ = os::RobustWord::Take::busy;
    bool cancelled_ = false;
};

/// Mutual exclusion between processes, which outlives its holders.      Python: multiprocessing.Lock
///
///     multiprocessing::Lock lock;              // made before the child, or sent to it
///     {
///         std::scoped_lock guard(lock);
///         if (lock.owner_died()) {             // whoever had it before was killed in the middle
///             repair(data);
///             lock.make_consistent();
///         }
///     }
///
/// Copies are handles of one lock. Satisfies the standard's TimedLockable. Within one process sync::Lock is leaner.
///
/// Agents    Every member, at the same time, from threads and coroutines of all processes that have it. Who acquired it releases
///           it, on the same OS thread: a lock whose holder nobody knows could not outlive him. (Python lets anybody release; use
///           a Semaphore for that.) A coroutine's thread is its loop's.
/// Blocks    acquire() and lock() park the agent, async_acquire() suspends the coroutine.
/// Death     When the holding thread ends or its process dies, by any cause, the next one gets the lock and owner_died() is true.
///           Who dies while he waits leaves no trace.
/// Order     What was done before release(), or before a death, is visible after the acquire that follows.
/// Fairness  None: whoever comes while it is free has it. Who sleeps looks by himself each 100 ms at the latest.
/// Cancel    A cancelled waiter leaves and throws CancelledError.
/// Lifetime  The memory lives as long as a handle in any process does. In the child of a fork() a lock that the parent holds is
///           the parent's.
/// Cost      Uncontended: one compare-exchange each way, and four stores; no allocation. A thread looks for some 10 us before it sleeps.
/// Source    The kernel's robust list, shared with glibc's robust mutexes: see os::RobustWord.
class SENNIT_CAPABILITY("mutex") Lock : public SharedLockBase {
  public:
    /// A new one. Throws OSError.
    Lock() = default;
    /// The one that lives in `block`.
    explicit Lock(SharedBlock block) : SharedLockBase(std::move(block)) {}
    Lock(const Lock&) = default;

    /// True once the lock is held; false when `blocking` is false and it is not free, or at the deadline.
    /// Throws UsageError for acquire(false, some deadline), LockGivenUp, CancelledError.
    bool acquire(bool blocking = true, Deadline deadline = forever) SENNIT_NO_TSA {
        if (deadline.is_forever() && try_fast()) [[likely]]
            return true;
        return acquire_slow(blocking, deadline);
    }
    bool acquire(Deadline deadline) SENNIT_NO_TSA { return acquire(true, deadline); }
    /// Throws UsageError when the calling thread does not hold it.
    void release() SENNIT_NO_TSA {
        os::RobustThread& me = os::robust_thread();
        if (!word_->is_held_by(me)) [[unlikely]]
            refuse_release();
        word_->owner().store(0, memory_order_relaxed);
        word_->unlock(me);
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
    using ScopedOp = sync::ScopedAcquire<Lock>;
    /// The twin of acquire() for coroutines.
    sync::Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever);
    sync::Awaitable<AcquireOp> async_acquire(Deadline deadline);
    /// Takes the lock and gives a guard that releases it.
    sync::Awaitable<ScopedOp> async_scoped_lock();

    /// As a handle of the same lock to another process.
    void pack(CargoWriter& to) const { block_.pack(to); }
    static Lock unpack(CargoReader& from) { return Lock(SharedBlock::unpack(from)); }

    /// release() for guards: the caller holds it, so it can't fail.
    void release_noexcept() noexcept {
        word_->owner().store(0, memory_order_relaxed);
        word_->unlock(os::robust_thread());
    }

  private:
    bool try_fast() noexcept {
        os::RobustThread& me = os::robust_thread();
        if (!word_->try_lock_fast(me)) return false;
        // relaxed: a hint for the list of agents.
        word_->owner().store(owner_id(me, wait::current_agent()), memory_order_relaxed);
        return true;
    }
    bool acquire_slow(bool blocking, Deadline deadline);
    [[noreturn]] static void refuse_release();
    static const wait::WaitSite acquire_site;
};

class Lock::AcquireOp {
  public:
    AcquireOp(Lock& lock, bool blocking) noexcept : op_(lock, acquire_site, blocking) {}
    bool try_now(Deadline deadline) { return op_.try_now(deadline); }
    bool finish(wait::Agent& me) { return op_.finish(me); }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    SharedAcquire op_;
};

inline sync::Awaitable<Lock::AcquireOp> Lock::async_acquire(bool blocking, Deadline deadline) {
    return sync::Awaitable<AcquireOp>(deadline, *this, blocking);
}
inline sync::Awaitable<Lock::AcquireOp> Lock::async_acquire(Deadline deadline) {
    return sync::Awaitable<AcquireOp>(deadline, *this, true);
}
inline sync::Awaitable<Lock::ScopedOp> Lock::async_scoped_lock() { return sync::Awaitable<ScopedOp>(forever, *this); }

} // namespace sennit::multiprocessing
