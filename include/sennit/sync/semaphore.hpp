#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstdint>

namespace sennit::sync {

/// A number of permits.        Python: threading.Semaphore, asyncio.Semaphore, gevent.lock.Semaphore
///
/// Use it to let at most n agents do something at once. To find a release() too many, use BoundedSemaphore.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines. Any agent may release.
/// Blocks    acquire() parks the agent, async_acquire() suspends the coroutine.
/// Order     What was done before release() is visible after the acquire() that got the permit.
/// Fairness  Permits are handed over, first come first served; nobody overtakes who waits.
/// Cancel    A cancelled waiter leaves and throws CancelledError, unless it had been handed its permit: then acquire() gives
///           true and the cancellation comes at the agent's next wait. No permit is lost.
/// Lifetime  Outlives every call on it, release() included.
/// Cost      No allocation; while nobody waits one compare-exchange each way.
class Semaphore {
  public:
    /// Throws UsageError for a negative number.
    explicit Semaphore(std::int64_t permits = 1);
    Semaphore(const Semaphore&) = delete;
    Semaphore& operator=(const Semaphore&) = delete;

    /// True with a permit; false when `blocking` is false and there is none, or at the deadline.
    /// Throws UsageError for acquire(false, some deadline).
    bool acquire(bool blocking = true, Deadline deadline = forever) {
        if ((blocking || deadline.is_forever()) && try_acquire()) [[likely]]
            return true;
        return acquire_slow(blocking, deadline);
    }
    bool acquire(Deadline deadline) { return acquire(true, deadline); }
    /// Takes a permit if there is one and nobody waits. Never waits.
    bool try_acquire() noexcept {
        std::int64_t seen = word_.load(memory_order_relaxed);
        while (seen >= permit && !(seen & queued)) {
            // acquire: meets release().
            if (word_.compare_exchange_weak(seen, seen - permit, memory_order_acquire, memory_order_relaxed))
                return true;
        }
        return false;
    }
    /// Gives back n permits. Throws UsageError for n < 1, or when there would be more than 2^61. Never waits.
    void release(std::int64_t n = 1) { release_bounded(n, max_permits); }
    /// True when acquire() would have to wait.           Python: asyncio.Semaphore.locked
    [[nodiscard]] bool locked() const noexcept { return word_.load(memory_order_relaxed) < permit; }
    /// How many permits are free. Old news at once.
    [[nodiscard]] std::int64_t value() const noexcept { return word_.load(memory_order_relaxed) / permit; }

    class AcquireOp final : public wait::Wait {
      public:
        AcquireOp(Semaphore& s, bool blocking) noexcept : Wait(&s, acquire_site), semaphore_(s), blocking_(blocking) {}
        bool try_now(Deadline deadline);
        bool step() noexcept override;
        bool finish(wait::Agent& me) {
            if (cancelled_) me.throw_cancelled();
            return acquired_;
        }

      private:
        Semaphore& semaphore_;
        bool blocking_;
        bool linked_ = false;
        bool acquired_ = false;
        bool cancelled_ = false;
    };
    Awaitable<AcquireOp> async_acquire(bool blocking = true, Deadline deadline = forever) {
        return Awaitable<AcquireOp>(deadline, *this, blocking);
    }
    Awaitable<AcquireOp> async_acquire(Deadline deadline) { return Awaitable<AcquireOp>(deadline, *this, true); }

    /// As the standard's counting_semaphore and Lockable, for std::unique_lock and the like.
    void lock() { acquire(); }
    bool try_lock() noexcept { return try_acquire(); }
    void unlock() { release(); }

    /// In the child of a fork(): forgets the parent's waiters. Permits stay as they were.
    void reset_after_fork() noexcept;

  protected:
    static constexpr std::int64_t max_permits = std::int64_t{1} << 61;
    void release_bounded(std::int64_t n, std::int64_t most);

  private:
    // The word: free permits times two, and bit 0:
    //   queued   agents may wait; then there are no free permits, and whoever changes the word holds the queue's lock.
    //            May be set with an empty queue only while that lock is held.
    static constexpr std::int64_t queued = 1, permit = 2;
    bool acquire_slow(bool blocking, Deadline deadline);
    static const wait::WaitSite acquire_site;

    atomic<std::int64_t> word_;
    wait::WaitQueue queue_;
};

/// A Semaphore that never has more permits than at the beginning.   Python: threading.BoundedSemaphore
class BoundedSemaphore : public Semaphore {
  public:
    explicit BoundedSemaphore(std::int64_t permits = 1) : Semaphore(permits), initial_(permits) {}
    /// Throws UsageError, and releases nothing, when there would be more permits than at the beginning.
    void release(std::int64_t n = 1) { release_bounded(n, initial_); }
    void unlock() { release(); }

  private:
    std::int64_t initial_;
};

} // namespace sennit::sync
