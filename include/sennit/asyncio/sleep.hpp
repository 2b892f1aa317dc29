#pragma once

#include <sennit/asyncio/task.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/wait/waiter.hpp>

#include <coroutine>
#include <source_location>

namespace sennit::asyncio {

/// What sleep() gives: co_await it, once, in the full expression that made it.
class [[nodiscard]] Sleep final : private wait::Pause {
  public:
    explicit Sleep(Deadline until) noexcept { set_deadline(until); }
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> caller,
                                          std::source_location where = std::source_location::current()) {
        void* const continuation = sync::detail::continuation_of(caller, where);
        return deadline().is_poll() ? suspend_for_a_turn(continuation) : suspend(continuation);
    }
    void await_resume() const {
        wait::Agent& me = wait::current_agent();
        if (deadline().is_poll() ? me.cancel_requested() : outcome() == wait::Outcome::cancelled) [[unlikely]]
            me.throw_cancelled();
    }
    [[nodiscard]] Deadline until() const noexcept { return deadline(); }

  private:
    // Both give what is to be resumed now.
    std::coroutine_handle<> suspend(void* continuation);
    std::coroutine_handle<> suspend_for_a_turn(void* continuation);
};

/// Suspends the task for a while; zero and negative durations: for one turn of the loop.       Python: asyncio.sleep
///
/// Cancel    Throws CancelledError.
/// Cost      No allocation. For one turn: neither a clock nor a timer.
inline Sleep sleep(Deadline until) noexcept { return Sleep(until); }
/// The same, with no Deadline of the caller's: that would lie in its frame as long as it sleeps.
template <class Rep, class Period>
Sleep sleep(const std::chrono::duration<Rep, Period>& from_now) {
    if (from_now <= from_now.zero()) return Sleep(Deadline::poll());
    return Sleep(Deadline(from_now));
}

} // namespace sennit::asyncio
