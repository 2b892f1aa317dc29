// acquire (a waiter)                              release (the holder)
//   a1  CAS 0 -> held                acquire        r1  CAS held -> 0                     release
//   a2  while free: CAS -> held      acquire        r2  no waiter, or one is `woken`:
//   a3  CAS: set `busy`              acquire            CAS: clear `held`                 release
//   a4  arm, link                                   r3  else CAS: set `busy`              acquire
//   a5  CAS: set `queued`, clear `busy`, release    r4  take the oldest that can still be woken;
//       but when `held` is gone: unlink, take it        starved: grant it, keep `held`; else: set `woken`
//   a6  park                                        r5  store the word without `busy`     release
//   a7  granted: done; else from a2,                r6  unpark the one taken out
//       `woken` cleared with the CAS of a2 or a5
//
// 1. `held` and `busy` both set by one releaser: nobody else changes the word (acquirers need `held` clear or `busy`
//    clear, other releasers don't exist), so r5 may be a store. It frees the lock and the queue at once and is the last
//    touch of the lock: r6 touches only the waiter, which can't go before.
// 2. No wake-up is lost: a waiter links (a5) only with `held` seen in the same CAS. Whoever holds the lock then releases by
//    a CAS or store that sees `queued`, and wakes somebody, or sees `woken`: then a waiter is on its way that will take
//    the lock, and release it later, or queue again under the same rule. So: queued and not held implies woken.
// 3. Nobody starves: a woken waiter that finds the lock taken queues at the front; after a millisecond it is granted.
// 4. A waiter that timed out or was cancelled is passed over in r4 (its settle fails) or unlinks itself (leave).
#include <sennit/sync/lock.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/thread.hpp>

namespace sennit::sync {
namespace {

constexpr std::int64_t starved_ns = 1'000'000;

// Waits for somebody's few instructions. Gives the core away when their thread seems to have lost its own.
class Backoff {
  public:
    void pause() noexcept {
        if (++turns_ < 64)
            cpu_relax();
        else
            os::yield_core();
    }

