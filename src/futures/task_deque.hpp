// What a worker's own tasks have submitted, open to thieves. Part of ThreadPoolExecutor.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/sync/executor.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::futures {

/// A work-stealing deque: its owner puts tasks in and takes them out at the bottom, everybody takes the oldest at the top.
///
///     push   p1  load top          acquire      pop   o1  store bottom = b - 1   seq_cst     steal  t1  load top      seq_cst
///            p2  store slot[b]     relaxed            o2  load top               seq_cst            t2  load bottom   seq_cst
///            p3  store bottom + 1  seq_cst            o3  more than one: slot[b - 1] is ours        t3  load ring, slot
///                                                     o4  the last: CAS top + 1  seq_cst            t4  CAS top + 1   seq_cst
///                                                     o5  store bottom = b       release
///
/// 1. A task is taken once. Thieves exclude each other by t4. The owner takes slot k without a CAS only if o2 saw top < k; a thief
///    takes it only if t1 saw top = k and t2 saw bottom > k, so not o1. All four are in the one order of seq_cst operations:
///    t2 saw a bottom before o1's, so t1 < t2 < o1 < o2 in it, and o2 sees top = k at least: it goes to o4, which excludes t4.
/// 2. Who takes a task sees what its submitter wrote: t2 reads p3, or a later store of the owner, each of them a release.
///    A bottom that o5 restored equals top: with it nothing is taken.
/// 3. A slot is written again only when its task is taken: p1 reads top from the t4 (or o4) that took it, after t3 read the slot.
///    A thief that was slower reads what it likes and fails at t4, for top has moved.
/// 4. A ring that was outgrown stays until the deque's end, unchanged: a thief may still read it, and finds in slot k what was there.
///    All rings before the last together are smaller than the last.
/// 5. p3 is seq_cst for what follows a push: the look whether somebody is to be called (thread_pool_executor.cpp, 1).
///
/// Seq_cst operations stand where the paper has fences: on x86 and Armv8 they cost the same or less (a fence orders more), and
/// ThreadSanitizer understands them.
///
/// Agents    push(), pop(), pop_if_newest(): the owner; or one after the other, ordered by a lock. The rest: everybody.
/// Source    Chase and Lev, SPAA 2005; Lê, Pop, Cohen and Zappa Nardelli, "Correct and efficient work-stealing for weak memory
///           models", PPoPP 2013.
class TaskDeque {
  public:
    /// `capacity`: a power of two, to begin with.
    explicit TaskDeque(std::size_t capacity = 64) : ring_(make_ring(capacity, nullptr)) {}
    ~TaskDeque();
    TaskDeque(const TaskDeque&) = delete;
    TaskDeque& operator=(const TaskDeque&) = delete;

    /// Throws std::bad_alloc when it is full and can't grow; then nothing has changed.
    void push(sync::Task& task) {
        const std::int64_t b = bottom_.load(memory_order_relaxed); // the owner's own
        Ring* ring = ring_.load(memory_order_relaxed);             // likewise
        if (b - top_seen_ >= ring->capacity) {
            top_seen_ = top_.load(memory_order_acquire); // p1; meets t4
            if (b - top_seen_ >= ring->capacity) ring = grow(*ring, b);
        }
        ring->slot(b).store(&task, memory_order_relaxed); // p2; told by p3
        bottom_.store(b + 1, memory_order_seq_cst);       // p3; meets t2
    }

    /// The newest; nullptr: empty.
    sync::Task* pop() noexcept {
        const std::int64_t b = bottom_.load(memory_order_relaxed) - 1; // the owner's own
        const Ring* ring = ring_.load(memory_order_relaxed);           // likewise
        bottom_.store(b, memory_order_seq_cst);                        // o1; meets t2
        std::int64_t t = top_.load(memory_order_seq_cst);              // o2; meets t4
        if (t < b) return ring->slot(b).load(memory_order_relaxed);    // the owner wrote it
        sync::Task* last = nullptr;
        if (t == b) {
            last = ring->slot(b).load(memory_order_relaxed);
            // o4; meets t4.
            if (!top_.compare_exchange_strong(t, t + 1, memory_order_seq_cst, memory_order_relaxed)) last = nullptr;
        }
        bottom_.store(b + 1, memory_order_release); // o5
        return last;
    }
    /// Takes `task` back if it was pushed last and nobody has taken it.
    bool pop_if_newest(const sync::Task& task) noexcept {
        const std::int64_t b = bottom_.load(memory_order_relaxed); // the owner's own
        if (b == 0 || ring_.load(memory_order_relaxed)->slot(b - 1).load(memory_order_relaxed) != &task) return false;
        return pop() != nullptr;
    }

    /// The oldest; nullptr: there was a moment without any.
    sync::Task* steal() noexcept {
        std::int64_t t = top_.load(memory_order_seq_cst); // t1; meets o4, t4
        for (;;) {
            if (t >= bottom_.load(memory_order_seq_cst)) return nullptr; // t2; meets p3, o1
            const Ring* ring = ring_.load(memory_order_acquire);         // t3; meets grow()
            sync::Task* task =
                ring->slot(t).load(memory_order_relaxed); // ordered by t2; a stale one is thrown away by t4
            if (top_.compare_exchange_strong(t, t + 1, memory_order_seq_cst, memory_order_seq_cst)) return task; // t4
        }
    }

    [[nodiscard]] bool empty() const noexcept {
        // seq_cst: who calls has just left those who search (thread_pool_executor.cpp, 1); meets p3.
        const std::int64_t t = top_.load(memory_order_seq_cst);
        return t >= bottom_.load(memory_order_seq_cst);
    }
    [[nodiscard]] std::size_t size_hint() const noexcept {
        const std::int64_t t = top_.load(memory_order_relaxed), b = bottom_.load(memory_order_relaxed);
        return b > t ? static_cast<std::size_t>(b - t) : 0;
    }

  private:
    struct Ring {
        std::int64_t capacity; // a power of two
        Ring* older;           // outgrown
        atomic<sync::Task*>* slots;
        [[nodiscard]] atomic<sync::Task*>& slot(std::int64_t i) const noexcept { return slots[i & (capacity - 1)]; }
    };
    static Ring* make_ring(std::size_t capacity, Ring* older);
    Ring* grow(Ring& full, std::int64_t bottom);

    alignas(64) atomic<std::int64_t> top_{0}; // thieves'
    alignas(64) atomic<std::int64_t> bottom_{0};
    atomic<Ring*> ring_;
    std::int64_t top_seen_ = 0; // by the owner: top_ is this or more
};

} // namespace sennit::futures
