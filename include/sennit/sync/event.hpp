#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/wait_queue.hpp>

namespace sennit::sync {

/// A flag that agents wait for.            Python: threading.Event, asyncio.Event, gevent.event.Event
///
/// Use it for what happens once and stays true. For a state that comes and goes use Condition; for a value, Future.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines, mixed at will.
/// Blocks    wait() parks the agent, async_wait() suspends the coroutine. Nothing else waits.
/// Order     What an agent did before set() is visible to all after wait() or is_set() gave them true.
/// Fairness  set() releases all who wait, oldest first.
/// Cancel    A cancelled waiter leaves and throws CancelledError, unless set() took it first: then wait() returns
///           true and the cancellation comes at the agent's next wait. No wake-up is lost.
/// Lifetime  Outlives every call on it, set() included: is_set() does not mean that set() has returned.
/// Cost      No allocation; on a raised flag one load.
/// Source    Python 3.13; who was released by set() gets true though clear() follows (bpo-13502).
class Event {
  public:
    Event() noexcept = default;
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    /// Raises the flag and releases all who wait. Twice is as once. Never waits.
    void set() noexcept;
    /// Lowers the flag. Who was released already gets true all the same.
    void clear() noexcept;
    [[nodiscard]] bool is_set() const noexcept {
        return up_.load(memory_order_acquire); // meets set()
    }
    /// True once the flag is up; false at the deadline.
    bool wait(Deadline deadline = forever) { return is_set() || wait_slow(deadline); }

    class WaitOp final : public wait::Wait {
      public:
        explicit WaitOp(Event& event) noexcept : Wait(&event, wait_site), event_(event) {}
        bool try_now(Deadline deadline) noexcept {
            up_ = event_.is_set();
            return up_ || deadline.is_poll();
        }
        bool step() noexcept override;
        bool finish(wait::Agent& me) {
            if (cancelled_) me.throw_cancelled();
            return up_;
        }

      private:
        Event& event_;
        bool linked_ = false;
        bool up_ = false;
        bool cancelled_ = false;
    };
    /// The twin of wait() for coroutines.
    Awaitable<WaitOp> async_wait(Deadline deadline = forever) { return Awaitable<WaitOp>(deadline, *this); }

    /// In the child of a fork(): forgets the parent's waiters. The flag stays.
    void reset_after_fork() noexcept { queue_.reset_after_fork(); }

  private:
    bool wait_slow(Deadline deadline);
    static const wait::WaitSite wait_site;

    atomic<bool> up_{false};
    wait::WaitQueue queue_;
};

} // namespace sennit::sync
