// The half of every queue that knows no type: counts, tickets, waiters, task_done and join, shutdown. The algorithm stands
// at the head of queue_core.cpp.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/base/thread_safety.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>

namespace sennit::sync {

/// How an attempt to put or get went. It never waits.
enum class QueueResult : std::uint8_t {
    done,
    blocked,   // no room, or no item
    shut_down, // and for a get: drained
};

/// A wait for a queue: of put, get or join.
class QueueWait : public wait::Wait {
  protected:
    using Wait::Wait;
    QueueWait(QueueWait&&) noexcept = default; // unbegun
    ~QueueWait() = default;

    // Lets a little time pass, if it is worth looking again before this agent sleeps. False: enough.
    bool patient() noexcept;
    // True once the deadline or a cancellation has ended the wait.
    bool ended_early() noexcept {
        const wait::Outcome how = outcome();
        cancelled_ = how == wait::Outcome::cancelled;
        return cancelled_ || how == wait::Outcome::timed_out;
    }

    bool cancelled_ = false;
    std::exception_ptr error_; // what a step threw, for the face

  private:
    friend class QueueCore;
    bool queued_before_ = false; // woken, but overtaken: next time at the front
    std::uint32_t looks_ = 0, spins_left_ = 0, yields_left_ = 0;
};

/// A stretch of the infinite array in which a FIFO queue keeps its items. The typed half adds the cells.
struct alignas(64) QueueSegment {
    atomic<QueueSegment*> next{nullptr};
    std::uint64_t number = 0;
    QueueSegment* after = nullptr; // in the list of retired segments
};

/// What the untyped half must be able to do with segments.
struct QueueSegmentType {
    QueueSegment* (*make)(); // throws bad_alloc
    void (*destroy)(QueueSegment*) noexcept;
    bool (*drained)(const QueueSegment*) noexcept; // every cell has been read for good: nobody will touch it again
    unsigned shift;                                // 2^shift cells in each
};

/// Agents    Every member, at the same time; not construction, destruction and free_segments.
class QueueCore {
  public:
    QueueCore(const QueueCore&) = delete;
    QueueCore& operator=(const QueueCore&) = delete;

    // ---- looks
    /// Exact while nobody puts or gets.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] bool full() const noexcept {
        return limit_ != unlimited && static_cast<std::int64_t>(size()) >= limit_;
    }
    [[nodiscard]] std::int64_t maxsize() const noexcept { return limit_ == unlimited ? 0 : limit_; }

    // ---- task_done and join
    /// Throws UsageError when nothing is unfinished.
    void task_done();
    /// Items that were put and not yet told to be done.
    [[nodiscard]] bool all_done() const noexcept;
    /// False when all is done: don't wait.
    bool link_joiner(QueueWait& w) noexcept;
    void leave_joiners(QueueWait& w) noexcept;

    // ---- waiting
    void wake_getter() noexcept;
    void wake_putter() noexcept;
    /// Takes out an agent whose wait was ended by its deadline or a cancellation.
    void leave_getters(QueueWait& w) noexcept;
    void leave_putters(QueueWait& w) noexcept;

    /// In the child of a fork(): forgets the parent's waiters. What another thread was just putting or getting is stuck.
    void reset_after_fork() noexcept;

    static const wait::WaitSite put_site, get_site, join_site;

  protected:
    /// maxsize <= 0: no limit.
    explicit QueueCore(std::int64_t maxsize) noexcept : limit_(maxsize > 0 ? maxsize : unlimited) {}
    ~QueueCore() = default;

    // ---- shutdown
    /// From now on no put succeeds. wake_everybody() is still owed.
    void close() noexcept { head_.fetch_or(closed, memory_order_seq_cst); } // meets every claim of a put
    void wake_everybody() noexcept;
    /// n items were dropped: they count as finished, as far as there are unfinished ones.
    void drop_unfinished(std::uint64_t n) noexcept;

