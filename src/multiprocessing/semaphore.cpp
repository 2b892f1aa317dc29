#include <sennit/multiprocessing/semaphore.hpp>

#include <new>
#include <string>

namespace sennit::multiprocessing {

constinit const wait::WaitSite Semaphore::acquire_site{"multiprocessing.Semaphore", "acquire"};

Semaphore::Semaphore(std::int64_t permits, std::int64_t bound)
    : block_(sizeof(State)), state_(::new (block_.data()) State) {
    if (permits < 0 || permits > most)
        throw UsageError("multiprocessing.Semaphore: " + std::to_string(permits) + " permits; from 0 to " +
                         std::to_string(most) + " are possible");
    state_->bound = static_cast<std::uint32_t>(bound);
    state_->word.store(static_cast<std::uint32_t>(permits), memory_order_relaxed); // nobody else has it yet
}

Semaphore::Semaphore(SharedBlock block) : block_(std::move(block)), state_(static_cast<State*>(block_.data())) {
    if (block_.size() < sizeof(State))
        throw UsageError("multiprocessing.Semaphore: a block of " + std::to_string(block_.size()) +
                         " bytes holds none; pass another semaphore's block()");
}

void Semaphore::release(std::int64_t n) {
    if (n < 1)
        throw UsageError("multiprocessing.Semaphore.release: " + std::to_string(n) + " permits; release at least 1");
    std::uint32_t seen = state_->word.load(memory_order_relaxed), left = 0;
    do {
        const std::int64_t now = seen & ~waiters;
        if (n > state_->bound - now)
            throw UsageError("multiprocessing.Semaphore.release: there would be " + std::to_string(now) + " + " +
                             std::to_string(n) + " permits, and at most " + std::to_string(state_->bound) +
                             " are possible; release only what was acquired");
        left = seen + static_cast<std::uint32_t>(n);
        // release: meets the acquire of who takes one.
    } while (!state_->word.compare_exchange_weak(seen, left, memory_order_release, memory_order_relaxed));
    if (!(left & waiters)) return;
    if (os::futex_wake_shared(state_->word, static_cast<int>(n)) >= n) return;
    // Fewer slept: the bit may go, unless the word has changed since.
    state_->word.compare_exchange_strong(left, left & ~waiters, memory_order_relaxed, memory_order_relaxed);
}

bool Semaphore::AcquireOp::try_now(Deadline deadline) {
    if (!blocking_ && !deadline.is_forever())
        throw UsageError(
            "multiprocessing.Semaphore.acquire: a deadline makes no sense with blocking = false; pass blocking = "
            "true, or no deadline");
    acquired_ = semaphore_.try_acquire(0);
    return acquired_ || !blocking_ || deadline.is_poll();
}

bool Semaphore::AcquireOp::step() noexcept {
    woke_up();
    if (outcome() == wait::Outcome::timed_out || outcome() == wait::Outcome::cancelled) {
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    os::FutexWord& word = semaphore_.state_->word;
    for (;;) {
        if (semaphore_.try_acquire(slept() ? waiters : 0)) return acquired_ = true;
        std::uint32_t none = 0;
        // relaxed: nothing is published by it; the futex call compares the word.
        if (word.load(memory_order_relaxed) == waiters ||
            word.compare_exchange_strong(none, waiters, memory_order_relaxed, memory_order_relaxed))
            break;
    }
    sleep_on(word, waiters);
    return false;
}

} // namespace sennit::multiprocessing
