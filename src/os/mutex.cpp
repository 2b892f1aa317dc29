#include <sennit/os/mutex.hpp>

namespace sennit::os {

void Mutex::lock_slow() noexcept {
    // What it guards takes some tens of nanoseconds: on two cores a short spin beats a sleep, on one it ends at once.
    for (unsigned i = spin_turns(40); i > 0; --i) {
        cpu_relax();
        std::uint32_t seen = word_.load(memory_order_relaxed);
        // acquire: meets the release in unlock().
        if (seen == free && word_.compare_exchange_strong(seen, held, memory_order_acquire, memory_order_relaxed))
            return;
        if (seen == contended) break; // others sleep already: get in line
    }
    // acquire: as above. Writing `contended` before sleeping makes the next unlock wake somebody.
    while (word_.exchange(contended, memory_order_acquire) != free) futex_wait(word_, contended, forever);
}

} // namespace sennit::os