    // ---- tickets of a FIFO queue: a place in the infinite array, claimed for good
    struct Place {
        QueueSegment* segment;
        std::uint64_t position;
        bool somebody_waits; // at the other end: wake one, once the place is written, or free
    };
    template <unsigned shift>
    QueueResult claim_put(Place& at, const QueueSegmentType& type) {
        constexpr std::uint64_t first_of_segment = (std::uint64_t{1} << shift) - 1;
        unsigned failures = 0;
        std::uint64_t seen = head_.load(memory_order_acquire); // p1; meets p4
        for (;;) {
            const std::uint64_t p = seen >> flag_bits;
            const std::uintptr_t segment = put_segment_.load(memory_order_acquire); // p3; meets p6
            // p2 relaxed: an old value is too small, which errs on the safe side.
            if ((seen & closed) || ahead(p, tail_seen_.load(memory_order_relaxed)) >= limit_ ||
                (p & first_of_segment) == 0 || !has_number(segment, p >> shift)) [[unlikely]]
                return claim_put_slow(at, type);
            // p4 seq_cst: meets look_for_item and link_getter; acquire on failure: as p1.
            if (head_.compare_exchange_weak(seen, seen + one, memory_order_seq_cst, memory_order_acquire)) [[likely]] {
                at = {untag(segment), p, (seen & somebody_waits) != 0};
                return QueueResult::done;
            }
            contended(failures);
            seen = head_.load(memory_order_acquire);
        }
    }
    template <unsigned shift>
    QueueResult claim_get(Place& at, const QueueSegmentType& type) noexcept {
        constexpr std::uint64_t first_of_segment = (std::uint64_t{1} << shift) - 1;
        unsigned failures = 0;
        std::uint64_t seen = tail_.load(memory_order_acquire); // g1; meets g4
        for (;;) {
            const std::uint64_t p = seen >> flag_bits;
            const std::uintptr_t segment = get_segment_.load(memory_order_acquire); // g3; meets g6
            // g2 relaxed: an old value is too small, which errs on the safe side.
            if (ahead(head_seen_.load(memory_order_relaxed), p) <= 0 || (p & first_of_segment) == 0 ||
                !has_number(segment, p >> shift)) [[unlikely]]
                return claim_get_slow(at, type);
            // g4 seq_cst: meets look_for_room and link_putter; acquire on failure: as g1.
            if (tail_.compare_exchange_weak(seen, seen + one, memory_order_seq_cst, memory_order_acquire)) [[likely]] {
                at = {untag(segment), p, (seen & somebody_waits) != 0};
                return QueueResult::done;
            }
            contended(failures);
            seen = tail_.load(memory_order_acquire);
        }
    }
    /// Waits till the cell whose item was claimed has been written. That is a few instructions of an agent that runs, unless
    /// its thread has just lost its core.
    static void await_written(const atomic<std::uint32_t>& state, std::uint32_t written) noexcept {
        if (state.load(memory_order_acquire) != written) [[unlikely]] // g7; meets p7
            await_written_slow(state, written);
    }
    /// Links an agent that was blocked. False when it need not be any more: try again.
    bool link_getter(QueueWait& w) noexcept;
    bool link_putter(QueueWait& w) noexcept;
    void free_segments(const QueueSegmentType& type) noexcept;

    // ---- for a queue that changes under mutex_
    [[nodiscard]] QueueResult may_put() const noexcept SENNIT_REQUIRES(mutex_);
    [[nodiscard]] bool is_closed() const noexcept { return head_.load(memory_order_acquire) & closed; } // meets close()
    void count_put(wait::WakeList& wakes) noexcept SENNIT_REQUIRES(mutex_);
    void count_gets(std::uint64_t n, wait::WakeList& wakes) noexcept SENNIT_REQUIRES(mutex_);
    void claim_getter(wait::WakeList& wakes) noexcept SENNIT_REQUIRES(mutex_);
    void link_getter_locked(QueueWait& w) noexcept SENNIT_REQUIRES(mutex_) { link(getters_, w); }
    void link_putter_locked(QueueWait& w) noexcept SENNIT_REQUIRES(mutex_) { link(putters_, w); }

    os::Mutex mutex_; // guards the lists of waiters; no user's code runs under it, but for a PriorityQueue's comparison

