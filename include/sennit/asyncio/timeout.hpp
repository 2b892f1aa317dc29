// Scopes with a time limit.
#pragma once

#include <sennit/asyncio/as_coro.hpp>
#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/loop/timer.hpp>

#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

class Timeout;

namespace detail {
template <class F>
concept TimeoutBody = CoroFunction<F> ||
    (std::is_invocable_v<F&, Timeout&>&& IsCoro<std::invoke_result_t<F&, Timeout&>>::value);
template <class F>
auto call_timeout_body(F& body, Timeout& scope) {
    if constexpr (CoroFunction<F>)
        return body();
    else
        return body(scope);
}
// No type for what is no body: an overload is then passed over, not an error.
template <class F>
struct TimeoutResult {};
template <class F>
requires TimeoutBody<F>
struct TimeoutResult<F> {
    using type = typename decltype(detail::call_timeout_body(std::declval<F&>(), std::declval<Timeout&>()))::value_type;
};
template <class F>
using timeout_result_t = typename TimeoutResult<F>::type;
} // namespace detail

/// A part of a task that has a time limit; for who wants to change the limit or to ask afterwards. Mostly one writes timeout().
/// Python: asyncio.Timeout
///
///     Timeout limit(10s);
///     co_await limit.run([&](Timeout& t) -> Coro<> {
///         std::string first = co_await connection.read();
///         t.reschedule(1s);                                    // from now on
///         co_await connection.write(answer(first));
///     });
///
/// At the deadline the task is cancelled, so that what the body waits for throws CancelledError; where the scope ends, this becomes a
/// TimeoutError. Body and children are given the time to clean up.
///
/// Agents    The task that runs it.
/// Cancel    A cancellation from elsewhere stays one, also when the deadline passes meanwhile. Each scope knows its own: an outer
///           one that expires is not taken for an inner one.
/// Lifetime  Runs once.
/// Cost      No allocation but the coroutine frame. A timer of the loop's.
/// Source    Python 3.13
class Timeout final : private loop::Timer {
  public:
    explicit Timeout(Deadline when) noexcept : Timer(on_timer), when_(when) {}
    Timeout(const Timeout&) = delete;
    Timeout& operator=(const Timeout&) = delete;
    ~Timeout();

    /// Runs a coroutine, or what body(), body(Timeout&) gives, within the limit. Throws TimeoutError when that came to its end by it;
    /// UsageError the second time, and outside of a task.
    template <class T>
    Coro<T> run(Coro<T> body) {
        enter();
        detail::Slot<T> result;
        try {
            if constexpr (std::is_void_v<T>)
                co_await std::move(body);
            else
                result.set_value(co_await std::move(body));
        } catch (...) {
            leave(std::current_exception());
            throw;
        }
        leave(nullptr);
        if constexpr (!std::is_void_v<T>) co_return result.take();
    }
    template <class F>
    requires detail::TimeoutBody<F> Coro<detail::timeout_result_t<F>> run(F body) {
        enter();
        using T = detail::timeout_result_t<F>;
        detail::Slot<T> result;
        try {
            if constexpr (std::is_void_v<T>)
                co_await detail::call_timeout_body(body, *this);
            else
                result.set_value(co_await detail::call_timeout_body(body, *this));
        } catch (...) {
            leave(std::current_exception());
            throw;
        }
        leave(nullptr);
        if constexpr (!std::is_void_v<T>) co_return result.take();
    }

    /// When it is to expire.
    [[nodiscard]] Deadline when() const noexcept { return when_; }
    /// Another limit, counted from now. From within the body; throws UsageError elsewhere and when it has expired.
    void reschedule(Deadline when);
    /// Whether the deadline has passed while the body ran.
    [[nodiscard]] bool expired() const noexcept { return state_ == State::expiring || state_ == State::expired; }

  private:
    enum class State : std::uint8_t { created, active, expiring, expired, exited };
    void enter();
    // Throws TimeoutError in place of a CancelledError that is this scope's.
    void leave(const std::exception_ptr& error);
    void arm();
    static void on_timer(loop::Timer& t) noexcept;
    void expire() noexcept;

    Deadline when_;
    TaskBase* task_ = nullptr;
    int cancelling_ = 0; // the task's count where the scope began
    State state_ = State::created;
};

namespace detail {
template <class B, class T>
Coro<T> run_timeout(Deadline when, B body) {
    Timeout scope(when);
    if constexpr (std::is_void_v<T>)
        co_await scope.run(std::move(body));
    else
        co_return co_await scope.run(std::move(body));
}
} // namespace detail

/// Runs a coroutine, or what a coroutine function gives, with a limit in time: TimeoutError when it does not end before. Zero and
/// negative durations: it is cancelled where it first waits.                            Python: asyncio.timeout
///
///     std::string page = co_await timeout(5s, fetch(url));
///     co_await timeout(5s, [&]() -> Coro<> { ... });
///
/// The time counts from this call on. See Timeout.
template <class T>
Coro<T> timeout(Deadline delay, Coro<T> body) {
    return detail::run_timeout<Coro<T>, T>(delay, std::move(body));
}
template <class F>
requires detail::TimeoutBody<std::decay_t<F>>
auto timeout(Deadline delay, F&& body) {
    return detail::run_timeout<std::decay_t<F>, detail::timeout_result_t<std::decay_t<F>>>(delay,
                                                                                           std::forward<F>(body));
}
/// Any other awaitable: sleep(), an async_ call, a Task, a Future.
template <detail::OtherAwaitable A>
auto timeout(Deadline delay, A&& awaitable) {
    return timeout(delay, as_coro(std::forward<A>(awaitable)));
}
/// The same with a time of the loop's clock.                                             Python: asyncio.timeout_at
template <class Duration, class T>
Coro<T> timeout_at(std::chrono::time_point<std::chrono::steady_clock, Duration> when, Coro<T> body) {
    return detail::run_timeout<Coro<T>, T>(when, std::move(body));
}
template <class Duration, class F>
requires detail::TimeoutBody<std::decay_t<F>>
auto timeout_at(std::chrono::time_point<std::chrono::steady_clock, Duration> when, F&& body) {
    return timeout(Deadline(when), std::forward<F>(body));
}
template <class Duration, detail::OtherAwaitable A>
auto timeout_at(std::chrono::time_point<std::chrono::steady_clock, Duration> when, A&& awaitable) {
    return timeout(Deadline(when), as_coro(std::forward<A>(awaitable)));
}

} // namespace sennit::asyncio
