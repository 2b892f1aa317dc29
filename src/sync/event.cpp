//   wait()                               set()
//   w1  load up_          acquire        s1  lock the queue
//   w2  lock the queue                   s2  store up_ = true      release
//   w3  load up_          relaxed        s3  claim all waiters
//   w4  arm and link `me`                s4  unlock the queue
//   w5  unlock, park                     s5  wake those claimed    (outside the lock)
//
// No wake-up is lost: w2..w5 and s1..s4 exclude each other. Either s2 is before w3, which sees the flag, or w4 is
// before s3, which takes `me`.
// Orders: s2 meets w1: the fast path sees what the setter did. s4 meets w2: the same for w3, so w3 may be relaxed.
// s5 meets the end of park: the same for who slept (the contract of Waiter).
#include <sennit/sync/event.hpp>

namespace sennit::sync {

constinit const wait::WaitSite Event::wait_site{"Event", "wait"};

void Event::set() noexcept {
    wait::WakeList wakes; // s5: dies after the guard
    wait::WaitQueue::Guard guard(queue_);
    up_.store(true, memory_order_release);
    queue_.claim_all(guard, wakes);
}

void Event::clear() noexcept {
    // Under the lock, so that it does not fall between s2 and s3 of a set() that then would have released nobody.
    wait::WaitQueue::Guard guard(queue_);
    up_.store(false, memory_order_relaxed); // nothing is published by a lowered flag
}

bool Event::wait_slow(Deadline deadline) {
    WaitOp op(*this);
    return run_blocking(op, deadline);
}

bool Event::WaitOp::step() noexcept {
    if (!linked_) {
        wait::WaitQueue::Guard guard(event_.queue_);
        up_ = event_.up_.load(memory_order_relaxed); // w3
        if (up_) return true;
        arm();
        event_.queue_.push_back(guard, *this);
        linked_ = true;
        return false;
    }
    if (outcome() == wait::Outcome::woken) return up_ = true; // whatever the flag is by now
    wait::WaitQueue::Guard guard(event_.queue_);
    event_.queue_.remove(guard, *this);
    cancelled_ = outcome() == wait::Outcome::cancelled;
    return true;
}

} // namespace sennit::sync