  private:
    // Words that hold a position (a count of puts, gets, or done ones): position << flag_bits | flags
    //
    // flag            of     meaning                       harmless error
    // somebody_waits  head_  getters_ has waiters          may be set with an empty list; never clear with a linked waiter
    //                 tail_  putters_ has waiters              while mutex_ is free. In a queue that changes under mutex_
    //                 done_  joiners_ has waiters              those of head_ and tail_ are not used
    // closed          head_  the queue is shut down        none
    static constexpr unsigned flag_bits = 2;
    static constexpr std::uint64_t somebody_waits = 1, closed = 2, one = std::uint64_t{1} << flag_bits;
    static constexpr std::int64_t unlimited = INT64_MAX;

    // A segment's address with the low bits of its number. -1 is the number of none, before the first.
    static constexpr std::uintptr_t number_bits = alignof(QueueSegment) - 1;
    static QueueSegment* untag(std::uintptr_t s) noexcept {
        return reinterpret_cast<QueueSegment*>(s & ~number_bits); // NOLINT(performance-no-int-to-ptr)
    }
    static std::uintptr_t tag(QueueSegment* s, std::uint64_t number) noexcept {
        return reinterpret_cast<std::uintptr_t>(s) | (number & number_bits);
    }
    static bool has_number(std::uintptr_t s, std::uint64_t number) noexcept {
        return ((s ^ number) & number_bits) == 0;
    }
    // How far position p lies before q. Signed: what was read a while ago may lie behind.
    static std::int64_t ahead(std::uint64_t p, std::uint64_t q) noexcept { return static_cast<std::int64_t>(p - q); }

    static constexpr std::int64_t few_between = 64;
    static void keep_distance(std::int64_t distance, std::int64_t few, atomic<std::uint32_t>& close_looks) noexcept;
    bool look_for_room(std::uint64_t p) noexcept;
    QueueResult look_for_item(std::uint64_t p) noexcept;
    QueueResult claim_put_slow(Place& at, const QueueSegmentType& type);
    QueueResult claim_get_slow(Place& at, const QueueSegmentType& type) noexcept;
    static void contended(unsigned& failures) noexcept;
    static void await_written_slow(const atomic<std::uint32_t>& state, std::uint32_t written) noexcept;
    QueueSegment* reuse_segment(const QueueSegmentType& type) noexcept;
    void retire(QueueSegment* s, const QueueSegmentType& type) noexcept;
    static bool claim_oldest(base::IntrusiveList& list, wait::WakeList& wakes) noexcept;
    static void link(base::IntrusiveList& list, QueueWait& w) noexcept;
    void wake_joiners() noexcept;

    // The putters' cache line.
    alignas(64) atomic<std::uint64_t> head_{0};       // how many were put; the next position to put at
    atomic<std::uint64_t> tail_seen_{0};              // tail_'s position some time ago
    atomic<std::uintptr_t> put_segment_{number_bits}; // where the position before head_ lies
    const std::int64_t limit_;
    atomic<std::uint32_t> close_puts_{0};
    // The getters' cache line.
    alignas(64) atomic<std::uint64_t> tail_{0};       // how many were taken; the next position to get from
    atomic<std::uint64_t> head_seen_{0};              // head_'s position some time ago
    atomic<std::uintptr_t> get_segment_{number_bits}; // where the position before tail_ lies
    atomic<std::uint32_t> close_gets_{0};
    // The cache line of who calls task_done.
    alignas(64) atomic<std::uint64_t> done_{0};
    atomic<std::uint64_t> head_seen_by_done_{0};
    // What is used once in a while.
    atomic<QueueSegment*> first_{nullptr}; // the first segment ever
    base::IntrusiveList getters_ SENNIT_GUARDED_BY(mutex_);
    base::IntrusiveList putters_ SENNIT_GUARDED_BY(mutex_);
    base::IntrusiveList joiners_ SENNIT_GUARDED_BY(mutex_);
    os::Mutex retired_mutex_;
    QueueSegment* retired_ SENNIT_GUARDED_BY(retired_mutex_) = nullptr; // oldest first
    QueueSegment** retired_end_ SENNIT_GUARDED_BY(retired_mutex_) = &retired_;
    std::int64_t retired_count_ SENNIT_GUARDED_BY(retired_mutex_) = 0;
};

} // namespace sennit::sync
