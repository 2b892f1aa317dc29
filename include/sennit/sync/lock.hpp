#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/base/thread_safety.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/sync/lock_guard.hpp>
#include <sennit/wait/agent.hpp>

#include <cstdint>

namespace sennit::sync {

class Condition;
class RLock;
class Lock;

/// An operation that takes a Lock, alone or as one of its parts.
class LockWait : public wait::Wait {
  public:
    using Wait::Wait;

  protected:
    LockWait(LockWait&&) noexcept = default; // unbegun
    ~LockWait() = default;

  private:
    friend class Lock;
    plain<bool> granted_ = false;   // whoever releases has handed the lock over; set before the waiter is settled
    plain<bool> competing_ = false; // has armed and queued before: when woken, it owes clearing the lock's `woken` bit
};

/// Mutual exclusion.                Python: threading.Lock, asyncio.Lock, gevent.lock.Semaphore(1)
///
///     Lock lock;
///     {
///         std::scoped_lock guard(lock);                    // a thread or a green thread
///     }
///     auto guard = co_await lock.async_scoped_lock();      // a coroutine
///
/// To take it twice in one agent use RLock. Satisfies the standard's TimedLockable.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines, mixed at will. Any agent may
///           release, not only the one that acquired (as in Python).
/// Blocks    acquire() and lock() park the agent, async_acquire() suspends the coroutine. Where there are several cores a
///           thread looks again for some microseconds before it sleeps.
/// Order     What was done before release() is visible after the acquire that follows.
/// Fairness  Waiters are served first come first served; a running agent may take a free lock before them. A waiter that has
///           waited for more than a millisecond is handed the lock, so nobody starves.
/// Cancel    A cancelled waiter leaves and throws CancelledError, unless it was handed the lock first: then acquire()
///           gives true and the cancellation comes at the agent's next wait.
/// Lifetime  release() may be the last touch: who takes the lock next may destroy it at once. Dies free and without waiters.
/// Cost      Uncontended: one compare-exchange to acquire, one subtraction to release; no allocation, ever.
/// Source    One word and a queue behind a bit of it: WebKit's WordLock, parking_lot's RawMutex; handing over to who has
///           starved: Go's sync.Mutex.
class SENNIT_CAPABILITY("mutex") Lock {
  public:
    constexpr Lock() noexcept = default;
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() = default;

    /// True once the lock is held; false when `blocking` is false and it is not free, or at the deadline.
    /// Throws UsageError for acquire(false, some deadline), CancelledError when the agent is cancelled while it waits.
    bool acquire(bool blocking = true, Deadline deadline = forever) SENNIT_NO_TSA {
        if (try_fast()) [[likely]]
            return check_arguments(blocking, deadline);
        return acquire_slow(blocking, deadline);
    }
    bool acquire(Deadline deadline) SENNIT_NO_TSA { return acquire(true, deadline); }
    /// Throws UsageError when nobody holds it; the lock stays as it was.
    void release() SENNIT_NO_TSA {
        const std::uint32_t before = let_go();
        if (before != held) [[unlikely]]
            release_slow(before);
    }
    /// Whether somebody holds it. Old news at once, unless it is the caller.
    [[nodiscard]] bool locked() const noexcept { return !available(word_.load(memory_order_relaxed)); }

    void lock() SENNIT_ACQUIRE() { acquire(); }
    bool try_lock() noexcept SENNIT_TRY_ACQUIRE(true) { return try_fast() || try_slow(); }
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
    using ScopedOp = ScopedAcquire<Lock>;
    /// The twin of acquire() for coroutines: co_await gives the same result.
    Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever);
    Awaitable<AcquireOp> async_acquire(Deadline deadline);
    /// Takes the lock and gives a guard that releases it.
    Awaitable<ScopedOp> async_scoped_lock();

    /// release() for guards: the caller holds it, so it can't fail.
    void release_noexcept() noexcept { release_held(); }

    /// In the child of a fork(): makes it free, whoever of the parent's threads held it.      Python: _at_fork_reinit
    void reset_after_fork() noexcept;

  private:
    friend class Condition;
    friend class RLock;

