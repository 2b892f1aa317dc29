// What an event loop is to do at a certain time.
#pragma once

#include <sennit/loop/ready.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::loop {

/// A node in its owner that an event loop runs at a deadline: once per time that it is armed. It can stand on the ready list at
/// the same time; run() learns by take_fired() which of the two it is called for.
///
/// Agents    The thread of the loop.
/// Lifetime  Stays where it is while armed; disarmed before it dies.
class TimedReady : public Ready {
  public:
    TimedReady() noexcept = default;
    TimedReady(const TimedReady&) = delete;
    TimedReady& operator=(const TimedReady&) = delete;

    [[nodiscard]] bool armed() const noexcept { return index_ < fired; }
    /// By run(), first of all: true when the deadline has come.
    bool take_fired() noexcept {
        if (index_ != fired) return false;
        index_ = not_armed;
        return true;
    }

  private:
    friend class TimerHeap;
    friend class EventLoop;
    static constexpr std::uint32_t not_armed = UINT32_MAX, fired = UINT32_MAX - 1;
    /// By the loop, once it has been taken out of the heap.
    void fire() noexcept {
        index_ = fired;
        run(*this);
    }
    std::uint32_t index_ = not_armed; // in the heap
    std::uint32_t order_ = 0;         // counts the armings: equal deadlines come in their order
};

/// One that is never on the ready list.
class Timer : public TimedReady {
  public:
    using Fire = void (*)(Timer&) noexcept;
    explicit Timer(Fire fire) noexcept : fire_(fire) { run = on_run; }

  private:
    friend class EventLoop;
    static void on_run(Ready& r) noexcept {
        auto& t = static_cast<Timer&>(r);
        t.take_fired();
        t.fire_(t);
    }
    Fire fire_;
};

/// The armed timers of one loop, the earliest first; of equal ones the one that was armed first.
///
/// Cost      16 bytes an armed timer, beside its own. arm() and disarm() O(log n); a deadline later than all others O(1).
/// Source    A 4-ary heap of (deadline, node): the four children that are compared lie in one cache line, and no node is touched
///           to compare.
class TimerHeap {
  public:
    TimerHeap() noexcept = default;
    ~TimerHeap();
    TimerHeap(const TimerHeap&) = delete;
    TimerHeap& operator=(const TimerHeap&) = delete;

    /// Room for `n` timers, so that arming that many can't fail. Throws std::bad_alloc.
    void reserve(std::size_t n) {
        if (n > room_) grow(n);
    }
    /// Throws std::bad_alloc, and then nothing has changed; not when there is room. `t` is not armed.
    void arm(TimedReady& t, std::int64_t when_ns);
    /// Nothing for one that is not armed.
    void disarm(TimedReady& t) noexcept;
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// INT64_MAX when there is none.
    [[nodiscard]] std::int64_t first_ns() const noexcept { return size_ == 0 ? INT64_MAX : heap_[0].when_ns; }
    /// Disarms the first one and gives it, if it is due at `now_ns`; else nullptr.
    TimedReady* pop_due(std::int64_t now_ns) noexcept;
    /// When `t`, which is armed, is due.
    [[nodiscard]] std::int64_t when_ns(const TimedReady& t) const noexcept { return heap_[t.index_].when_ns; }
    /// Calls f(TimedReady&) for each, in no order; f changes nothing.
    template <class F>
    void for_each(F f) const {
        for (std::size_t i = 0; i < size_; ++i) f(*heap_[i].timer);
    }

  private:
    struct Entry {
        std::int64_t when_ns;
        TimedReady* timer;
    };
    static bool before(const Entry& a, const Entry& b) noexcept {
        if (a.when_ns != b.when_ns) return a.when_ns < b.when_ns;
        return static_cast<std::int32_t>(a.timer->order_ - b.timer->order_) < 0; // the count may have come round
    }
    void put(std::size_t at, Entry e) noexcept {
        heap_[at] = e;
        e.timer->index_ = static_cast<std::uint32_t>(at);
    }
    void up(std::size_t at, Entry e) noexcept;
    void down(std::size_t at, Entry e) noexcept;
    void grow(std::size_t n);

    Entry* heap_ = nullptr; // children of i: 4i + 1 … 4i + 4
    std::size_t size_ = 0, room_ = 0;
    std::uint32_t next_order_ = 0;
};

} // namespace sennit::loop
