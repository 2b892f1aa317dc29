#pragma once

#include <sennit/sync/future.hpp>

#include <functional>
#include <type_traits>
#include <utility>

namespace sennit::multiprocessing {

namespace detail {
[[noreturn]] void throw_not_ready();
/// Throws UsageError when the calling thread runs one of these callbacks (a pool::detail::Callbacks).
void check_not_in_callback_of(const void* callbacks);
/// By who is about to wait for it without a deadline: if it is a process' task, waits for the answer of the worker itself, as far as it can.
void help_towards(sync::FutureCore& future);
template <class T>
struct ResultCallback {
    using type = std::function<void(const T&)>;
};
template <>
struct ResultCallback<void> {
    using type = std::function<void()>;
};
} // namespace detail

/// Who is told of the end: in a worker, before the result is ready; of one pool one after the other. What they throw is reported. To
/// wait in one, without a deadline, for what would come only after it throws UsageError (Python waits for ever): with a Pool any
/// work of the same pool, with a ThreadPool work that has callbacks, too.
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
    /// `callbacks`: of which none can wait for this result.
    explicit AsyncResult(sync::Future<T> future, const void* callbacks = nullptr) noexcept
        : future_(std::move(future)), callbacks_(callbacks) {}

    /// The result, or throws what the call threw; TimeoutError at the deadline; CancelledError when the pool was terminated first.
    std::add_lvalue_reference_t<T> get(Deadline deadline = forever) & {
        before_wait(deadline);
        return future_.result(deadline);
    }
    T get(Deadline deadline = forever) && {
        before_wait(deadline);
        return std::move(future_).result(deadline);
    }
    auto async_get(Deadline deadline = forever) const { return future_.async_result(deadline); }
    auto operator co_await() const { return future_.async_result(); }
    /// True once it is ready; false at the deadline.
    bool wait(Deadline deadline = forever) const {
        before_wait(deadline);
        return future_.wait(deadline);
    }
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
    void before_wait(const Deadline& deadline) const {
        if (!callbacks_ || !deadline.is_forever() || future_.done()) return;
        detail::check_not_in_callback_of(callbacks_);
        detail::help_towards(future_.core());
    }
    sync::Future<T> future_;
    const void* callbacks_;
};

} // namespace sennit::multiprocessing
