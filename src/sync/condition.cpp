//   wait()                                            notify(n), the lock held
//   w1  lock the queue, arm, link, unlock             n1  lock the queue
//   w2  release the lock                              n2  claim up to n waiters, longest waiting first
//   w3  park: notified, timed out or cancelled        n3  unlock the queue, wake them
//   w4  not notified: unlink under the queue's lock
//   w5  take the lock again: neither the deadline nor a cancellation ends that
//
// 1. No notification is lost: the waiter links (w1) before it gives up the lock (w2), and a notifier holds the lock. A waiter
//    that ended by itself fails to be claimed (n2), and the notification goes to the next.
// 2. Nobody who comes after a notify gets it: he is not linked at n2.
// 3. The lock is held at the end of every outcome: w5 is not interruptible. A cancellation that arrives there stays
//    pending and comes at the agent's next wait, as the wait itself has ended already.
#include <sennit/sync/condition.hpp>

#include <sennit/base/errors.hpp>

#include <string>

namespace sennit::sync {

constinit const wait::WaitSite Condition::wait_site{"Condition", "wait"};

void Condition::require_held(const char* call) const {
    if (lock_ ? lock_->locked() : rlock_->is_owned()) return;
    throw UsageError(
        std::string("Condition.") + call +
        ": the lock is not held; acquire() the Condition (std::unique_lock guard(condition)) around the call");
}

bool Condition::wait(Deadline deadline) {
    WaitOp op(*this);
    return run_blocking(op, deadline);
}

void Condition::notify(std::size_t n) {
    require_held("notify");
    wait::WakeList wakes; // n3
    wait::WaitQueue::Guard guard(queue_);
    while (n > 0 && queue_.claim_first(guard, wakes)) --n;
}

bool Condition::WaitOp::start() noexcept {
    part_ = Part::waiting;
    interruptible_ = true;
    {
        wait::WaitQueue::Guard guard(condition_.queue_); // w1
        arm();
        condition_.queue_.push_back(guard, *this);
    }
    if (condition_.rlock_) depth_ = std::exchange(condition_.rlock_->depth_, 0);
    inner().release_held(); // w2
    // A poll does not wait at all, unless a notifier was quick and owes the unpark already.
    return !deadline().is_poll() || !settle(wait::Outcome::timed_out);
}

bool Condition::WaitOp::step() noexcept {
    for (;;) {
        switch (part_) {
        case Part::begin:
            if (start()) return false;
            [[fallthrough]];
        case Part::waiting:
            result_ = outcome() == wait::Outcome::woken;
            cancelled_ = outcome() == wait::Outcome::cancelled;
            if (!result_) { // w4
                wait::WaitQueue::Guard guard(condition_.queue_);
                condition_.queue_.remove(guard, *this);
            }
            part_ = Part::locking;
            interruptible_ = false;
            restart_since(); // who is starved of the lock counts from here
            [[fallthrough]];
        case Part::locking:
            if (!inner().acquire_step(*this)) return false; // w5
            if (condition_.rlock_) condition_.rlock_->depth_ = depth_;
            if (!again()) return true;
            part_ = Part::begin;
        }
    }
}

void Condition::reset_after_fork() noexcept {
    queue_.reset_after_fork();
    if (lock_)
        lock_->reset_after_fork();
    else
        rlock_->reset_after_fork();
}

} // namespace sennit::sync
