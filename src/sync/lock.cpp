// acquire (a waiter)                              release (the holder)
//   a1  CAS 0 -> held                acquire        r1  subtract `held`                   release
//   a2  while available: CAS: held   acquire        r2  no wake is owed: done
//   a3  a thread: look again a few times            r3  else CAS: set `busy`              acquire
//   a4  CAS: set `busy`              acquire        r4  take the oldest that can still be woken;
//   a5  arm, link                                       starved: grant it: `held`; else: set `woken`
//   a6  CAS: set `queued`, clear `busy` and         r5  make the word so, without `busy`  release
//       `woken`; but when available:                r6  unpark the one taken out
//       unlink, take it              release
//   a7  park
//   a8  granted: done; else from a2, where its
//       CAS clears `woken`
//
// 1. The last touch. What r1 gives says whether a wake is owed (`queued` without `woken`). If not, r1 was the last touch of
//    the lock. If so, nobody can take the lock, and destroy it, before r5: it is not available, and only the releaser takes a
//    word out of that state (a waiter that leaves keeps `queued`, see leave()). r5 is then the last touch: r6 touches only the
//    waiter, which can't go before.
// 2. No wake-up is lost. A waiter links (a6) only while the lock is not available, seen in the same CAS, and leaves a word that
//    owes a wake: either somebody holds the lock, and its r1 will find that; or a releaser waits for `busy` and will find it.
//    r1 does without a wake only if `woken` is set: then one who was woken, with none linked since, is on its way. It
//    will take the lock, and release it, or link again, under the same rule. Some may be on their way without `woken`, since
//    others linked: that costs a wake more, never one less. So who links is always followed by a wake: threads that sleep
//    while one that was woken waits for a core would leave the other cores idle.
// 3. Nobody starves. A woken waiter that finds the lock taken queues at the front; after a millisecond it is granted.
// 4. A waiter that timed out or was cancelled is passed over in r4 (its settle fails) or unlinks itself (leave).
// 5. A release() of a free lock makes `held` minus one for a moment, which borrows from no other bit. Till it is added back
//    the lock is not available and waiters may queue; so who adds it back looks whether a wake is owed, like any releaser. A
//    grant waits till it is added back.
#include <sennit/sync/lock.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/thread.hpp>

namespace sennit::sync {
namespace {

constexpr std::int64_t starved_ns = 1'000'000;

// A thread looks again so many PAUSEs later, twice as many each time, before it parks: 8 us in all on Zen 3, rather less than
// to sleep and be woken takes. Figures in docs/decisions/0005-what-a-contended-lock-does.md.
#if defined(SENNIT_MODEL)
constexpr int looks_before_parking = 1, first_pauses = 1, most_pauses = 1; // each PAUSE is a choice of the scheduler
#else
constexpr int looks_before_parking = 8, first_pauses = 4, most_pauses = 64;
#endif
// Looked up once, before main: what a thread is pinned to later says nothing about the others.
const bool several_cores = os::usable_cpus() > 1;

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

class LooksAgain {
  public:
    explicit LooksAgain(const wait::Agent& agent) noexcept
        : looks_(several_cores && agent.may_spin() ? looks_before_parking : 0) {}
    // A pause before another look; false when it is time to park.
    bool pause() noexcept {
        if (looks_ == 0) return false;
        --looks_;
        for (int i = 0; i < pauses_; ++i) cpu_relax();
        if (pauses_ < most_pauses) pauses_ *= 2;
        return true;
    }