    // part    meaning                                        harmless error
    // held    a number: 1 when somebody has the lock, else 0 another one for a moment, while release() of a free lock is
    //                                                        taken back: then nobody takes the lock
    // queued  the queue may have waiters                     may be set with an empty queue while `busy` is set or a wake is
    //                                                        owed; never clear with a linked waiter once `busy` is clear
    // woken   a waiter was taken out and woken to compete,   may be clear though one is on its way: a needless wake. Never
    //         and none has queued since                      set without one, who clears it at the latest
    // busy    somebody changes the queue                     none: it is the queue's lock
    static constexpr std::uint32_t queued = 1, woken = 2, busy = 4, held = 8;
    // With `held` 0: who released last has still to wake a waiter. Till then the lock is nobody's, but can't be taken.
    static constexpr bool owes_wake(std::uint32_t word) noexcept { return (word & (queued | woken)) == queued; }
    static constexpr bool available(std::uint32_t word) noexcept { return word < held && !owes_wake(word); }

    bool try_fast() noexcept {
        std::uint32_t expected = 0;
        // acquire: meets the release of who had it before.
        if (!word_.compare_exchange_strong(expected, held, memory_order_acquire, memory_order_relaxed)) return false;
        owner_.store(wait::current_agent().id(), memory_order_relaxed);
        return true;
    }
    bool try_slow() noexcept;
    bool acquire_slow(bool blocking, Deadline deadline);
    bool check_arguments(bool blocking, Deadline deadline) {
        if (!blocking && !deadline.is_forever()) [[unlikely]]
            refuse_arguments(true);
        return true;
    }
    void refuse_arguments(bool release_first);
    // The first half of every release, and all of it when it gives `held`.
    std::uint32_t let_go() noexcept {
        owner_.store(nobody, memory_order_relaxed); // before the release: see holder()
        // release: meets the acquire of whoever takes it next. A subtraction is the cheapest that tells what was there, and
        // costs no more when waiters are queued.
        return word_.fetch_sub(held, memory_order_release);
    }
    void release_slow(std::uint32_t before);
    // Frees the lock, which the caller knows to be held.
    void release_held() noexcept {
        const std::uint32_t before = let_go();
        if (before != held) [[unlikely]]
            finish_release(before);
    }
    // The second half; `before` is what let_go() gave. False when the lock was not held: nothing has changed then.
    bool finish_release(std::uint32_t before) noexcept;
    void wake_next() noexcept;

    // One step of taking the lock, for every operation that does: true when it is held now.
    bool acquire_step(LockWait& w) noexcept;
    // Leaves the queue after a time-out or a cancellation.
    void leave(LockWait& w) noexcept;

    static std::uint64_t holder(const void* lock) noexcept;
    static const wait::WaitSite acquire_site;

    atomic<std::uint32_t> word_{0};
    // Who has it, for RLock and the list of agents: its id, as the address of an agent that has ended may come again. relaxed:
    // it is cleared before the lock is released and set after it was taken, so whoever reads `held` with acquire and then this
    // sees the present owner, or nobody, never a former one.
    static constexpr std::uint64_t nobody = 0;
    atomic<std::uint64_t> owner_{nobody};
    base::IntrusiveList queue_; // guarded by `busy`
};

/// The wait of Lock::acquire.
class Lock::AcquireOp final : public LockWait {
  public:
    AcquireOp(Lock& lock, bool blocking, const wait::WaitSite& site = acquire_site) noexcept
        : LockWait(&lock, site), lock_(lock), blocking_(blocking) {}
    // Not analysed: whether the lock is held afterwards is in the result of the whole wait.
    bool try_now(Deadline deadline) SENNIT_NO_TSA {
        if (lock_.try_lock()) {
            acquired_ = lock_.check_arguments(blocking_, deadline);
            return true;
        }
        if (!blocking_ && !deadline.is_forever()) lock_.refuse_arguments(false);
        return !blocking_ || deadline.is_poll();
    }
    bool step() noexcept override;
    [[nodiscard]] bool blocking() const noexcept { return blocking_; }
    bool finish(wait::Agent& me) {
        if (cancelled_) me.throw_cancelled();
        return acquired_;
    }

  private:
    Lock& lock_;
    bool blocking_;
    bool acquired_ = false;
    bool cancelled_ = false;
};

inline Awaitable<Lock::AcquireOp> Lock::async_acquire(bool blocking, Deadline deadline) {
    return Awaitable<AcquireOp>(deadline, *this, blocking);
}
inline Awaitable<Lock::AcquireOp> Lock::async_acquire(Deadline deadline) {
    return Awaitable<AcquireOp>(deadline, *this, true);
}
inline Awaitable<Lock::ScopedOp> Lock::async_scoped_lock() { return Awaitable<ScopedOp>(forever, *this); }

} // namespace sennit::sync
