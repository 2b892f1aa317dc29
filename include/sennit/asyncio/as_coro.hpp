// Whatever can be awaited, as a coroutine.
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
/// What gather(), wait_for(), create_task() and their kin take.
template <class A>
concept Gatherable = CoroFunction<A> || AwaitableObject<std::remove_cvref_t<A>>;
/// One of those that is neither a Coro nor a coroutine function.
template <class A>
concept OtherAwaitable =
    AwaitableObject<std::remove_cvref_t<A>> && !IsCoro<std::remove_cvref_t<A>>::value && !CoroFunction<A>;

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
template <class T, class A>
Coro<T> await_it(A a) {
    co_return co_await std::move(a);
}
template <class T, class F>
Coro<T> await_call(F f) {
    co_return co_await f();
}

/// Says in a sentence what can't be taken, and why.
template <class A>
constexpr void check_awaitable() {
    using D = std::remove_cvref_t<A>;
    static_assert(Gatherable<A>,
                  "this can't be awaited: give a Coro, a coroutine function without arguments, a Task, a "
                  "Future, sleep(), or an async_ call");
    if constexpr (Gatherable<A> && !CoroFunction<A>) {
        static_assert(
            std::is_move_constructible_v<D>,
            "this awaitable can't be moved into a task (it is awaited in the full expression that makes it): give "
            "a coroutine, []() -> Coro<T> {...}");
        static_assert(!std::is_lvalue_reference_v<A> || std::is_copy_constructible_v<D> ||
                          !std::is_move_constructible_v<D>,
                      "what is awaited once has one owner: std::move() it, or make it in the call itself");
    }
}

} // namespace detail

/// A coroutine that awaits whatever can be awaited: a Coro is itself; a coroutine function without arguments, a Task, a Future,
/// sleep(), what the `async_` calls give and any other awaitable that can be moved are kept in it.
///
///     Coro<Job> next = as_coro(jobs.async_get());
///
/// Cancel    As what it awaits: a Task or a Future is cancelled with it.
/// Lifetime  What an awaitable refers to (the queue of async_get(), the buffer of sock_sendall()) must live until it has run.
template <class A>
auto as_coro(A&& awaitable) {
    detail::check_awaitable<A>();
    using D = std::remove_cvref_t<A>;
    using T = detail::result_of_t<A>;
    if constexpr (detail::IsCoro<D>::value)
        return Coro<T>(std::move(awaitable));
    else if constexpr (detail::CoroFunction<A>)
        return detail::await_call<T, std::decay_t<A>>(std::forward<A>(awaitable));
    else if constexpr (detail::IsTask<D>::value)
        return detail::await_task<T>(std::forward<A>(awaitable));
    else if constexpr (detail::IsFuture<D>::value)
        return detail::await_future<T>(std::forward<A>(awaitable));
    else
        return detail::await_it<T, D>(std::forward<A>(awaitable));
}

} // namespace sennit::asyncio
