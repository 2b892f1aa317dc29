// A FIFO queue is an array without end, cut into segments that come and go, and two counts: head_ (puts) and tail_ (gets).
// Who moves a count on by one owns the place with that number, for good:
//
//   put                                                  get
//   p1  load head_: position p, flags         acquire    g1  load tail_: position p, flags         acquire
//   p2  p - tail_ < limit?                               g2  p < head_?  else empty, or shut down
//       (tail_ as seen before; if not: load   seq_cst)       (head_ as seen before; if not: load   seq_cst)
//   p3  load put_segment_; has it p's number? acquire    g3  load get_segment_; has it p's number? acquire
//   p4  CAS head_: p -> p + 1                 seq_cst    g4  CAS tail_: p -> p + 1                 seq_cst
//   p5  p is its segment's first: link the segment       g5  p is its segment's first: wait for p6's link
//       (made or reused before p4)            release                                              acquire
//   p6  and store put_segment_                release    g6  and store get_segment_, retire the former one   release
//   p7  write the item; cell: `written`       release    g7  wait for `written`, take the item     acquire
//   p8  p4 saw somebody_waits: wake a getter             g8  cell: `read`                          release
//                                                        g9  g4 saw somebody_waits: wake a putter
//
//   a getter that found nothing                          shutdown
//   w1  lock mutex_                                      s1  or `closed` into head_                seq_cst
//   w2  or somebody_waits into head_          seq_cst    s2  lock mutex_, claim all waiters, unlock, wake
//   w3  load tail_                            seq_cst
//   w4  head_ > tail_, or closed: unlock, again from g1
//   w5  arm, link, unlock, park
//
// A putter that found no room does w1..w5 with head_ and tail_ exchanged.
//
//  1. Strict FIFO: the order of the items is that of p4, the order in which they leave that of g4, and both count from 0.
//  2. At most `limit` items: tail_ only grows, so what p2 saw still holds when p4 succeeds, for p4 fails if head_ moved.
//  3. "Empty" is true at one instant, when g2 loads head_ == p: tail_ is at least p by then, and never above head_.
//     "Full" likewise when p2 loads tail_. Hence the queue is linearizable: p4, g4 and these loads are the instants.
//     (So a get that finds its place claimed, but not written yet, waits in g7: to say "empty" would be wrong.)
//  4. p3 finds p's segment: the load lies between p1 and p4, while head_ was p (a count never comes back, so p4 would fail
//     otherwise). All that time put_segment_ is p's segment, or the one before it while its installer is between p4 and p6;
//     the number in the low bits of the address tells which. The same for g3.
//  5. A segment is touched only by who owns a place in it, by its successor's installer (p5) and by the getter that moves on
//     to the successor (g5). p5 comes before g5, g5 before it is retired, and it is made anew, or freed, only once all of its
//     cells say `read`. So nobody reads memory that is gone, without hazard pointers or epochs.
//  6. No wake-up is lost. Say an item lies there, a getter is linked, and nobody moves. At w2 the queue was empty (w4), so all
//     items now there were put after w2: each putter's p4 saw the flag (p4 and w2 change one word, and the flag goes only
//     when the list is empty), then locked mutex_ (so w5 was over) and woke one waiter. Take the last instant the queue was
//     empty: since then m items were put, m waiters were woken, each after its item was written, and each of them took an item,
//     since none found the queue empty. So all m items are gone: a contradiction. A waiter that is woken and yet takes
//     nothing (its step threw) wakes the next one instead.
//  7. A waiter that timed out or was cancelled fails to be claimed, and the wake-up goes to the next (the rule of Waiter);
//     the item, or the room, was never its own.
//  8. join: its flag and task_done's count share the word done_, as w2 and p4 do head_.
//
// Queues that change under mutex_ (LIFO, priority, items whose move may throw) use the same counts, and link and wake in the
// same critical section that found no item, or changed the count.
//
// Before it sleeps, a thread looks again for a while (QueueWait::patient): a hand-over to a thread that looks costs 0.1 us, a
// wake-up from sleep 2 to 40 us. With more threads than cores giving the core away is what lets the others fill, or empty,
// the queue in one go. The pause between two looks grows, as each look takes the cache line from who works at the other end.
#include <sennit/sync/queue_core.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <utility>

