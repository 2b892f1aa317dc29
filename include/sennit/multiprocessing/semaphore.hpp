#pragma once

#include <sennit/multiprocessing/shared_block.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::multiprocessing {

/// A number of permits that processes share.      Python: multiprocessing.Semaphore
///
/// Copies are handles of one semaphore. Within one process sync::Semaphore is leaner, and fair.
///
/// Agents    Every member, at the same time, from threads and coroutines of all processes that have it. Any agent may release.
/// Blocks    acquire() parks the agent, async_acquire() suspends the coroutine.
/// Death     A permit that a dead process had taken stays taken: nobody owns it, so nobody can tell. Who dies while he waits
///           takes none; one that he was woken for is found by another within 100 ms.
/// Order     What was done before release() is visible after the acquire() that got the permit.
/// Fairness  None: whoever comes while there is a permit has it.
/// Cancel    A cancelled waiter leaves and throws CancelledError.
/// Lifetime  As Lock's.
/// Cost      While nobody waits one compare-exchange each way; no allocation.
class Semaphore {
  public:
    /// As Python's SEM_VALUE_MAX.
    static constexpr std::int64_t most = 0x7fff'ffff;
    /// Throws UsageError for a negative number or one above `most`, OSError.
    explicit Semaphore(std::int64_t permits = 1) : Semaphore(permits, most) {}
    /// The one that lives in `block`.
    explicit Semaphore(SharedBlock block);

    /// True with a permit; false when `blocking` is false and there is none, or at the deadline.
    /// Throws UsageError for acquire(false, some deadline), CancelledError.
    bool acquire(bool blocking = true, Deadline deadline = forever) {
        if (deadline.is_forever() && try_acquire(0)) [[likely]]
            return true;
        AcquireOp op(*this, blocking);
        return sync::run_blocking(op, deadline);
    }
    bool acquire(Deadline deadline) { return acquire(true, deadline); }
    /// Gives back n permits. Throws UsageError, and releases nothing, for n < 1 or when there would be more than `most`; a
    /// BoundedSemaphore also for more than at the beginning. Never waits.
    void release(std::int64_t n = 1);
    /// How many permits are free. Old news at once.
    [[nodiscard]] std::int64_t value() const noexcept { return state_->word.load(memory_order_relaxed) & ~waiters; }
    /// Python: get_value
    [[nodiscard]] std::int64_t get_value() const noexcept { return value(); }
    /// True when acquire() would have to wait.
    [[nodiscard]] bool locked() const noexcept { return value() == 0; }
    [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }
    /// As a handle of the same semaphore to another process.
    void pack(CargoWriter& to) const { block_.pack(to); }
    static Semaphore unpack(CargoReader& from) { return Semaphore(SharedBlock::unpack(from)); }

    void lock() { acquire(); }
    bool try_lock() { return acquire(false); }
    void unlock() { release(); }

    class AcquireOp final : public SharedWait {
      public:
        AcquireOp(Semaphore& s, bool blocking) noexcept
            : SharedWait(&s, acquire_site), semaphore_(s), blocking_(blocking) {}
        bool try_now(Deadline deadline);
        bool step() noexcept override;
        bool finish(wait::Agent& me) {
            if (cancelled_) me.throw_cancelled();
            return acquired_;
        }

      private:
        Semaphore& semaphore_;
        bool blocking_;
        bool acquired_ = false, cancelled_ = false;
    };
    /// The twin of acquire() for coroutines.
    sync::Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever) {
        return sync::Awaitable<AcquireOp>(deadline, *this, blocking);
    }
    sync::Awaitable<AcquireOp> async_acquire(Deadline deadline) {
        return sync::Awaitable<AcquireOp>(deadline, *this, true);
    }

  protected:
    Semaphore(std::int64_t permits, std::int64_t bound);

  private:
    // The word: free permits, and bit 31: somebody may sleep. It may be set without one. A sleeper that is woken sets it anew: so
    // of those who sleep on only one whose waker died is forgotten, till he looks by himself.
    static constexpr std::uint32_t waiters = 1U << 31;
    struct State {
        os::FutexWord word{0};
        std::uint32_t bound = 0;
    };
    // Takes a permit if there is one, and leaves `mark` set.
    bool try_acquire(std::uint32_t mark) noexcept {
        std::uint32_t seen = state_->word.load(memory_order_relaxed);
        while ((seen & ~waiters) != 0)
            // acquire: meets release().
            if (state_->word.compare_exchange_weak(seen, (seen - 1) | mark, memory_order_acquire, memory_order_relaxed))
                return true;
        return false;
    }
    static const wait::WaitSite acquire_site;

    SharedBlock block_;
    State* state_; // in the block
};

/// A Semaphore that never has more permits than at the beginning.      Python: multiprocessing.BoundedSemaphore
class BoundedSemaphore : public Semaphore {
  public:
    explicit BoundedSemaphore(std::int64_t permits = 1) : Semaphore(permits, permits) {}
    explicit BoundedSemaphore(SharedBlock block) : Semaphore(std::move(block)) {}
    static BoundedSemaphore unpack(CargoReader& from) { return BoundedSemaphore(SharedBlock::unpack(from)); }
};

} // namespace sennit::multiprocessing
