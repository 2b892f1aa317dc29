#pragma once

#include <sennit/sync/future.hpp>

#include <functional>
#include <type_traits>
#include <utility>

namespace sennit::multiprocessing {

namespace detail {
[[noreturn]] void throw_not_ready();
template <class T>
struct ResultCallback {
    using type = std::function<void(const T&)>;
};
template <>
struct ResultCallback<void> {
    using type = std::function<void()>;
};
} // namespace detail

/// Who is told of the end: in a worker, before the result is ready; of one pool one after the other. What they throw is reported.
template <class T>
struct AsyncOptions {
    typename detail::ResultCallback<T>::type callback = {};             ///< gets the result
    std::function<void(const std::exception_ptr&)> error_callback = {}; ///< gets what was thrown
};

/// What apply_async() and its kin give: a result that will be there later. Copies mean the same one.
/// Python: multiprocessing.pool.AsyncResult
///
/// Agents    Every member, at the same time, from anywhere.
/// Blocks    get() and wait() park the agent; `co_await result` and async_get() suspend the coroutine.
template <class T>
class AsyncResult {
  public:
    using value_type = T;
    explicit AsyncResult(sync::Future<T> future) noexcept : future_(std::move(future)) {}

    /// The result, or throws what the call threw; TimeoutError at the deadline; CancelledError when the pool was terminated first.
    std::add_lvalue_reference_t<T> get(Deadline deadline = forever) & { return future_.result(deadline); }
    T get(Deadline deadline = forever) && { return std::move(future_).result(deadline); }
    auto async_get(Deadline deadline = forever) const { return future_.async_result(deadline); }
    auto operator co_await() const { return future_.async_result(); }
    /// True once it is ready; false at the deadline.
    bool wait(Deadline deadline = forever) const { return future_.wait(deadline); }
    auto async_wait(Deadline deadline = forever) const { return future_.async_wait(deadline); }
    [[nodiscard]] bool ready() const noexcept { return future_.done(); }
    /// Whether the call ended without an exception. Throws UsageError before it is ready. (Python: ValueError)
    [[nodiscard]] bool successful() const {
        if (!future_.done()) detail::throw_not_ready();
        return !future_.cancelled() && !future_.exception();
    }
    /// The same as a Future, for wait() and as_completed().
    [[nodiscard]] const sync::Future<T>& future() const noexcept { return future_; }

  private:
    sync::Future<T> future_;
};

} // namespace sennit::multiprocessing