namespace sennit::sync {
namespace {

// Waits for somebody's few instructions. Gives the core away when their thread seems to have lost its own, and sleeps when
// that does not help: they may have a lower priority.
class Backoff {
  public:
    void pause() noexcept {
        ++turns_;
        cpu_relax();
        if (turns_ > 1000) {
            os::FutexWord nobody{0};
            os::futex_wait(nobody, 0, Deadline(std::chrono::microseconds(50)));
        } else if (turns_ > 64) {
            os::yield_core();
        }
    }

  private:
    int turns_ = 0;
};

bool one_core() noexcept {
    static const bool it = os::process_cpus() == 1;
    return it;
}

} // namespace

constinit const wait::WaitSite QueueCore::put_site{"Queue", "put"};
constinit const wait::WaitSite QueueCore::get_site{"Queue", "get"};
constinit const wait::WaitSite QueueCore::join_site{"Queue", "join"};

bool QueueWait::patient() noexcept {
    constexpr std::uint32_t most_spins = spin_turns(16), most_yields = spin_turns(32);
    constexpr std::uint32_t first_pause = spin_turns(16), longest_pause = spin_turns(64); // turns of cpu_relax
    if (agent().kind() != wait::AgentKind::thread) return false; // other agents of its thread may be what it waits for
    if (looks_ == 0) {
        spins_left_ = one_core() ? 0 : most_spins;
        yields_left_ = most_yields;
    }
    if (spins_left_ > 0) {
        --spins_left_;
        for (std::uint32_t i = std::min(first_pause << std::min(looks_, 8U), longest_pause); i > 0; --i) cpu_relax();
    } else if (yields_left_ > 0) {
        --yields_left_;
        os::yield_core();
    } else {
        looks_ = 0;
        return false;
    }
    ++looks_;
    return true;
}

// ---- looks

std::size_t QueueCore::size() const noexcept {
    std::uint64_t t = tail_.load(memory_order_seq_cst), h = 0;
    for (int turns = 0; turns < 16; ++turns) {
        h = head_.load(memory_order_seq_cst);
        const std::uint64_t again = tail_.load(memory_order_seq_cst);
        if (again >> flag_bits == t >> flag_bits) break; // both counts stood so when head_ was read
        t = again;
    }
    return static_cast<std::size_t>(std::max<std::int64_t>(ahead(h >> flag_bits, t >> flag_bits), 0));
}

// Who comes to the other end again and again with little between them lets it get ahead: else each item costs both of them
// the cache line of the count.
void QueueCore::keep_distance(std::int64_t distance, std::int64_t few, atomic<std::uint32_t>& close_looks) noexcept {
    constexpr std::uint32_t patience = 1, pauses = spin_turns(64);
    if (distance <= 0 || distance >= few) {
        close_looks.store(0, memory_order_relaxed);
        return;
    }
    const std::uint32_t n = close_looks.load(memory_order_relaxed); // a hint
    if (n < patience)
        close_looks.store(n + 1, memory_order_relaxed);
    else
        for (std::uint32_t i = 0; i < pauses; ++i) cpu_relax();
}

bool QueueCore::look_for_room(std::uint64_t p) noexcept {
    std::uint64_t t = tail_.load(memory_order_seq_cst) >> flag_bits; // p2; meets g4
    // In a small queue there is never much room: to wait for more than a part of it would only cost time.
    // p may be old, and tail_ past it: then all of limit_ is free (and unlimited less a negative number is not a number).
    keep_distance(limit_ - std::max<std::int64_t>(ahead(p, t), 0), std::min(few_between, limit_ / 4), close_puts_);
    if (ahead(p, t) < limit_) t = tail_.load(memory_order_seq_cst) >> flag_bits;
    tail_seen_.store(t, memory_order_relaxed);
    return ahead(p, t) < limit_;
}

QueueResult QueueCore::look_for_item(std::uint64_t p) noexcept {
    std::uint64_t h = head_.load(memory_order_seq_cst); // g2; meets p4 and close()
    keep_distance(ahead(h >> flag_bits, p), few_between, close_gets_);
    if (ahead(h >> flag_bits, p) > 0) h = head_.load(memory_order_seq_cst);
    head_seen_.store(h >> flag_bits, memory_order_relaxed);
    if (ahead(h >> flag_bits, p) > 0) return QueueResult::done;
    return h & closed ? QueueResult::shut_down : QueueResult::blocked;
}

// ---- tickets

QueueResult QueueCore::claim_put_slow(Place& at, const QueueSegmentType& type) {
    const std::uint64_t first_of_segment = (std::uint64_t{1} << type.shift) - 1;
    QueueSegment* fresh = nullptr;
    QueueResult result = QueueResult::done;
    Backoff backoff;
    std::uint64_t seen = head_.load(memory_order_acquire); // p1
    for (;;) {
        const std::uint64_t p = seen >> flag_bits, number = p >> type.shift;
        const bool first = (p & first_of_segment) == 0;
        if (seen & closed) {
            result = QueueResult::shut_down;
            break;
        }
        if (!look_for_room(p)) {
            result = QueueResult::blocked;
            break;
        }
        const std::uintptr_t segment = put_segment_.load(memory_order_acquire); // p3; meets p6
        if (!has_number(segment, first ? number - 1 : number)) {                // its installer is about to store it
            backoff.pause();
            seen = head_.load(memory_order_acquire);
            continue;
        }
        if (first && !fresh) {
            fresh = reuse_segment(type);
            if (!fresh) fresh = type.make();                  // may throw: nothing has been claimed
            fresh->next.store(nullptr, memory_order_relaxed); // p5 publishes it
            continue;                                         // p4 fails if head_ has moved meanwhile
        }
        // p4, as in claim_put.
        if (!head_.compare_exchange_weak(seen, seen + one, memory_order_seq_cst, memory_order_acquire)) continue;
        QueueSegment* here = untag(segment);
        if (first) {
            QueueSegment* const made = std::exchange(fresh, nullptr);
            made->number = number;
            (here ? here->next : first_).store(made, memory_order_release); // p5; meets g5. The last touch of `here`
            put_segment_.store(tag(made, number), memory_order_release);    // p6; meets p3
            here = made;
        }
        at = {here, p, (seen & somebody_waits) != 0};
        break;
    }
    if (fresh) type.destroy(fresh); // another putter was quicker
    return result;
}

QueueResult QueueCore::claim_get_slow(Place& at, const QueueSegmentType& type) noexcept {
    const std::uint64_t first_of_segment = (std::uint64_t{1} << type.shift) - 1;
    Backoff backoff;
    std::uint64_t seen = tail_.load(memory_order_acquire); // g1
    for (;;) {
        const std::uint64_t p = seen >> flag_bits, number = p >> type.shift;
        const bool first = (p & first_of_segment) == 0;
        const QueueResult there = look_for_item(p);
        if (there != QueueResult::done) return there;
        const std::uintptr_t segment = get_segment_.load(memory_order_acquire); // g3; meets g6
        if (!has_number(segment, first ? number - 1 : number)) {
            backoff.pause();
            seen = tail_.load(memory_order_acquire);
            continue;
        }
        // g4, as in claim_get.
        if (!tail_.compare_exchange_weak(seen, seen + one, memory_order_seq_cst, memory_order_acquire)) continue;
        QueueSegment* here = untag(segment);
        if (first) {
            const atomic<QueueSegment*>& link = here ? here->next : first_;
            QueueSegment* next = nullptr;
            while (!(next = link.load(memory_order_acquire))) backoff.pause(); // g5; meets p5
            get_segment_.store(tag(next, number), memory_order_release);       // g6; meets g3
            if (here) retire(here, type);
            here = next;
        }
        at = {here, p, (seen & somebody_waits) != 0};
        return QueueResult::done;
    }
}

void QueueCore::contended(unsigned& failures) noexcept {
    constexpr unsigned first_pauses = spin_turns(64), doublings = 1;
    for (unsigned i = first_pauses << std::min(failures++, doublings); i > 0; --i) cpu_relax();
}

void QueueCore::await_written_slow(const atomic<std::uint32_t>& state, std::uint32_t written) noexcept {
    Backoff backoff;
    while (state.load(memory_order_acquire) != written) backoff.pause(); // g7; meets p7
}

QueueSegment* QueueCore::reuse_segment(const QueueSegmentType& type) noexcept {
    os::MutexGuard guard(retired_mutex_);
    QueueSegment* const s = retired_;
    if (!s || !type.drained(s)) return nullptr;
    retired_ = s->after;
    if (!retired_) retired_end_ = &retired_;
    --retired_count_;
    return s;
}

void QueueCore::retire(QueueSegment* s, const QueueSegmentType& type) noexcept {
    // As many as a limited queue needs from empty to full, but no more than a few.
    const std::int64_t keep = std::min<std::int64_t>((limit_ >> type.shift) + 2, 8);
    QueueSegment* excess = nullptr;
    {
        os::MutexGuard guard(retired_mutex_);
        s->after = nullptr;
        *retired_end_ = s;
        retired_end_ = &s->after;
        if (++retired_count_ > keep && type.drained(retired_)) {
            excess = std::exchange(retired_, retired_->after); // not the only one: keep > 0
            --retired_count_;
        }
    }
    if (excess) type.destroy(excess);
}

void QueueCore::free_segments(const QueueSegmentType& type) noexcept {
    // Nobody else is there any more: relaxed.
    QueueSegment* s = untag(get_segment_.load(memory_order_relaxed));
    if (!s) s = first_.load(memory_order_relaxed);
    while (s) type.destroy(std::exchange(s, s->next.load(memory_order_relaxed)));
    os::MutexGuard guard(retired_mutex_);
    while (retired_) type.destroy(std::exchange(retired_, retired_->after));
}

// ---- waiting

bool QueueCore::claim_oldest(base::IntrusiveList& list, wait::WakeList& wakes) noexcept {
    while (base::ListNode* n = list.pop_front()) {
        auto& w = static_cast<wait::Wait&>(*n);
        if (w.settle(wait::Outcome::woken)) {
            wakes.add(w);
            return true;
        }
    }
    return false;
}

void QueueCore::link(base::IntrusiveList& list, QueueWait& w) noexcept {
    w.arm();
    if (w.queued_before_)
        list.push_front(w);
    else
        list.push_back(w);
    w.queued_before_ = true;
}

void QueueCore::wake_getter() noexcept {
    wait::WakeList wakes;
    os::MutexGuard guard(mutex_);
    claim_oldest(getters_, wakes);
    if (getters_.empty()) head_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

void QueueCore::wake_putter() noexcept {
    wait::WakeList wakes;
    os::MutexGuard guard(mutex_);
    claim_oldest(putters_, wakes);
    if (putters_.empty()) tail_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

bool QueueCore::link_getter(QueueWait& w) noexcept {
    os::MutexGuard guard(mutex_);                                                 // w1
    const std::uint64_t h = head_.fetch_or(somebody_waits, memory_order_seq_cst); // w2; meets p4 and s1
    const std::uint64_t t = tail_.load(memory_order_seq_cst);                     // w3; meets g4
    if (ahead(h >> flag_bits, t >> flag_bits) > 0 || (h & closed)) {              // w4
        if (getters_.empty()) head_.fetch_and(~somebody_waits, memory_order_seq_cst);
        return false;
    }
    link(getters_, w); // w5
    return true;
}

bool QueueCore::link_putter(QueueWait& w) noexcept {
    os::MutexGuard guard(mutex_);                                                 // w1
    const std::uint64_t t = tail_.fetch_or(somebody_waits, memory_order_seq_cst); // w2; meets g4
    const std::uint64_t h = head_.load(memory_order_seq_cst);                     // w3; meets p4 and s1
    if (ahead(h >> flag_bits, t >> flag_bits) < limit_ || (h & closed)) {         // w4
        if (putters_.empty()) tail_.fetch_and(~somebody_waits, memory_order_seq_cst);
        return false;
    }
    link(putters_, w); // w5
    return true;
}

void QueueCore::leave_getters(QueueWait& w) noexcept {
    os::MutexGuard guard(mutex_);
    if (w.linked()) base::IntrusiveList::remove(w);
    if (getters_.empty()) head_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

void QueueCore::leave_putters(QueueWait& w) noexcept {
    os::MutexGuard guard(mutex_);
    if (w.linked()) base::IntrusiveList::remove(w);
    if (putters_.empty()) tail_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

void QueueCore::wake_everybody() noexcept {
    wait::WakeList wakes;
    os::MutexGuard guard(mutex_); // s2
    while (claim_oldest(getters_, wakes)) {}
    while (claim_oldest(putters_, wakes)) {}
    head_.fetch_and(~somebody_waits, memory_order_seq_cst);
    tail_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

// ---- under mutex_

QueueResult QueueCore::may_put() const noexcept {
    // relaxed: the lock orders them, but for `closed`, which may come at any moment.
    const std::uint64_t h = head_.load(memory_order_acquire); // meets close()
    if (h & closed) return QueueResult::shut_down;
    const std::uint64_t t = tail_.load(memory_order_relaxed);
    return ahead(h >> flag_bits, t >> flag_bits) < limit_ ? QueueResult::done : QueueResult::blocked;
}

void QueueCore::count_put(wait::WakeList& wakes) noexcept {
    head_.fetch_add(one, memory_order_seq_cst); // meets size() and all_done()
    claim_oldest(getters_, wakes);
}

void QueueCore::count_gets(std::uint64_t n, wait::WakeList& wakes) noexcept {
    tail_.fetch_add(n * one, memory_order_seq_cst); // meets size()
    while (n-- > 0 && claim_oldest(putters_, wakes)) {}
}

void QueueCore::claim_getter(wait::WakeList& wakes) noexcept { claim_oldest(getters_, wakes); }

// ---- task_done and join

void QueueCore::task_done() {
    std::uint64_t seen = done_.load(memory_order_relaxed);
    do {
        const std::uint64_t n = seen >> flag_bits;
        // relaxed: an old value is too small, which errs on the safe side.
        if (ahead(head_seen_by_done_.load(memory_order_relaxed), n) <= 0) {
            const std::uint64_t h = head_.load(memory_order_seq_cst) >> flag_bits; // meets p4
            head_seen_by_done_.store(h, memory_order_relaxed);
            if (ahead(h, n) <= 0)
                throw UsageError("Queue.task_done: called more often than items were put; call it once for each item "
                                 "that get() gave");
        }
        // seq_cst: release hands on what was done for the item, meets the acquire in all_done(); the rest meets link_joiner.
    } while (!done_.compare_exchange_weak(seen, seen + one, memory_order_seq_cst, memory_order_relaxed));
    if ((seen & somebody_waits) && all_done()) wake_joiners();
}

void QueueCore::drop_unfinished(std::uint64_t n) noexcept {
    if (n == 0) return;
    std::uint64_t seen = done_.load(memory_order_relaxed), less = 0;
    do {
        const std::uint64_t h = head_.load(memory_order_seq_cst) >> flag_bits;
        less = std::min(n, h - (seen >> flag_bits));
    } while (!done_.compare_exchange_weak(seen, seen + less * one, memory_order_seq_cst, memory_order_relaxed));
    if ((seen & somebody_waits) && all_done()) wake_joiners();
}

bool QueueCore::all_done() const noexcept {
    // done_ first: it is never above head_, so if head_ shows no more, both were equal when head_ was read.
    const std::uint64_t d = done_.load(memory_order_seq_cst) >> flag_bits; // meets task_done
    return head_.load(memory_order_seq_cst) >> flag_bits == d;             // meets p4
}

bool QueueCore::link_joiner(QueueWait& w) noexcept {
    os::MutexGuard guard(mutex_);
    const std::uint64_t d = done_.fetch_or(somebody_waits, memory_order_seq_cst) >> flag_bits; // meets task_done
    if (head_.load(memory_order_seq_cst) >> flag_bits == d) {
        if (joiners_.empty()) done_.fetch_and(~somebody_waits, memory_order_seq_cst);
        return false;
    }
    link(joiners_, w);
    return true;
}

void QueueCore::leave_joiners(QueueWait& w) noexcept {
    os::MutexGuard guard(mutex_);
    if (w.linked()) base::IntrusiveList::remove(w);
    if (joiners_.empty()) done_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

void QueueCore::wake_joiners() noexcept {
    wait::WakeList wakes;
    os::MutexGuard guard(mutex_);
    if (!all_done()) return; // something was put meanwhile, and who joined since waits for that, too
    while (claim_oldest(joiners_, wakes)) {}
    done_.fetch_and(~somebody_waits, memory_order_seq_cst);
}

void QueueCore::reset_after_fork() noexcept {
    mutex_.reset_after_fork();
    retired_mutex_.reset_after_fork();
    for (base::IntrusiveList* list : {&getters_, &putters_, &joiners_})
        while (list->pop_front()) {}
    head_.fetch_and(~somebody_waits, memory_order_relaxed);
    tail_.fetch_and(~somebody_waits, memory_order_relaxed);
    done_.fetch_and(~somebody_waits, memory_order_relaxed);
}

} // namespace sennit::sync
