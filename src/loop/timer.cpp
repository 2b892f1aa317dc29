#include <sennit/loop/timer.hpp>

#include <cstdlib>
#include <new>
#include <utility>

namespace sennit::loop {

TimerHeap::~TimerHeap() { std::free(heap_); }

void TimerHeap::grow(std::size_t n) {
    std::size_t room = room_ ? room_ : 64;
    while (room < n) room *= 2;
    // realloc: a large heap is moved by the kernel, page by page, not copied.
    void* const moved = std::realloc(heap_, room * sizeof(Entry));
    if (!moved) throw std::bad_alloc();
    heap_ = static_cast<Entry*>(moved);
    room_ = room;
}

void TimerHeap::up(std::size_t at, Entry e) noexcept {
    while (at > 0) {
        const std::size_t parent = (at - 1) / 4;
        if (!before(e, heap_[parent])) break;
        put(at, heap_[parent]);
        at = parent;
    }
    put(at, e);
}

void TimerHeap::down(std::size_t at, Entry e) noexcept {
    for (;;) {
        const std::size_t first = 4 * at + 1;
        if (first >= size_) break;
        const std::size_t end = first + 4 < size_ ? first + 4 : size_;
        std::size_t least = first;
        for (std::size_t i = first + 1; i < end; ++i)
            if (before(heap_[i], heap_[least])) least = i;
        if (!before(heap_[least], e)) break;
        put(at, heap_[least]);
        at = least;
    }
    put(at, e);
}

void TimerHeap::arm(TimedReady& t, std::int64_t when_ns) {
    reserve(size_ + 1);
    t.order_ = next_order_++;
    up(size_++, Entry{when_ns, &t});
}

void TimerHeap::disarm(TimedReady& t) noexcept {
    if (!t.armed()) return;
    const std::size_t at = std::exchange(t.index_, TimedReady::not_armed);
    const Entry last = heap_[--size_];
    if (at == size_) return;
    if (at > 0 && before(last, heap_[(at - 1) / 4]))
        up(at, last);
    else
        down(at, last);
}

TimedReady* TimerHeap::pop_due(std::int64_t now_ns) noexcept {
    if (size_ == 0 || heap_[0].when_ns > now_ns) return nullptr;
    TimedReady* const t = heap_[0].timer;
    disarm(*t);
    return t;
}

} // namespace sennit::loop
