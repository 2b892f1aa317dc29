// What an event loop is to run next: nodes that live in who wants to be run.
#pragma once

#include <sennit/base/atomic.hpp>

namespace sennit::loop {

/// Something to run on an event loop's thread, once per time that it is posted. Lives in its owner, so posting allocates nothing.
///
/// Lifetime  Stays where it is from post() until run() is called, which is the loop's last touch. Posted again only after that.
struct Ready {
    void (*run)(Ready&) noexcept = nullptr;
    plain<Ready*> next = nullptr;
};

/// First in, first out. The loop's thread alone.
class ReadyList {
  public:
    [[nodiscard]] bool empty() const noexcept { return !first_; }
    void push_back(Ready& r) noexcept {
        r.next = nullptr;
        *(first_ ? &last_->next : &first_) = &r;
        last_ = &r;
    }
    [[nodiscard]] Ready* front() const noexcept { return first_; }
    Ready* pop_front() noexcept {
        Ready* const r = first_;
        if (r) first_ = r->next;
        return r;
    }
    void splice_back(ReadyList& other) noexcept {
        if (other.empty()) return;
        *(first_ ? &last_->next : &first_) = static_cast<Ready*>(other.first_);
        last_ = other.last_;
        other.first_ = nullptr;
    }

  private:
    plain<Ready*> first_ = nullptr;
    plain<Ready*> last_ = nullptr; // of a list that is not empty
};

/// Where any thread leaves nodes for one loop, and the word by which the loop goes to sleep.
///
///   nothing    the loop runs, or is about to look
///   sleeping   the loop sleeps, or is about to: who puts the first node in owes it one wake
///   a node     the newest of a list, which is in reverse order
///
/// 1. No node is missed: the loop sleeps only after its compare-exchange nothing -> sleeping; a node put in before makes that
///    fail, one put in after sees `sleeping` and wakes. Both change one word, so one of the two comes first.
/// 2. One wake a sleep: only the put that takes `sleeping` away owes one.
/// 3. First in, first out for each thread: the list is turned round as a whole.
///
/// Source    R. K. Treiber, "Systems Programming: Coping with Parallelism" (1986). All nodes are taken at once: no ABA.
class Inbox {
  public:
    /// From any thread, and from a signal handler. True: the loop slept, and the caller owes it a wake.
    [[nodiscard]] bool put(Ready& r) noexcept {
        Ready* seen = word_.load(memory_order_relaxed);
        do {
            r.next = seen == sleeping() ? nullptr : seen;
            // release: meets take(): who runs the node sees what was done before it was put in.
        } while (!word_.compare_exchange_weak(seen, &r, memory_order_release, memory_order_relaxed));
        return seen == sleeping();
    }
    /// relaxed: a look; take() follows.
    [[nodiscard]] bool empty() const noexcept {
        const Ready* seen = word_.load(memory_order_relaxed);
        return !seen || seen == sleeping();
    }
    /// By the loop, while it does not sleep: everything, oldest first, to the end of `list`.
    void take(ReadyList& list) noexcept {
        if (empty()) return;
        // acquire: meets put().
        Ready* r = word_.exchange(nullptr, memory_order_acquire);
        Ready* turned = nullptr;
        while (r) {
            Ready* const older = r->next;
            r->next = turned;
            turned = r;
            r = older;
        }
        while (turned) {
            Ready* const newer = turned->next;
            list.push_back(*turned);
            turned = newer;
        }
    }
    /// By the loop: false when there is something to take; else from now on the first who puts something in wakes.
    [[nodiscard]] bool begin_sleep() noexcept {
        Ready* nothing = nullptr;
        // relaxed: nothing is handed over; see 1.
        return word_.compare_exchange_strong(nothing, sleeping(), memory_order_relaxed, memory_order_relaxed);
    }
    /// By the loop, however its sleep ended. True: somebody has put something in and owes, or has done, the wake.
    [[nodiscard]] bool end_sleep() noexcept {
        Ready* still = sleeping();
        return !word_.compare_exchange_strong(still, nullptr, memory_order_relaxed, memory_order_relaxed);
    }

  private:
    static Ready* sleeping() noexcept { return &sleeper; }
    static inline constinit Ready sleeper{};
    atomic<Ready*> word_{nullptr};
};

} // namespace sennit::loop
