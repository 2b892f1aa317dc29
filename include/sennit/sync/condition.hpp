#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/sync/lock.hpp>
#include <sennit/sync/rlock.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstddef>
#include <exception>
#include <utility>

namespace sennit::sync {

/// Waiting, under a lock, for a state that others change under the same lock.
/// Python: threading.Condition, asyncio.Condition
///
///     Condition changed;                       // with a lock of its own, or Condition changed(lock);
///     std::unique_lock guard(changed);
///     changed.wait_for([&] { return !items.empty(); });
///
/// Use it where agents wait for different things about one state. For one flag use Event, for passing things on Queue.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines, mixed at will.
/// Blocks    wait(), wait_for() and acquire() park the agent; the async_ twins suspend the coroutine.
/// Order     As its lock.
/// Fairness  notify() wakes who has waited longest. Nobody who begins to wait after a notify gets that one.
/// Cancel    A cancelled waiter takes the lock again and then throws CancelledError. A notification that finds its waiter
///           cancelled or timed out goes to the next; one that came first makes wait() give true, and the cancellation
///           comes at the agent's next wait.
/// Lifetime  Outlives every call on it. The lock outlives the Condition.
/// Cost      No allocation.
/// Source    Python 3.13. There are no spurious returns; wait_for is still the better style.
class Condition {
  public:
    /// With an RLock of its own.
    Condition() noexcept : rlock_(&own_) {}
    explicit Condition(Lock& lock) noexcept : lock_(&lock) {}
    explicit Condition(RLock& lock) noexcept : rlock_(&lock) {}
    Condition(const Condition&) = delete;
    Condition& operator=(const Condition&) = delete;

    /// The lock's own functions.
    bool acquire(bool blocking = true, Deadline deadline = forever) {
        return lock_ ? lock_->acquire(blocking, deadline) : rlock_->acquire(blocking, deadline);
    }
    void release() { lock_ ? lock_->release() : rlock_->release(); }
    void lock() { acquire(); }
    bool try_lock() { return acquire(false); }
    void unlock() { release(); }

    class WaitOp;
    template <class Predicate>
    class WaitForOp;
    class AcquireOp;
    using ScopedOp = ScopedAcquire<Condition>;

    /// Releases the lock (an RLock as often as it was taken), waits for a notification, takes the lock again.
    /// True when notified; false at the deadline, also then with the lock held; zero or less releases and takes it once.
    /// Throws UsageError when the lock is not held.
    bool wait(Deadline deadline = forever);
    /// Waits till predicate() is true. Gives its last value, also at the deadline. It runs under the lock; what it throws
    /// comes out, with the lock held.
    template <class Predicate>
    bool wait_for(Predicate predicate, Deadline deadline = forever) {
        while (!predicate()) {
            if (!wait(deadline)) return static_cast<bool>(predicate());
        }
        return true;
    }
    /// Wakes up to n of those who wait now, longest waiting first; they go on as they get the lock. Forgotten when nobody
    /// waits. Throws UsageError when the lock is not held (by this agent, if it is an RLock).
    void notify(std::size_t n = 1);
    void notify_all() { notify(static_cast<std::size_t>(-1)); }

    Awaitable<WaitOp> async_wait(Deadline deadline = forever);
    /// The predicate runs on the coroutine's loop, under the lock.
    template <class Predicate>
    Awaitable<WaitForOp<Predicate>> async_wait_for(Predicate predicate, Deadline deadline = forever) {
        return Awaitable<WaitForOp<Predicate>>(deadline, *this, std::move(predicate));
    }
    Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever);
    Awaitable<ScopedOp> async_scoped_lock();

    /// release() for guards: the caller holds it, so it can't fail.
    void release_noexcept() noexcept { lock_ ? lock_->release_noexcept() : rlock_->release_noexcept(); }
    /// In the child of a fork(): forgets the parent's waiters and frees the lock.
    void reset_after_fork() noexcept;

  private:
    void require_held(const char* call) const;
    static const wait::WaitSite wait_site;

    RLock own_;
    Lock* lock_ = nullptr; // one of the two
    RLock* rlock_ = nullptr;
    wait::WaitQueue queue_;
};

