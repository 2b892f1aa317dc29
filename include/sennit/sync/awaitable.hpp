#pragma once

#include <sennit/wait/agent.hpp>

#include <coroutine>
#include <source_location>
#include <utility>

namespace sennit::sync {

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
        if constexpr (requires { caller.promise().suspended_at(where); }) caller.promise().suspended_at(where);
        op_.set_continuation(caller.address());
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
