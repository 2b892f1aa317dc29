#pragma once

#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/rlock.hpp>
#include <sennit/multiprocessing/shared_block.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/sync/lock_guard.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace sennit::multiprocessing {

/// Waiting, under a lock, for a state in shared memory that processes change under the same lock.
/// Python: multiprocessing.Condition
///
/// Copies are handles of one condition. Within one process sync::Condition is leaner, and fair.
///
/// Agents    Every member, at the same time, from threads and coroutines of all processes that have it. As with its lock, who
///           acquired releases, on the same OS thread.
/// Blocks    wait(), wait_for() and acquire() park the agent; the async_ twins suspend the coroutine.
/// Death     Who dies while he waits takes no notification with him: it goes to another who waited then, within 100 ms. For
///           each such death one wait() may later return without a notification. Who dies while he holds the lock is told by
///           owner_died() of the lock.
/// Order     As its lock.
/// Fairness  None among those who wait. Nobody who begins to wait after a notify gets that one.
/// Cancel    A cancelled waiter takes the lock again and then throws CancelledError; its notification goes to another.
/// Lifetime  As Lock's.
/// Cost      No allocation.
/// Source    Python 3.13; counts under the lock and one word to sleep on, as glibc's condition variables before their groups.
class Condition {
  public:
    /// With an RLock of its own. Throws OSError.
    Condition();
    explicit Condition(const Lock& lock);
    explicit Condition(const RLock& lock);
    /// The one that lives in `block`, for the same lock.
    Condition(SharedBlock block, const Lock& lock);
    Condition(SharedBlock block, const RLock& lock);

    /// The lock's own functions.
    bool acquire(bool blocking = true, Deadline deadline = forever) {
        return recursive_ ? rlock_.acquire(blocking, deadline) : lock_.acquire(blocking, deadline);
    }
    bool acquire(Deadline deadline) { return acquire(true, deadline); }
    void release() { recursive_ ? rlock_.release() : lock_.release(); }
    void lock() { acquire(); }
    bool try_lock() { return acquire(false); }
    void unlock() { release(); }
    /// As Lock's: true while the calling thread holds it and a holder before died.
    [[nodiscard]] bool owner_died() const noexcept { return lock_.owner_died(); }
    void make_consistent() { lock_.make_consistent(); }

    class WaitOp;
    template <class Predicate>
    class WaitForOp;
    class AcquireOp;
    using ScopedOp = sync::ScopedAcquire<Condition>;

    /// Releases the lock (an RLock as often as it was taken), waits for a notification, takes the lock again.
    /// True when notified; false at the deadline, also then with the lock held; zero or less releases and takes it once.
    /// Throws UsageError when the lock is not held, LockGivenUp, without the lock, when it was given up meanwhile.
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
    /// Wakes up to n of those who wait now; they go on as they get the lock. Forgotten when nobody waits. Throws UsageError when
    /// the lock is not held (by this agent, if it is an RLock).
    void notify(std::size_t n = 1);
    void notify_all() { notify(static_cast<std::size_t>(-1)); }

    sync::Awaitable<WaitOp> async_wait(Deadline deadline = forever);
    /// The predicate runs on the coroutine's loop, under the lock.
    template <class Predicate>
    sync::Awaitable<WaitForOp<Predicate>> async_wait_for(Predicate predicate, Deadline deadline = forever) {
        return sync::Awaitable<WaitForOp<Predicate>>(deadline, *this, std::move(predicate));
    }
    sync::Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever);
    sync::Awaitable<AcquireOp> async_acquire(Deadline deadline);
    sync::Awaitable<ScopedOp> async_scoped_lock();

    /// The memory of the condition, without its lock's.
    [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }
    /// As a handle of the same condition, and of its lock, to another process.
    void pack(CargoWriter& to) const;
    static Condition unpack(CargoReader& from);
    /// release() for guards: the caller holds it, so it can't fail.
    void release_noexcept() noexcept { recursive_ ? rlock_.release_noexcept() : lock_.release_noexcept(); }

  private:
    struct State;
    Condition(SharedBlock block, const SharedBlock& lock, bool recursive);
    void require_held(const char* call) const;
    static const wait::WaitSite wait_site;

    SharedBlock block_;
    State* state_; // in the block
    // Both are handles of the one lock.
    Lock lock_;
    RLock rlock_;
    bool recursive_;
};

/// The wait of Condition::wait, in three parts: count oneself and release, wait, take the lock again.
class Condition::WaitOp : public SharedWait {
  public:
    explicit WaitOp(Condition& c) noexcept : SharedWait(&c, wait_site), condition_(c) {}
    bool try_now(Deadline) {
        condition_.require_held("wait");
        return false;
    }
    bool step() noexcept final;
    bool finish(wait::Agent& me);

  protected:
    ~WaitOp() = default;
    template <class Op>
    friend class sync::Awaitable;
    friend class Condition;
    // After the lock was taken again: true to wait once more.
    virtual bool again() noexcept { return false; }
    [[nodiscard]] bool was_cancelled() const noexcept { return cancelled_; }
    [[nodiscard]] bool was_notified() const noexcept { return notified_; }

  private:
    enum class Part : unsigned char { begin, waiting, locking };
    bool sleep() noexcept;
    bool lock_again() noexcept;
    bool settle_account() noexcept;
    void let_go() noexcept;

    Condition& condition_;
    Part part_ = Part::begin;
    bool notified_ = false, timed_out_ = false, cancelled_ = false, given_up_ = false, slept_for_lock_ = false;
    std::uint32_t depth_ = 0;  // of the RLock, while it is given up
    std::uint64_t ticket_ = 0; // the how manieth waiter it is
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
        : plain_(c.lock_, blocking), recursive_(c.rlock_, blocking), is_recursive_(c.recursive_) {}
    bool try_now(Deadline deadline) { return is_recursive_ ? recursive_.try_now(deadline) : plain_.try_now(deadline); }
    bool finish(wait::Agent& me) { return is_recursive_ ? recursive_.finish(me) : plain_.finish(me); }
    operator wait::Wait&() noexcept { // NOLINT(google-explicit-constructor): what one suspends on
        if (is_recursive_) return recursive_;
        return plain_;
    }
    void set_continuation(void* handle_address) noexcept {
        static_cast<wait::Wait&>(*this).set_continuation(handle_address);
    }

  private:
    Lock::AcquireOp plain_;
    RLock::AcquireOp recursive_;
    bool is_recursive_;
};

inline sync::Awaitable<Condition::WaitOp> Condition::async_wait(Deadline deadline) {
    return sync::Awaitable<WaitOp>(deadline, *this);
}
inline sync::Awaitable<Condition::AcquireOp> Condition::async_acquire(bool blocking, Deadline deadline) {
    return sync::Awaitable<AcquireOp>(deadline, *this, blocking);
}
inline sync::Awaitable<Condition::AcquireOp> Condition::async_acquire(Deadline deadline) {
    return sync::Awaitable<AcquireOp>(deadline, *this, true);
}
inline sync::Awaitable<Condition::ScopedOp> Condition::async_scoped_lock() {
    return sync::Awaitable<ScopedOp>(forever, *this);
}

} // namespace sennit::multiprocessing
