#pragma once

#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/sync/future.hpp>

#include <type_traits>
#include <utility>

namespace sennit::asyncio {

namespace detail {

template <class A>
struct IsTask : std::false_type {};
template <class T>
struct IsTask<Task<T>> : std::true_type {};
template <class A>
struct IsFuture : std::false_type {};
template <class T>
struct IsFuture<sync::Future<T>> : std::true_type {};

template <class A>
decltype(auto) get_awaiter(A&& a) {
    if constexpr (requires { std::forward<A>(a).operator co_await(); })
        return std::forward<A>(a).operator co_await();
    else if constexpr (requires { operator co_await(std::forward<A>(a)); })
        return operator co_await(std::forward<A>(a));
    else
        return std::forward<A>(a);
}
template <class A>
concept AwaitableObject = requires(A&& a) {
    detail::get_awaiter(std::forward<A>(a)).await_resume();
};

template <class A>
struct ResultOf {
    using type = std::decay_t<decltype(detail::get_awaiter(std::declval<A>()).await_resume())>;
};
template <class A>
requires(IsCoro<A>::value || IsTask<A>::value || IsFuture<A>::value) struct ResultOf<A> {
    using type = typename A::value_type;
};
template <class A>
requires CoroFunction<A>
struct ResultOf<A> {
    using type = typename std::invoke_result_t<A&>::value_type;
};
/// What co_await of an awaitable, or of what a coroutine function without arguments gives, gives.
template <class A>
using result_of_t = typename ResultOf<std::remove_cvref_t<A>>::type;

template <class T>
Coro<T> await_task(Task<T> task) {
    co_return co_await std::move(task);
}
// Who is cancelled cancels the future, as asyncio does with a concurrent.futures.Future.
template <class T>
Coro<T> await_future(sync::Future<T> future) {
    try {
        co_return co_await future;
    } catch (const CancelledError&) {
        future.cancel();
        throw;
    }
}
inline Coro<void> await_sleep(Deadline until) { co_await sleep(until); }
template <class T, class A>
Coro<T> await_it(A a) {
    co_return co_await std::move(a);
}

} // namespace detail

/// A task for whatever can be awaited, on the loop that runs on this thread: a Coro or a coroutine function is scheduled, a task of
/// this loop is itself; a Future, a task of another loop and any other awaitable that can be moved get a task that awaits them.
/// Python: asyncio.ensure_future
template <class A>
auto ensure_task(A&& awaitable) {
    using D = std::remove_cvref_t<A>;
    using T = detail::result_of_t<A>;
    if constexpr (detail::IsCoro<D>::value) {
        static_assert(!std::is_lvalue_reference_v<A>, "a Coro is owned once: std::move() it");
        return create_task(std::move(awaitable));
    } else if constexpr (detail::IsTask<D>::value) {
        if (&awaitable.get_loop() == EventLoop::running_or_null()) return Task<T>(std::forward<A>(awaitable));
        return create_task(detail::await_task<T>(std::forward<A>(awaitable)));
    } else if constexpr (detail::IsFuture<D>::value) {
        return create_task(detail::await_future<T>(std::forward<A>(awaitable)));
    } else if constexpr (detail::CoroFunction<D>) {
        return create_task(std::forward<A>(awaitable));
    } else if constexpr (std::is_same_v<D, Sleep>) {
        return create_task(detail::await_sleep(awaitable.until()));
    } else {
        static_assert(std::is_constructible_v<D, A>,
                      "this awaitable can't be moved into a task (it is awaited in the full "
                      "expression that makes it): give a coroutine, []() -> Coro<T> {...}");
        return create_task(detail::await_it<T, D>(std::forward<A>(awaitable)));
    }
}

} // namespace sennit::asyncio
