#include "futures/task_deque.hpp"

#include <algorithm>
#include <memory>

namespace sennit::futures {

TaskDeque::Ring* TaskDeque::make_ring(std::size_t capacity, Ring* older) {
    auto slots = std::make_unique<atomic<sync::Task*>[]>(capacity);
    return new Ring{static_cast<std::int64_t>(capacity), older, slots.release()};
}

TaskDeque::Ring* TaskDeque::grow(Ring& full, std::int64_t bottom) {
    Ring* larger = make_ring(static_cast<std::size_t>(full.capacity) * 2, &full);
    // relaxed: slots that thieves read only; told by the ring.
    for (std::int64_t i = top_seen_; i < bottom; ++i)
        larger->slot(i).store(full.slot(i).load(memory_order_relaxed), memory_order_relaxed);
    ring_.store(larger, memory_order_release); // meets t3
    return larger;
}

TaskDeque::~TaskDeque() {
    Ring* ring = ring_.load(memory_order_relaxed); // nobody else is left
    while (ring) {
        delete[] ring->slots;
        delete std::exchange(ring, ring->older);
    }
}

} // namespace sennit::futures
