//   acquire                                          release(n)
//   a1  permits, not queued: CAS - 1     acquire     r1  not queued: CAS + n               release
//   a2  lock the queue                               r2  lock the queue
//   a3  permits: CAS - 1                 acquire     r3  claim waiters, a permit each
//       none: CAS queued, arm, link                  r4  add what is left; queue empty: clear queued   release
//   a4  unlock, park                                 r5  unlock, wake
//
// 1. While `queued` is set there are no free permits (set only with none; r3 gives to waiters first), so a1 and r1 stand
//    aside and only who holds the queue's lock changes the word. Nobody overtakes.
// 2. No wake-up is lost: a3 sets `queued` by a CAS on a word without permits. A release before it made that CAS fail and
//    be repeated; one after it sees `queued`, and waits for the lock until the waiter is linked.
// 3. No permit is lost: a waiter that timed out or was cancelled fails to be claimed (r3), and its permit goes on.
#include <sennit/sync/semaphore.hpp>

#include <sennit/base/errors.hpp>

#include <string>

namespace sennit::sync {

constinit const wait::WaitSite Semaphore::acquire_site{"Semaphore", "acquire"};

Semaphore::Semaphore(std::int64_t permits) : word_(permits < 0 || permits > max_permits ? 0 : permits * permit) {
    if (permits < 0 || permits > max_permits)
        throw UsageError("Semaphore: the number of permits must be between 0 and 2^61, got " + std::to_string(permits));
}

bool Semaphore::acquire_slow(bool blocking, Deadline deadline) {
    AcquireOp op(*this, blocking);
    return run_blocking(op, deadline);
}

bool Semaphore::AcquireOp::try_now(Deadline deadline) {
    if (!blocking_ && !deadline.is_forever())
        throw UsageError(
            "Semaphore.acquire: a deadline makes no sense with blocking = false; pass blocking = true, or no "
            "deadline");
    acquired_ = semaphore_.try_acquire();
    return acquired_ || !blocking_ || deadline.is_poll();
}

bool Semaphore::AcquireOp::step() noexcept {
    if (!linked_) {
        wait::WaitQueue::Guard guard(semaphore_.queue_);
        std::int64_t seen = semaphore_.word_.load(memory_order_relaxed);
        for (;;) { // a3; the guard orders what is seen under `queued`
            if (seen >= permit) {
                if (semaphore_.word_.compare_exchange_weak(seen, seen - permit, memory_order_acquire,
                                                           memory_order_relaxed))
                    return acquired_ = true;
            } else if (semaphore_.word_.compare_exchange_weak(seen, queued, memory_order_relaxed,
                                                              memory_order_relaxed)) {
                break;
            }
        }
        arm();
        semaphore_.queue_.push_back(guard, *this);
        linked_ = true;
        return false;
    }
    if (outcome() == wait::Outcome::woken) return acquired_ = true; // handed over
    wait::WaitQueue::Guard guard(semaphore_.queue_);
    semaphore_.queue_.remove(guard, *this);
    if (semaphore_.queue_.empty(guard)) {
        // r4 may have cleared it already. relaxed: nothing is handed over.
        if (semaphore_.word_.load(memory_order_relaxed) & queued) semaphore_.word_.store(0, memory_order_relaxed);
    }
    cancelled_ = outcome() == wait::Outcome::cancelled;
    return true;
}

void Semaphore::release_bounded(std::int64_t n, std::int64_t most) {
    if (n < 1) throw UsageError("Semaphore.release: n must be at least 1, got " + std::to_string(n));
    std::int64_t seen = word_.load(memory_order_relaxed);
    const auto check = [&] {
        if (n > most || seen / permit > most - n)
            throw UsageError("Semaphore.release(" + std::to_string(n) +
                             "): there would be more permits than the limit of " + std::to_string(most) +
                             "; release() once for each acquire() that gave true");
    };
    const auto add_unless_queued = [&] { // r1
        while (!(seen & queued)) {
            check();
            // release: meets the acquire of who takes the permit.
            if (word_.compare_exchange_weak(seen, seen + n * permit, memory_order_release, memory_order_relaxed))
                return true;
        }
        return false;
    };
    if (add_unless_queued()) return;
    wait::WakeList wakes;                 // r5
    wait::WaitQueue::Guard guard(queue_); // r2
    seen = word_.load(memory_order_relaxed);
    if (add_unless_queued()) return; // the last waiter has left before we came
    check();
    while (n > 0 && queue_.claim_first(guard, wakes)) --n; // r3
    if (n == 0 && !queue_.empty(guard)) return;            // still `queued`, still no permits
    word_.store(n * permit, memory_order_release);         // r4: a store, by 1
}

void Semaphore::reset_after_fork() noexcept {
    queue_.reset_after_fork();
    word_.fetch_and(~queued, memory_order_relaxed);
}

} // namespace sennit::sync
