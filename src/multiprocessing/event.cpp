#include <sennit/multiprocessing/event.hpp>

#include <climits>
#include <new>
#include <string>

namespace sennit::multiprocessing {

constinit const wait::WaitSite Event::wait_site{"multiprocessing.Event", "wait"};

Event::Event() : block_(sizeof(os::FutexWord)), word_(::new (block_.data()) os::FutexWord(0)) {}

Event::Event(SharedBlock block) : block_(std::move(block)), word_(static_cast<os::FutexWord*>(block_.data())) {
    if (block_.size() < sizeof(os::FutexWord))
        throw UsageError("multiprocessing.Event: a block of " + std::to_string(block_.size()) +
                         " bytes holds none; pass another event's block()");
}

void Event::set() noexcept {
    std::uint32_t seen = word_->load(memory_order_relaxed);
    do {
        if (seen & up) {
            // Who set it may have died before he woke anybody; release: meets is_set(), for what this one did before.
            if (!word_->compare_exchange_weak(seen, seen, memory_order_release, memory_order_relaxed)) continue;
            break;
        }
        // release: meets is_set() and the end of a wait.
    } while (!word_->compare_exchange_weak(seen, (seen + once) | up, memory_order_release, memory_order_relaxed));
    os::futex_wake_shared(*word_, INT_MAX);
}

void Event::clear() noexcept {
    word_->fetch_and(~up, memory_order_relaxed); // nothing is published by a lowered flag
}

bool Event::WaitOp::step() noexcept {
    woke_up();
    const std::uint32_t now = event_.word_->load(memory_order_acquire); // meets set()
    up_ = (now & up) != 0 || now != began_;
    if (up_) return true;
    if (outcome() == wait::Outcome::timed_out || outcome() == wait::Outcome::cancelled) {
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    sleep_on(*event_.word_, now);
    return false;
}

} // namespace sennit::multiprocessing
