#include "futures/event_count.hpp"

#include <sennit/wait/agent.hpp>

namespace sennit::futures {

class EventCount::WaitOp final : public wait::Wait {
  public:
    WaitOp(EventCount& count, const void* object, const wait::WaitSite& site) noexcept
        : Wait(object, site), count_(count) {
        interruptible_ = false;
    }
    bool step() noexcept override {
        if (linked_) return true; // woken: nothing else ends it
        const wait::WaitQueue::Guard guard(count_.queue_);
        if (count_.take_left(guard)) return true; // w3
        arm();
        count_.queue_.push_front(guard, *this); // w4
        ++count_.asleep_;
        return !(linked_ = true);
    }

  private:
    EventCount& count_;
    bool linked_ = false;
};

bool EventCount::take_left(const wait::WaitQueue::Guard&) noexcept {
    if (left_ == 0) return false;
    --left_;
    return true;
}

void EventCount::commit_wait(const void* object, const wait::WaitSite& site) {
    WaitOp op(*this, object, site);
    wait::current_agent().wait(op, forever);
}

bool EventCount::cancel_wait() noexcept {
    const wait::WaitQueue::Guard guard(queue_);
    // relaxed: at least the caller's own; others only add.
    if (waiters_.load(memory_order_relaxed) == asleep_) return take_left(guard); // all who are announced are notified
    waiters_.fetch_sub(1, memory_order_relaxed);                                 // seen early or late, a needless look
    return false;
}

bool EventCount::notify_slow() noexcept {
    wait::WakeList wakes; // wakes after the guard
    const wait::WaitQueue::Guard guard(queue_);
    if (waiters_.load(memory_order_relaxed) == 0) return false; // relaxed: n2 has looked; others were quicker
    waiters_.fetch_sub(1, memory_order_relaxed);                // as in cancel_wait()
    if (queue_.claim_first(guard, wakes))
        --asleep_;
    else
        ++left_;
    return true;
}

} // namespace sennit::futures
