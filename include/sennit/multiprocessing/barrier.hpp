#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/multiprocessing/shared_block.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <exception>
#include <functional>

namespace sennit::multiprocessing {

/// Where a fixed number of agents of several processes wait for each other, again and again.   Python: multiprocessing.Barrier
///
/// Copies are handles of one barrier. Within one process sync::Barrier is leaner.
///
/// Agents    Every member, at the same time, from threads and coroutines of all processes that have it. A coroutine stays on its
///           OS thread while it waits (its loop's; not a task that was spawned on a pool).
/// Blocks    wait() parks the agent, async_wait() suspends the coroutine. Who comes while a round leaves waits for that.
/// Death     A process or thread that dies while it waits, or in the action, breaks the barrier, within 100 ms.
/// Order     What anybody did before wait() is visible to all after it, and to the action.
/// Cancel    A cancelled waiter leaves, throws CancelledError and no longer counts, unless its round was full already.
/// Lifetime  As Lock's.
/// Cost      No allocation; a look at every party's place each time somebody comes or goes. 64 bytes of shared memory a party.
/// Source    Python 3.13, whose states it has.
class Barrier {
  public:
    /// For `parties` agents (UsageError for less than 1). In each round the last to come runs `action`, its own handle's, before
    /// anybody is released; if it throws, that agent gets the exception and the others BrokenBarrierError.
    /// `deadline` holds for each wait() that gives none of its own. Throws OSError.
    explicit Barrier(std::size_t parties, std::function<void()> action = {}, Deadline deadline = forever);
    /// The same with a time-out that begins anew with each wait(), as in Python.
    template <class Rep, class Period>
    Barrier(std::size_t parties, std::function<void()> action, std::chrono::duration<Rep, Period> timeout)
        : Barrier(parties, std::move(action)) {
        timeout_ = std::chrono::duration_cast<std::chrono::nanoseconds>(timeout);
        has_timeout_ = true;
    }
    /// The one that lives in `block`. InvalidStateError when there is none.
    explicit Barrier(SharedBlock block, std::function<void()> action = {}, Deadline deadline = forever);

    /// Waits till all have come. Gives each one another number from 0 to parties - 1, the last to come parties - 1.
    /// Throws BrokenBarrierError when the barrier is or becomes broken, or is reset while one waits; at the deadline this
    /// wait itself breaks it.
    int wait() { return wait(default_deadline()); }
    int wait(Deadline deadline);

    class WaitOp final : public SharedWait {
      public:
        explicit WaitOp(Barrier& b) noexcept : SharedWait(&b, wait_site), barrier_(b) {}
        bool try_now(Deadline) noexcept { return false; }
        bool step() noexcept override;
        int finish(wait::Agent& me);

      private:
        friend class Barrier;
        enum class Result : unsigned char { none, passed, broken, cancelled, action_failed };
        Barrier& barrier_;
        Result result_ = Result::none;
        std::size_t place_ = 0; // 0: not in; else one more than its place's number
        int index_ = 0;
        std::exception_ptr error_;
    };
    sync::Awaitable<WaitOp> async_wait() { return async_wait(default_deadline()); }
    sync::Awaitable<WaitOp> async_wait(Deadline deadline) { return sync::Awaitable<WaitOp>(deadline, *this); }

    /// Those who wait get BrokenBarrierError; then it is as new.
    void reset() noexcept;
    /// Breaks it: those who wait and all who come get BrokenBarrierError, until reset().
    void abort() noexcept;
    [[nodiscard]] bool broken() const noexcept;
    /// How many wait now.
    [[nodiscard]] std::size_t n_waiting() const noexcept;
    [[nodiscard]] std::size_t parties() const noexcept;
    [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }
    /// As a handle of the same barrier, with its time-out, to another process. Throws UsageError when it has an action, which
    /// does not travel: send another handle, Barrier(block()), and give it an action there.
    void pack(CargoWriter& to) const;
    static Barrier unpack(CargoReader& from);

  private:
    struct State;
    struct Place;
    class Guard;
    Deadline default_deadline() const { return has_timeout_ ? Deadline(timeout_) : deadline_; }
    bool arrive(WaitOp& w, Guard& guard) noexcept;
    bool go_on(WaitOp& w, Guard& guard) noexcept;
    void run_action(WaitOp& w, Guard& guard) noexcept;
    static const wait::WaitSite wait_site;

    SharedBlock block_;
    State* state_; // in the block
    std::function<void()> action_;
    Deadline deadline_;
    std::chrono::nanoseconds timeout_{};
    bool has_timeout_ = false;
};

} // namespace sennit::multiprocessing
