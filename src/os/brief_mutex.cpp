#include <sennit/os/brief_mutex.hpp>

#include <sennit/os/thread.hpp>

namespace sennit::os {

void BriefMutex::lock_slow() noexcept {
    constexpr int looks = 100;
    for (int turns = 0;; ++turns) {
        // relaxed: a look, which leaves the line to its holder; acquire: meets unlock().
        if (!held_.load(memory_order_relaxed) && !held_.exchange(true, memory_order_acquire)) return;
        // A holder that lost its core must run to let go.
        turns < looks ? cpu_relax() : yield_core();
    }
}

} // namespace sennit::os