  private:
    int turns_ = 0;
};

} // namespace

constinit const wait::WaitSite Lock::acquire_site{"Lock", "acquire", &Lock::holder};

const wait::Agent* Lock::holder(const void* lock) noexcept {
    const auto& it = *static_cast<const Lock*>(lock);
    // acquire: meets the release of the former holder, who cleared owner_ before.
    if (!(it.word_.load(memory_order_acquire) & held)) return nullptr;
    return it.owner_.load(memory_order_relaxed);
}

bool Lock::try_slow() noexcept {
    std::uint32_t seen = word_.load(memory_order_relaxed);
    while (!(seen & held)) {
        // acquire: meets the release of who had it before. The other bits stay.
        if (word_.compare_exchange_weak(seen, seen | held, memory_order_acquire, memory_order_relaxed)) {
            owner_.store(&wait::current_agent(), memory_order_relaxed);
            return true;
        }
    }
    return false;
}

void Lock::refuse_arguments(bool release_first) {
    if (release_first) release_held();
    throw UsageError(
        "Lock.acquire: a deadline makes no sense with blocking = false; pass blocking = true, or no deadline");
}

bool Lock::acquire_slow(bool blocking, Deadline deadline) {
    if (try_slow()) return check_arguments(blocking, deadline);
    AcquireOp op(*this, blocking);
    return run_blocking(op, deadline);
}

bool Lock::AcquireOp::step() noexcept {
    switch (outcome()) {
    case wait::Outcome::timed_out:
        lock_.leave(*this);
        return true;
    case wait::Outcome::cancelled:
        lock_.leave(*this);
        cancelled_ = true;
        return true;
    case wait::Outcome::waiting:
    case wait::Outcome::woken:
        break;
    }
    return acquired_ = lock_.acquire_step(*this);
}

bool Lock::acquire_step(LockWait& w) noexcept {
    if (w.granted_) { // written before the settle that step() has seen with acquire
        w.granted_ = false;
        w.competing_ = false;
        return true;
    }
    // Woken to compete: with its success or its return to the queue it clears the bit that stands for it.
    const std::uint32_t mine = w.competing_ ? woken : 0;
    Backoff backoff;
    std::uint32_t seen = word_.load(memory_order_relaxed);
    for (;;) {
        if (!(seen & held)) { // a2; acquire: meets release
            if (word_.compare_exchange_weak(seen, (seen | held) & ~mine, memory_order_acquire, memory_order_relaxed))
                break;
        } else if (!(seen & busy)) { // a3; acquire: meets the release of who changed the queue before
            if (!word_.compare_exchange_weak(seen, seen | busy, memory_order_acquire, memory_order_relaxed)) continue;
            w.competing_ = false;
            w.arm(); // a4
            if (mine)
                queue_.push_front(w);
            else
                queue_.push_back(w);
            seen |= busy;
            for (;;) { // a5
                if (!(seen & held)) {
                    base::IntrusiveList::remove(w);
                    const std::uint32_t rest = queue_.empty() ? 0 : queued;
                    const std::uint32_t others = seen & woken & ~mine;
                    // acq_rel: acquire meets release of the lock; release: the queue for the next who sets `busy`.
                    if (word_.compare_exchange_weak(seen, held | rest | others, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
                        owner_.store(&w.agent(), memory_order_relaxed);
                        w.competing_ = false;
                        return true;
                    }
                    if (mine)
                        queue_.push_front(w);
                    else
                        queue_.push_back(w);
                } else if (word_.compare_exchange_weak(seen, (seen | queued) & ~(busy | mine), memory_order_release,
                                                       memory_order_relaxed)) {
                    // Not touched any more: whoever takes w out of the queue may let its agent go on at once.
                    return false;
                }
            }
        } else {
            backoff.pause();
            seen = word_.load(memory_order_relaxed);
        }
    }
    owner_.store(&w.agent(), memory_order_relaxed);
    w.competing_ = false;
    return true;
}

void Lock::leave(LockWait& w) noexcept {
    Backoff backoff;
    std::uint32_t seen = word_.load(memory_order_relaxed);
    while ((seen & busy) ||
           !word_.compare_exchange_weak(seen, seen | busy, memory_order_acquire, memory_order_relaxed)) {
        if (seen & busy) {
            backoff.pause();
            seen = word_.load(memory_order_relaxed);
        }
    }
    if (w.linked()) base::IntrusiveList::remove(w);
    const std::uint32_t rest = queue_.empty() ? queued : 0;
    // A bit at a time can change meanwhile (`held` by an acquirer or a releaser, `woken`): hence an atomic and, not a store.
    // release: meets the next who sets `busy`.
    word_.fetch_and(~(busy | rest), memory_order_release);
}

void Lock::release_slow() {
    if (!(word_.load(memory_order_relaxed) & held))
        throw UsageError("Lock.release: the lock is not held; release() once for each acquire() that gave true");
    release_held();
}

void Lock::release_held() noexcept {
    owner_.store(nullptr, memory_order_relaxed); // before the release below: see holder()
    Backoff backoff;
    std::uint32_t seen = word_.load(memory_order_relaxed);
    for (;;) {
        if (!(seen & queued) || (seen & woken)) { // r2; release: meets the acquire of who takes it next
            if (word_.compare_exchange_weak(seen, seen & ~held, memory_order_release, memory_order_relaxed)) return;
        } else if (seen & busy) {
            backoff.pause();
            seen = word_.load(memory_order_relaxed);
        } else if (word_.compare_exchange_weak(seen, seen | busy, memory_order_acquire, memory_order_relaxed)) { // r3
            release_queued();
            return;
        }
    }
}

void Lock::release_queued() noexcept {
    const std::int64_t now = base::monotonic_ns();
    while (base::ListNode* n = queue_.pop_front()) { // r4
        auto& w = static_cast<LockWait&>(static_cast<wait::Wait&>(static_cast<wait::Waiter&>(*n)));
        const bool starved = now - w.since_ns() > starved_ns;
        w.granted_ = starved;
        w.competing_ = !starved;
        if (starved) owner_.store(&w.agent(), memory_order_relaxed);
        if (!w.settle(wait::Outcome::woken)) { // it timed out or was cancelled first
            w.granted_ = w.competing_ = false;
            continue;
        }
        const std::uint32_t rest = queue_.empty() ? 0 : queued;
        word_.store(rest | (starved ? held : woken), memory_order_release); // r5
        w.agent().unpark(w);                                                // r6
        return;
    }
    owner_.store(nullptr, memory_order_relaxed);
    word_.store(0, memory_order_release); // r5: nobody is left
}

void Lock::reset_after_fork() noexcept {
    while (queue_.pop_front()) {}
    owner_.store(nullptr, memory_order_relaxed);
    word_.store(0, memory_order_relaxed);
}

} // namespace sennit::sync
