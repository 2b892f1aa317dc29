#pragma once

#include <sennit/wait/agent.hpp>

#include <coroutine>
#include <cstdint>
#include <source_location>
#include <utility>

namespace sennit::sync {

namespace detail {

/// The coroutine that a wait is to resume, as Wait::set_continuation() takes it: the address of its frame, with bit 0 where the promise
/// keeps who awaits it. Any coroutine type may await; of those without the bit nobody reads the promise.
constexpr std::uintptr_t keeps_chain = 1;
template <class Promise>
void* continuation_of(std::coroutine_handle<Promise> caller, [[maybe_unused]] std::source_location where) noexcept {
    if constexpr (requires { typename Promise::sennit_keeps_chain; }) {
        caller.promise().suspended_at(where);
        return static_cast<char*>(caller.address()) + keeps_chain;
    } else {
        return caller.address();
    }
}
inline std::coroutine_handle<> coroutine_of(void* continuation) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(continuation) & ~keeps_chain;
    return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(address)); // NOLINT(performance-no-int-to-ptr)
}

} // namespace detail

/// What every `async_` twin returns: co_await it, once, in the full expression that made it.
///
/// `Op` is the wait itself: it lives in the coroutine's frame, so waiting allocates nothing. It offers
///   bool try_now()          the fast path: true when there is nothing to wait for
///   auto finish(Agent&)     the result, or throws (CancelledError, Empty, ...)
///
/// Lifetime  A coroutine that is suspended here is cancelled and run to its end, never destroyed in mid-wait.
template <class Op>
class [[nodiscard]] Awaitable {
  public:
    template <class... Args>
    explicit Awaitable(Deadline deadline, Args&&... args) : op_(std::forward<Args>(args)...), deadline_(deadline) {}
    /// Before it is awaited: for create_task(), gather() and their kin. Not possible with every Op.
    Awaitable(Awaitable&&) = default;
    Awaitable(const Awaitable&) = delete;
    Awaitable& operator=(const Awaitable&) = delete;

    bool await_ready() { return op_.try_now(deadline_); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> caller,
                       std::source_location where = std::source_location::current()) {
        op_.set_continuation(detail::continuation_of(caller, where));
        return wait::current_agent().suspend(op_, deadline_);
    }
    decltype(auto) await_resume() { return op_.finish(wait::current_agent()); }

  private:
    Op op_;
    Deadline deadline_;
};

/// The blocking form of the same operation.
template <class Op>
auto run_blocking(Op& op, Deadline deadline) {
    wait::Agent& me = wait::current_agent();
    if (!op.try_now(deadline)) me.wait(op, deadline);
    return op.finish(me);
}

} // namespace sennit::sync
