#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstddef>
#include <exception>
#include <functional>

namespace sennit::sync {

/// Where a fixed number of agents wait for each other, again and again.   Python: threading.Barrier, asyncio.Barrier
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines, mixed at will.
/// Blocks    wait() parks the agent, async_wait() suspends the coroutine.
/// Order     What anybody did before wait() is visible to all after it, and to the action.
/// Fairness  Rounds don't mix: who comes when a round is full belongs to the next one. Not promised: with twice as many
///           agents as parties, the actions of two rounds may run at the same time.
/// Cancel    A cancelled waiter leaves, throws CancelledError and no longer counts, unless its round was full already. A round
///           that fills before it has left is full for the others all the same (as in asyncio).
/// Lifetime  Outlives every call on it.
/// Cost      No allocation.
/// Source    Python 3.13. A deadline that passes breaks the barrier for all, until reset(); at the full round it has not.
class Barrier {
  public:
    /// For `parties` agents (UsageError for less than 1). In each round the last to come runs `action` before anybody is
    /// released; if it throws, that agent gets the exception and the others BrokenBarrierError.
    /// `deadline` holds for each wait() that gives none of its own.
    explicit Barrier(std::size_t parties, std::function<void()> action = {}, Deadline deadline = forever);
    /// The same with a time-out that begins anew with each wait(), as in Python.
    template <class Rep, class Period>
    Barrier(std::size_t parties, std::function<void()> action, std::chrono::duration<Rep, Period> timeout)
        : Barrier(parties, std::move(action)) {
        timeout_ = std::chrono::duration_cast<std::chrono::nanoseconds>(timeout);
        has_timeout_ = true;
    }
    Barrier(const Barrier&) = delete;
    Barrier& operator=(const Barrier&) = delete;

    /// Waits till all have come. Gives each one another number from 0 to parties - 1, the last to come parties - 1.
    /// Throws BrokenBarrierError when the barrier is or becomes broken, or is reset while one waits; at the deadline this
    /// wait itself breaks it.
    int wait();
    int wait(Deadline deadline);

    class WaitOp final : public wait::Wait {
      public:
        explicit WaitOp(Barrier& b) noexcept : Wait(&b, wait_site), barrier_(b) {}
        bool try_now(Deadline deadline);
        bool step() noexcept override;
        int finish(wait::Agent& me);

      private:
        friend class Barrier;
        enum class Result : unsigned char { none, passed, broken, cancelled, action_failed };
        Barrier& barrier_;
        plain<Result> result_ = Result::none; // written under the queue's lock
        bool linked_ = false;
        plain<int> index_ = 0;
        std::exception_ptr error_;
    };
    Awaitable<WaitOp> async_wait() { return Awaitable<WaitOp>(default_deadline(), *this); }
    Awaitable<WaitOp> async_wait(Deadline deadline) { return Awaitable<WaitOp>(deadline, *this); }

    /// Those who wait get BrokenBarrierError; then it is as new.
    void reset() noexcept;
    /// Breaks it: those who wait and all who come get BrokenBarrierError, until reset().
    void abort() noexcept;
    [[nodiscard]] bool broken() const noexcept;
    /// How many wait now.
    [[nodiscard]] std::size_t n_waiting() const noexcept;
    [[nodiscard]] std::size_t parties() const noexcept { return parties_; }

  private:
    using Guard = wait::WaitQueue::Guard;
    using Result = WaitOp::Result;
    using Wait = wait::Wait;
    Deadline default_deadline() const { return has_timeout_ ? Deadline(timeout_) : deadline_; }
    bool arrive(WaitOp& w) noexcept;
    bool leave(WaitOp& w) noexcept;
    void take_round(const Guard& guard, base::IntrusiveList& round, base::IntrusiveList& late) noexcept;
    void break_round(const Guard& guard, wait::WakeList& wakes) noexcept;
    static const wait::WaitSite wait_site;

    const std::size_t parties_;
    std::function<void()> action_;
    Deadline deadline_;
    std::chrono::nanoseconds timeout_{};
    bool has_timeout_ = false;
    mutable wait::WaitQueue queue_; // those of the round that fills
    plain<std::size_t> count_ = 0;  // how many they are; under the queue's lock, as all below
    plain<bool> broken_ = false;
};

} // namespace sennit::sync