  private:
    int looks_;
    int pauses_ = first_pauses;
};

} // namespace

constinit const wait::WaitSite Lock::acquire_site{"Lock", "acquire", &Lock::holder};

std::uint64_t Lock::holder(const void* lock) noexcept {
    const auto& it = *static_cast<const Lock*>(lock);
    // acquire: meets the release of the former holder, who cleared owner_ before.
    if (it.word_.load(memory_order_acquire) < held) return nobody;
    return it.owner_.load(memory_order_relaxed);
}

bool Lock::try_slow() noexcept {
    std::uint32_t seen = word_.load(memory_order_relaxed);
    while (available(seen)) {
        // acquire: meets the release of who had it before. The other bits stay.
        if (word_.compare_exchange_weak(seen, seen | held, memory_order_acquire, memory_order_relaxed)) {
            owner_.store(wait::current_agent().id(), memory_order_relaxed);
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
    LooksAgain looks(w.agent());
    std::uint32_t seen = word_.load(memory_order_relaxed);
    for (;;) {
        if (available(seen)) { // a2; acquire: meets release
            if (word_.compare_exchange_weak(seen, (seen | held) & ~mine, memory_order_acquire, memory_order_relaxed))
                break;
        } else if ((mine || !(seen & queued)) && looks.pause()) { // a3; not past those who have queued
            seen = word_.load(memory_order_relaxed);
        } else if (!(seen & busy)) { // a4; acquire: meets the release of who changed the queue before
            if (!word_.compare_exchange_weak(seen, seen | busy, memory_order_acquire, memory_order_relaxed)) continue;
            w.competing_ = false;
            w.arm(); // a5
            if (mine)
                queue_.push_front(w);
            else
                queue_.push_back(w);
            seen |= busy;
            FAULT_POINT("lock.listed");
            for (;;) { // a6
                if (available(seen)) {
                    base::IntrusiveList::remove(w);
                    const std::uint32_t rest = queue_.empty() ? 0 : queued;
                    const std::uint32_t others = seen & woken & ~mine;
                    // acq_rel: acquire meets release of the lock; release: the queue for the next who sets `busy`.
                    if (word_.compare_exchange_weak(seen, held | rest | others, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
                        owner_.store(w.agent().id(), memory_order_relaxed);
                        w.competing_ = false;
                        return true;
                    }
                    if (mine)
                        queue_.push_front(w);
                    else
                        queue_.push_back(w);
                } else if (word_.compare_exchange_weak(seen, (seen | queued) & ~(busy | woken), memory_order_release,
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
    FAULT_POINT("lock.cas_won");
    owner_.store(w.agent().id(), memory_order_relaxed);
    FAULT_POINT("lock.owner_stored");
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
    FAULT_POINT("lock.leaves_queue");
    if (w.linked()) base::IntrusiveList::remove(w);
    seen |= busy;
    for (bool done = false; !done;) {
        // Without `queued` the lock would be available, behind the back of the releaser who owes a wake: it clears the bit.
        const bool keep = !queue_.empty() || (seen < held && owes_wake(seen));
        // release: meets the next who sets `busy`. The other bits can change meanwhile.
        done = word_.compare_exchange_weak(seen, seen & ~(keep ? busy : busy | queued), memory_order_release,
                                           memory_order_relaxed);
    }
}

void Lock::release_slow(std::uint32_t before) {
    if (!finish_release(before))
        throw UsageError("Lock.release: the lock is not held; release() once for each acquire() that gave true");
}

bool Lock::finish_release(std::uint32_t before) noexcept {
    const bool was_held = static_cast<std::int32_t>(before) >= static_cast<std::int32_t>(held);
    std::uint32_t now = before - held;
    // acq_rel: as a release, and what waiters queued meanwhile.
    if (!was_held) now = word_.fetch_add(held, memory_order_acq_rel) + held;
    if (now >= held || !owes_wake(now)) return was_held; // r2
    Backoff backoff;
    for (;;) { // r3; acquire: meets the release of who changed the queue before
        if (now < held && !(now & busy)) {
            if (word_.compare_exchange_weak(now, now | busy, memory_order_acquire, memory_order_relaxed)) break;
        } else {
            backoff.pause();
            now = word_.load(memory_order_relaxed);
        }
        if (!owes_wake(now)) return was_held; // by 5: another releaser, of a lock that was not held, was quicker
    }
    wake_next();
    return was_held;
}

// With `busy` set and a wake owed: no other bit of the word is set, and nobody changes these two.
void Lock::wake_next() noexcept {
    const std::int64_t now = base::monotonic_ns();
    while (base::ListNode* n = queue_.pop_front()) { // r4
        auto& w = static_cast<LockWait&>(static_cast<wait::Wait&>(static_cast<wait::Waiter&>(*n)));
        const bool starved = now - w.since_ns() > starved_ns;
        w.granted_ = starved;
        w.competing_ = !starved;
        if (!w.settle(wait::Outcome::woken)) { // it timed out or was cancelled first
            w.granted_ = w.competing_ = false;
            continue;
        }
        // After the settle: an owner that still waits for the lock would look like a deadlock with itself (Agent::snapshot).
        if (starved) owner_.store(w.agent().id(), memory_order_relaxed);
        const std::uint32_t rest = queue_.empty() ? 0 : queued;
        if (starved) {
            // r5; not while `held` is minus one, by 5: the two would cancel out, and who has the lock be refused its release.
            Backoff backoff;
            for (std::uint32_t seen = queued | busy;
                 !word_.compare_exchange_weak(seen, rest | held, memory_order_release, memory_order_relaxed);
                 seen = queued | busy)
                backoff.pause();
        } else {
            // r5; an addition, not a store: `held` may be minus one for a moment, by 5.
            word_.fetch_add(rest + woken - (queued | busy), memory_order_release);
        }
        FAULT_POINT("lock.unlocked_before_wake");
        w.agent().unpark(w); // r6
        return;
    }
    owner_.store(nobody, memory_order_relaxed);
    word_.fetch_sub(queued | busy, memory_order_release); // r5: nobody is left
}

void Lock::reset_after_fork() noexcept {
    while (queue_.pop_front()) {}
    owner_.store(nobody, memory_order_relaxed);
    word_.store(0, memory_order_relaxed);
}

} // namespace sennit::sync
