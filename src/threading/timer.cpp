#include <sennit/threading/timer.hpp>

namespace sennit::threading {
namespace detail {

void TimerState::call() {
    if (decided_.wait(due())) return; // cancelled
    Fate open = Fate::open;
    // relaxed: whoever decides does so once; what fire() uses was there before start().
    if (fate_.compare_exchange_strong(open, Fate::fires, memory_order_relaxed, memory_order_relaxed)) fire();
}

bool TimerState::cancel() noexcept {
    Fate seen = Fate::open;
    if (fate_.compare_exchange_strong(seen, Fate::cancelled, memory_order_relaxed, memory_order_relaxed))
        decided_.set();
    return seen != Fate::fires;
}

} // namespace detail

bool Timer::cancel() noexcept { return state_ && static_cast<detail::TimerState*>(state_.get())->cancel(); }

} // namespace sennit::threading
