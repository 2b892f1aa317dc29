#pragma once

#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/waiter.hpp>

namespace sennit::wait {

/// Waiters that were claimed (settled `woken`) and not yet unparked. Wakes them all when it dies at the latest.
///
/// Declare it before the queue's guard, so that waking happens after the unlock, when the object may already be gone:
///
///     WakeList wakes;
///     WaitQueue::Guard guard(queue_);
///     queue_.claim_first(guard, wakes);
class WakeList {
  public:
    WakeList() noexcept = default;
    ~WakeList() { wake_all(); }
    WakeList(const WakeList&) = delete;
    WakeList& operator=(const WakeList&) = delete;

    void add(Wait& w) noexcept { list_.push_back(w); }
    [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
    /// Oldest first.
    void wake_all() noexcept {
        while (base::ListNode* n = list_.pop_front()) {
            auto& w = static_cast<Wait&>(*n);
            w.agent().unpark(w);
        }
    }

  private:
    base::IntrusiveList list_;
};

/// The agents that wait for one object, oldest first, and the lock that guards the object's slow path.
///
/// Agents    Whoever holds a Guard, which every call takes as a proof.
/// Lifetime  Dies empty.
class WaitQueue {
  public:
    class SENNIT_SCOPED_CAPABILITY Guard {
      public:
        explicit Guard(WaitQueue& q) noexcept SENNIT_ACQUIRE(q.mutex_) : queue_(q) { queue_.mutex_.lock(); }
        ~Guard() SENNIT_RELEASE() { queue_.mutex_.unlock(); }
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;

      private:
        WaitQueue& queue_;
    };

    [[nodiscard]] bool empty(const Guard&) const noexcept { return list_.empty(); }
    void push_back(const Guard&, Wait& w) noexcept { list_.push_back(w); }
    void push_front(const Guard&, Wait& w) noexcept { list_.push_front(w); }
    /// The oldest, not yet settled by this; nullptr when there is none.
    Wait* pop_front(const Guard&) noexcept { return static_cast<Wait*>(list_.pop_front()); }
    /// Takes out a waiter that ended by itself; nothing if a notifier has taken it out already.
    void remove(const Guard&, Wait& w) noexcept {
        if (w.linked()) base::IntrusiveList::remove(w);
    }

    /// Claims the oldest waiter that can still be woken: `on_claim(w)` runs before it is settled and may put into it what
    /// is handed over (nobody reads that unless the claim succeeds). False when there is none.
    template <class OnClaim>
    bool claim_first(const Guard&, WakeList& wakes, OnClaim on_claim) noexcept {
        while (base::ListNode* n = list_.pop_front()) {
            auto& w = static_cast<Wait&>(*n);
            on_claim(w);
            if (w.settle(Outcome::woken)) {
                wakes.add(w);
                return true;
            }
            // It timed out or was cancelled first, finds itself unlinked, and goes; the wake-up goes to the next.
        }
        return false;
    }
    bool claim_first(const Guard& g, WakeList& wakes) noexcept {
        return claim_first(g, wakes, [](Wait&) noexcept {});
    }
    void claim_all(const Guard& g, WakeList& wakes) noexcept {
        while (claim_first(g, wakes)) {}
    }
    /// In the child after fork(): nobody is left who could wait or hold the inner lock.
    void reset_after_fork() noexcept {
        mutex_.reset_after_fork();
        while (list_.pop_front()) {}
    }

  private:
    os::Mutex mutex_;
    base::IntrusiveList list_;
};

} // namespace sennit::wait
