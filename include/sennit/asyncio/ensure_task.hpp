#pragma once

#include <sennit/asyncio/as_coro.hpp>
#include <sennit/asyncio/task.hpp>

#include <type_traits>
#include <utility>

namespace sennit::asyncio {

/// The same for any awaitable that is no coroutine: sleep(), the async_ calls, a Future, a Task. See as_coro.
///
///     Task<Job> next = create_task(jobs.async_get());
template <detail::OtherAwaitable A>
auto create_task(A&& awaitable, TaskOptions options = {}) {
    return create_task(as_coro(std::forward<A>(awaitable)), options);
}

/// A task for whatever can be awaited, on the loop that runs on this thread: a Coro or a coroutine function is scheduled, a task of
/// this loop is itself; all else gets a task that awaits it.
/// Python: asyncio.ensure_future
template <class A>
auto ensure_task(A&& awaitable) {
    detail::check_awaitable<A>();
    using D = std::remove_cvref_t<A>;
    using T = detail::result_of_t<A>;
    if constexpr (detail::IsTask<D>::value) {
        if (&awaitable.get_loop() == EventLoop::running_or_null()) return Task<T>(std::forward<A>(awaitable));
        return create_task(as_coro(std::forward<A>(awaitable)));
    } else if constexpr (detail::CoroFunction<A>) {
        return create_task(std::forward<A>(awaitable));
    } else {
        return create_task(as_coro(std::forward<A>(awaitable)));
    }
}

} // namespace sennit::asyncio
