//   wait()
//   b1  lock the queue; broken: throw
//   b2  not the last: ++count, link; unlock, park
//   b3  the last: take the whole round out: give each its number, settle it; count = 0; unlock
//   b4  run the action
//   b5  failed: lock, break the barrier, mark the round `broken`, unlock; wake the round
//
// 1. A round that is full is taken out at once (b3), before the action runs: who comes meanwhile fills the next round, and
//    no waiter of the full one can leave before b5, for it is settled and not yet unparked.
// 2. A waiter whose deadline or cancellation came just before b3 can't be settled there. It is marked `passed` all the same
//    and, while the action runs, kept in `late`. When it takes the lock to leave it sees that: the round was full, so it
//    has passed (as in Python, where the state is looked at after the time-out) and waits for b5, uninterruptibly; a
//    cancelled one goes at once.
// 3. A waiter that leaves a round that is not full takes its place with it (cancelled), or breaks the barrier (time-out).
#include <sennit/sync/barrier.hpp>

#include <sennit/base/errors.hpp>

#include <utility>

namespace sennit::sync {

constinit const wait::WaitSite Barrier::wait_site{"Barrier", "wait"};

Barrier::Barrier(std::size_t parties, std::function<void()> action, Deadline deadline)
    : parties_(parties), action_(std::move(action)), deadline_(deadline) {
    if (parties < 1) throw UsageError("Barrier: it takes at least 1 party, got 0");
}

int Barrier::wait() { return wait(default_deadline()); }

int Barrier::wait(Deadline deadline) {
    WaitOp op(*this);
    return run_blocking(op, deadline);
}

bool Barrier::WaitOp::try_now(Deadline) { return false; }

int Barrier::WaitOp::finish(wait::Agent& me) {
    switch (result_) {
    case Result::cancelled:
        me.throw_cancelled();
        break;
    case Result::action_failed:
        std::rethrow_exception(error_);
    case Result::broken:
        throw BrokenBarrierError();
    case Result::passed:
    case Result::none:
        break;
    }
    return index_;
}

bool Barrier::WaitOp::step() noexcept {
    Barrier& b = barrier_;
    return linked_ ? b.leave(*this) : b.arrive(*this);
}

bool Barrier::arrive(WaitOp& w) noexcept {
    base::IntrusiveList round; // the others of a full round
    base::IntrusiveList late;  // those of them whose time-out or cancellation came first; under the queue's lock
    wait::WakeList wakes;
    {
        Guard guard(queue_); // b1
        if (broken_) {
            w.result_ = Result::broken;
            return true;
        }
        if (count_ + 1 < parties_) {
            if (w.deadline().is_poll()) { // it times out now
                w.result_ = Result::broken;
                break_round(guard, wakes);
                broken_ = true;
                return true;
            }
            ++count_; // b2
            w.linked_ = true;
            w.arm();
            queue_.push_back(guard, w);
            return false;
        }
        take_round(guard, round, late); // b3
    }
    w.index_ = static_cast<int>(parties_ - 1);
    w.result_ = Result::passed;
    if (action_) {
        try {
            action_(); // b4
        } catch (...) {
            w.result_ = Result::action_failed;
            w.error_ = std::current_exception();
        }
    }
    if (action_) { // b5
        Guard guard(queue_);
        if (w.result_ == Result::action_failed) {
            break_round(guard, wakes); // the next round, as far as it has come
            broken_ = true;
        }
        while (base::ListNode* n = late.pop_front()) {
            auto& other = static_cast<WaitOp&>(*n);
            if (w.result_ == Result::action_failed) other.result_ = Result::broken;
            if (other.settle(wait::Outcome::woken)) wakes.add(other); // else it comes and finds itself unlinked
        }
    }
    while (base::ListNode* n = round.pop_front()) {
        auto& other = static_cast<WaitOp&>(*n);
        if (w.result_ == Result::action_failed) other.result_ = Result::broken; // read after unpark
        wakes.add(other);
    }
    return true;
}

// Takes all who wait out as a full round; the claimed ones into `round`.
void Barrier::take_round(const Guard& guard, base::IntrusiveList& round, base::IntrusiveList& late) noexcept {
    int index = 0;
    for (; Wait* n = queue_.pop_front(guard); ++index) {
        auto& w = static_cast<WaitOp&>(*n);
        w.index_ = index;
        w.result_ = Result::passed;
        if (w.settle(wait::Outcome::woken))
            round.push_back(w);
        else if (action_)
            late.push_back(w);
    }
    count_ = 0;
}

// Sends all who wait away with BrokenBarrierError.
void Barrier::break_round(const Guard& guard, wait::WakeList& wakes) noexcept {
    while (Wait* n = queue_.pop_front(guard)) {
        auto& w = static_cast<WaitOp&>(*n);
        w.result_ = Result::broken;
        if (w.settle(wait::Outcome::woken)) wakes.add(w);
    }
    count_ = 0;
}

// A waiter has been settled: by a notifier, or by its deadline or a cancellation.
bool Barrier::leave(WaitOp& w) noexcept {
    if (w.outcome() == wait::Outcome::woken) return true; // result_ was set before
    wait::WakeList wakes;
    Guard guard(queue_);
    const bool cancelled = w.outcome() == wait::Outcome::cancelled;
    switch (w.result_) {
    case Result::none: // still in a round that fills
        queue_.remove(guard, w);
        --count_;
        w.result_ = cancelled ? Result::cancelled : Result::broken;
        if (!cancelled) {
            break_round(guard, wakes);
            broken_ = true;
        }
        return true;
    case Result::passed:
        if (w.linked() && !cancelled) { // in `late`: the action still runs
            w.arm();
            w.interruptible_ = false;
            return false;
        }
        if (w.linked()) base::IntrusiveList::remove(w);
        break;
    case Result::broken:
    case Result::cancelled:
    case Result::action_failed:
        break;
    }
    if (cancelled) w.result_ = Result::cancelled;
    return true;
}

void Barrier::reset() noexcept {
    wait::WakeList wakes;
    Guard guard(queue_);
    break_round(guard, wakes);
    broken_ = false;
}

void Barrier::abort() noexcept {
    wait::WakeList wakes;
    Guard guard(queue_);
    break_round(guard, wakes);
    broken_ = true;
}

bool Barrier::broken() const noexcept {
    Guard guard(queue_);
    return broken_;
}

std::size_t Barrier::n_waiting() const noexcept {
    Guard guard(queue_);
    return count_;
}

} // namespace sennit::sync
