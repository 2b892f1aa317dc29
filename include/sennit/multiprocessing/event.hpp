#pragma once

#include <sennit/multiprocessing/shared_block.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::multiprocessing {

/// A flag that agents of several processes wait for.      Python: multiprocessing.Event
///
/// Copies are handles of one event. Within one process sync::Event is leaner.
///
/// Agents    Every member, at the same time, from threads and coroutines of all processes that have it.
/// Blocks    wait() parks the agent, async_wait() suspends the coroutine. Nothing else waits.
/// Death     Nobody holds it: whoever dies, before, in or after any call, leaves it as it was or as he meant it.
/// Order     What was done before set() is visible to all after wait() or is_set() gave them true.
/// Cancel    A cancelled waiter throws CancelledError, unless set() came first.
/// Lifetime  As Lock's.
/// Cost      No allocation; on a raised flag one load.
class Event {
  public:
    /// A new one, lowered. Throws OSError.
    Event();
    /// The one that lives in `block`.
    explicit Event(SharedBlock block);

    /// Raises the flag and releases all who wait. Twice is as once. Never waits.
    void set() noexcept;
    /// Lowers the flag. Who waited when it was raised gets true all the same.
    void clear() noexcept;
    [[nodiscard]] bool is_set() const noexcept { return (word_->load(memory_order_acquire) & up) != 0; } // meets set()
    /// True once the flag is up; false at the deadline.
    bool wait(Deadline deadline = forever) {
        if (is_set()) return true;
        WaitOp op(*this);
        return sync::run_blocking(op, deadline);
    }
    [[nodiscard]] const SharedBlock& block() const noexcept { return block_; }
    /// As a handle of the same event to another process.
    void pack(CargoWriter& to) const { block_.pack(to); }
    static Event unpack(CargoReader& from) { return Event(SharedBlock::unpack(from)); }

    class WaitOp final : public SharedWait {
      public:
        explicit WaitOp(Event& event) noexcept : SharedWait(&event, wait_site), event_(event) {}
        bool try_now(Deadline deadline) noexcept {
            began_ = event_.word_->load(memory_order_acquire); // meets set()
            up_ = (began_ & up) != 0;
            return up_ || deadline.is_poll();
        }
        bool step() noexcept override;
        bool finish(wait::Agent& me) {
            if (cancelled_) me.throw_cancelled();
            return up_;
        }

      private:
        Event& event_;
        std::uint32_t began_ = 0;
        bool up_ = false, cancelled_ = false;
    };
    /// The twin of wait() for coroutines.
    sync::Awaitable<WaitOp> async_wait(Deadline deadline = forever) { return sync::Awaitable<WaitOp>(deadline, *this); }

  private:
    // The word: how often it was raised, times two, and bit 0: it is up. So who waits sees that it was, though it is down again.
    static constexpr std::uint32_t up = 1, once = 2;
    static const wait::WaitSite wait_site;

    SharedBlock block_;
    os::FutexWord* word_; // in the block
};

} // namespace sennit::multiprocessing