/// The wait of Condition::wait, in three parts: link and release, wait, take the lock again.
class Condition::WaitOp : public LockWait {
  public:
    explicit WaitOp(Condition& c) noexcept : LockWait(&c, wait_site), condition_(c) {}
    bool try_now(Deadline) {
        condition_.require_held("wait");
        return false;
    }
    bool step() noexcept final;
    bool finish(wait::Agent& me) {
        finish_owner(me);
        if (cancelled_) me.throw_cancelled();
        return result_;
    }

    WaitOp(WaitOp&& unbegun) noexcept = default;

  protected:
    ~WaitOp() = default;
    template <class Op>
    friend class Awaitable;
    friend class Condition;
    // After the lock was taken again: true to wait once more.
    virtual bool again() noexcept { return false; }
    void finish_owner(wait::Agent& me) noexcept {
        // A coroutine that blocked its loop's thread waited as that thread: the owner is who called.
        if (condition_.rlock_) condition_.rlock_->lock_.owner_.store(me.id(), memory_order_relaxed);
    }
    [[nodiscard]] bool was_cancelled() const noexcept { return cancelled_; }
    [[nodiscard]] bool was_notified() const noexcept { return result_; }

  private:
    enum class Part : unsigned char { begin, waiting, locking };
    bool start() noexcept;
    Lock& inner() const noexcept { return condition_.lock_ ? *condition_.lock_ : condition_.rlock_->lock_; }

    Condition& condition_;
    Part part_ = Part::begin;
    bool result_ = false;
    bool cancelled_ = false;
    std::uint32_t depth_ = 0; // of the RLock, while it is given up
};

template <class Predicate>
class Condition::WaitForOp final : public WaitOp {
  public:
    WaitForOp(Condition& c, Predicate predicate) : WaitOp(c), predicate_(std::move(predicate)) {}
    bool try_now(Deadline deadline) {
        done_ = static_cast<bool>(predicate_());
        return done_ || WaitOp::try_now(deadline);
    }
    bool finish(wait::Agent& me) {
        if (!done_) WaitOp::finish(me); // throws when cancelled
        if (error_) std::rethrow_exception(error_);
        return done_;
    }

  private:
    bool again() noexcept override {
        if (was_cancelled()) return false; // throws, as wait_for() does, whatever the predicate is by now
        try {
            done_ = static_cast<bool>(predicate_());
        } catch (...) {
            error_ = std::current_exception();
            return false;
        }
        return !done_ && was_notified();
    }
    Predicate predicate_;
    bool done_ = false;
    std::exception_ptr error_;
};

/// Takes the Condition's lock, whichever kind it is.
class Condition::AcquireOp {
  public:
    AcquireOp(Condition& c, bool blocking) noexcept
        : rlock_(c.rlock_), plain_(c.lock_ ? *c.lock_ : c.rlock_->lock_, blocking), again_(false) {}
    bool try_now(Deadline deadline) {
        again_ = rlock_ && rlock_->is_owned();
        return again_ || plain_.try_now(deadline);
    }
    bool finish(wait::Agent& me) {
        if (!again_ && !plain_.finish(me)) return false;
        if (rlock_) {
            rlock_->lock_.owner_.store(me.id(), memory_order_relaxed);
            ++rlock_->depth_;
        }
        return true;
    }
    operator wait::Wait&() noexcept { return plain_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { plain_.set_continuation(handle_address); }

  private:
    RLock* rlock_;
    Lock::AcquireOp plain_;
    bool again_;
};

inline Awaitable<Condition::WaitOp> Condition::async_wait(Deadline deadline) {
    return Awaitable<WaitOp>(deadline, *this);
}
inline Awaitable<Condition::AcquireOp> Condition::async_acquire(bool blocking, Deadline deadline) {
    return Awaitable<AcquireOp>(deadline, *this, blocking);
}
inline Awaitable<Condition::ScopedOp> Condition::async_scoped_lock() { return Awaitable<ScopedOp>(forever, *this); }

} // namespace sennit::sync
