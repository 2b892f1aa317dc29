#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/sync/executor.hpp>

#include <functional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

namespace detail {

template <class F, class... Args>
struct ThreadCall {
    static constexpr bool takes_token = std::is_invocable_v<F, std::stop_token, Args...>;
    static auto result() {
        if constexpr (takes_token)
            return std::type_identity<std::invoke_result_t<F, std::stop_token, Args...>>();
        else
            return std::type_identity<std::invoke_result_t<F, Args...>>();
    }
    using type = typename decltype(result())::type;
    type operator()() {
        return std::apply(
            [this](Args&... args) -> type {
                if constexpr (takes_token)
                    return std::invoke(std::move(f), std::move(token), std::move(args)...);
                else
                    return std::invoke(std::move(f), std::move(args)...);
            },
            args);
    }
    F f;
    std::tuple<Args...> args;
    std::stop_token token;
};

template <class Call>
Coro<typename Call::type> to_thread(Call call) {
    std::stop_source stop;
    call.token = stop.get_token();
    auto future = EventLoop::running().run_in_executor(nullptr, std::move(call));
    try {
        co_return co_await future;
    } catch (const CancelledError&) {
        stop.request_stop(); // for a call that looks; one that has not begun never does
        future.cancel();
        throw;
    }
}

} // namespace detail

/// Runs f(args...) in a helper thread of the loop's, so that what blocks does not stop the loop.        Python: asyncio.to_thread
///
///     std::string text = co_await to_thread(read_file, path);
///     co_await to_thread([](std::stop_token stop) { while (!stop.stop_requested()) work(); });
///
/// Copies or moves f and its arguments. If f takes a std::stop_token first, it gets one.
///
/// Cancel    The result is dropped, and the stop token of the call is set. A call that has begun goes on to its end: a thread can't be
///           interrupted. So references in its arguments must live until then, not only until the await ends.
/// Source    Python 3.13
template <class F, class... Args>
auto to_thread(F&& f, Args&&... args) {
    using Call = detail::ThreadCall<std::decay_t<F>, std::decay_t<Args>...>;
    return detail::to_thread(Call{std::forward<F>(f), {std::forward<Args>(args)...}, {}});
}

/// f(args...) on an executor, of threads or of processes, or (nullptr) on helper threads of the loop's own. On a loop.
///
///     double area = co_await run_in_executor(processes, measure, file);
///
/// Cancel    The result is dropped; what an executor does with a task whose future is cancelled is told there.
/// Source    Python 3.13: loop.run_in_executor
template <class E, class F, class... Args>
auto run_in_executor(E&& executor, F&& f, Args&&... args) {
    return get_running_loop().run_in_executor(std::forward<E>(executor), std::forward<F>(f),
                                              std::forward<Args>(args)...);
}

} // namespace sennit::asyncio
