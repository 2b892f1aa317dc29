#pragma once

#include <sennit/multiprocessing/lock.hpp>

namespace sennit::multiprocessing {

/// A Lock that its owner may take again.      Python: multiprocessing.RLock
///
/// Agents    As Lock; the owner is the agent (thread or coroutine) of one process.
/// Death     As Lock. The next owner begins at depth 1.
/// Cost      As Lock; each further acquire a few loads and an increment.
class SENNIT_CAPABILITY("mutex") RLock : public SharedLockBase {
  public:
    RLock() = default;
    explicit RLock(SharedBlock block) : SharedLockBase(std::move(block)) {}
    RLock(const RLock&) = default;

    /// True once the lock is held (once more); each true needs one release(). Otherwise as Lock::acquire.
    bool acquire(bool blocking = true, Deadline deadline = forever) SENNIT_NO_TSA {
        os::RobustThread& me = os::robust_thread();
        const std::uint64_t id = owner_id(me, wait::current_agent());
        // relaxed: only this agent writes its own number, on the thread that holds the word. After a death it may be stale:
        // hence the word.
        if (word_->is_held_by(me) && word_->owner().load(memory_order_relaxed) == id) {
            ++word_->depth();
        } else if (word_->try_lock_fast(me)) {
            word_->owner().store(id, memory_order_relaxed);
            word_->depth() = 1;
        } else {
            return acquire_slow(blocking, deadline);
        }
        if (!blocking && !deadline.is_forever()) refuse_arguments(true);
        return true;
    }
    bool acquire(Deadline deadline) SENNIT_NO_TSA { return acquire(true, deadline); }
    /// Throws UsageError when the calling agent does not hold it.
    void release() SENNIT_NO_TSA {
        if (!is_owned()) [[unlikely]]
            refuse_release();
        release_noexcept();
    }
    /// Whether the calling agent holds it.
    [[nodiscard]] bool is_owned() const noexcept {
        const os::RobustThread& me = os::robust_thread();
        return word_->is_held_by(me) &&
               word_->owner().load(memory_order_relaxed) == owner_id(me, wait::current_agent());
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
    using ScopedOp = sync::ScopedAcquire<RLock>;
    sync::Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever);
    sync::Awaitable<AcquireOp> async_acquire(Deadline deadline);
    sync::Awaitable<ScopedOp> async_scoped_lock();

    /// As a handle of the same lock to another process.
    void pack(CargoWriter& to) const { block_.pack(to); }
    static RLock unpack(CargoReader& from) { return RLock(SharedBlock::unpack(from)); }

    /// release() for guards: the caller holds it, so it can't fail.
    void release_noexcept() noexcept {
        if (--word_->depth() > 0) return;
        word_->owner().store(0, memory_order_relaxed);
        word_->unlock(os::robust_thread());
    }

  private:
    bool acquire_slow(bool blocking, Deadline deadline);
    void refuse_arguments(bool release_first);
    [[noreturn]] static void refuse_release();
    static const wait::WaitSite acquire_site;
};

class RLock::AcquireOp {
  public:
    AcquireOp(RLock& lock, bool blocking) noexcept
        : op_(lock, acquire_site, blocking), lock_(lock), blocking_(blocking) {}
    bool try_now(Deadline deadline) {
        if (!lock_.is_owned()) return op_.try_now(deadline);
        if (!blocking_ && !deadline.is_forever()) lock_.refuse_arguments(false);
        return again_ = true;
    }
    bool finish(wait::Agent& me) {
        if (!again_) return op_.finish(me);
        ++lock_.word_->depth();
        return true;
    }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    SharedAcquire op_;
    RLock& lock_;
    bool blocking_, again_ = false;
};

inline sync::Awaitable<RLock::AcquireOp> RLock::async_acquire(bool blocking, Deadline deadline) {
    return sync::Awaitable<AcquireOp>(deadline, *this, blocking);
}
inline sync::Awaitable<RLock::AcquireOp> RLock::async_acquire(Deadline deadline) {
    return sync::Awaitable<AcquireOp>(deadline, *this, true);
}
inline sync::Awaitable<RLock::ScopedOp> RLock::async_scoped_lock() { return sync::Awaitable<ScopedOp>(forever, *this); }

} // namespace sennit::multiprocessing
