#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/wait/agent.hpp>

namespace sennit::sync {

/// Releases a lock at the end of a scope: a Lock, an RLock, a Condition, or one of those between processes. Movable.
template <class L>
class [[nodiscard]] LockGuard {
  public:
    explicit LockGuard(L& held_already) noexcept : lock_(&held_already) {}
    LockGuard(LockGuard&& other) noexcept : lock_(other.lock_) { other.lock_ = nullptr; }
    LockGuard& operator=(LockGuard&& other) noexcept {
        if (this != &other) {
            unlock();
            lock_ = other.lock_;
            other.lock_ = nullptr;
        }
        return *this;
    }
    ~LockGuard() { unlock(); }
    /// Releases before the end of the scope; once is enough.
    void unlock() noexcept {
        if (lock_) lock_->release_noexcept();
        lock_ = nullptr;
    }
    [[nodiscard]] bool owns_lock() const noexcept { return lock_ != nullptr; }

  private:
    L* lock_;
};

/// What async_scoped_lock() of these waits with: takes the lock and gives a guard that releases it.
template <class L>
class ScopedAcquire {
  public:
    explicit ScopedAcquire(L& lock) noexcept : op_(lock, true), lock_(lock) {}
    bool try_now(Deadline deadline) { return op_.try_now(deadline); }
    LockGuard<L> finish(wait::Agent& me) {
        op_.finish(me);
        return LockGuard<L>(lock_);
    }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what Awaitable suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    typename L::AcquireOp op_;
    L& lock_;
};

} // namespace sennit::sync
