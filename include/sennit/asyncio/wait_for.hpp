#pragma once

#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/timeout.hpp>
#include <sennit/base/errors.hpp>

#include <type_traits>
#include <utility>

namespace sennit::asyncio {

namespace detail {

/// Cancels a task and waits for its end; a cancellation of who waits comes out after that.
Coro<void> cancel_and_wait(TaskRef task);
[[noreturn]] void throw_timed_out();

template <class T, class A>
Coro<T> wait_for_polled(A awaitable) {
    if constexpr (IsFuture<A>::value)
        if (awaitable.done()) co_return co_await awaitable;
    Task<T> task = ensure_task(std::move(awaitable));
    if (!task.done()) co_await cancel_and_wait(task);
    if (task.cancelled()) throw_timed_out();
    co_return co_await std::move(task);
}
template <class T, class A>
Coro<T> wait_for_timed(Deadline deadline, A awaitable) {
    Timeout scope(deadline);
    if constexpr (IsTask<A>::value)
        co_return co_await scope.run(await_task<T>(ensure_task(std::move(awaitable))));
    else if constexpr (CoroFunction<A>)
        co_return co_await scope.run(std::move(awaitable));
    else
        co_return co_await scope.run(as_coro(std::move(awaitable)));
}

} // namespace detail

/// Waits for one awaitable, at most for a while: TimeoutError.                       Python: asyncio.wait_for
///
///     int n = co_await wait_for(count(), 2s);
///     Job job = co_await wait_for(jobs.async_get(), 2s);     // at the deadline the queue keeps its items
///
/// At the deadline the awaitable is cancelled and waited for: nothing of it runs on. If it gives a value or throws something else all
/// the same, then that is what comes out. Zero or less: the result of what is done already; what is not is cancelled, and a
/// coroutine that has not begun never begins. forever: just awaits it. To let it run on, shield() it.
///
/// Cancel    Of who waits: so is the awaitable. A request that races with the deadline is not lost.
/// Source    Python 3.13
template <class A>
auto wait_for(A awaitable, Deadline deadline) {
    detail::check_awaitable<A>();
    using T = detail::result_of_t<A>;
    return deadline.is_poll() ? detail::wait_for_polled<T>(std::move(awaitable))
                              : detail::wait_for_timed<T>(deadline, std::move(awaitable));
}

} // namespace sennit::asyncio
