#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/sync/future.hpp>

#include <exception>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

namespace detail {

// Cancelled when the loop drops it unrun.
template <class T, class Start>
class ThreadsafeStart {
  public:
    ThreadsafeStart(Start start, sync::Future<T> future) : start_(std::move(start)), future_(std::move(future)) {}
    ThreadsafeStart(ThreadsafeStart&& other) noexcept
        : start_(std::move(other.start_)),
          future_(std::move(other.future_)),
          armed_(std::exchange(other.armed_, false)) {}
    ThreadsafeStart& operator=(ThreadsafeStart&&) = delete;
    ~ThreadsafeStart() {
        if (armed_) future_.cancel();
    }
    void operator()() {
        armed_ = false;
        try {
            if (future_.cancelled()) return;
            Task<T> task = start_();
            // Whoever cancels the future cancels the task, from its own thread.
            future_.add_done_callback([task](const sync::Future<T>& f) {
                if (f.cancelled()) task.cancel();
            });
            task.add_done_callback([task, future = future_](const TaskRef&) { hand_over(task, future); });
        } catch (...) {
            future_.set_exception(std::current_exception());
        }
    }

  private:
    static void hand_over(const Task<T>& task, const sync::Future<T>& future) {
        task.base().mark_error_seen();
        try {
            if (task.cancelled()) {
                future.cancel();
            } else if (std::exception_ptr error = task.base().stored_error()) {
                future.set_exception(std::move(error));
            } else if constexpr (std::is_void_v<T>) {
                future.set_result();
            } else if constexpr (std::is_reference_v<T>) {
                future.set_result(task.result());
            } else {
                future.set_result(std::move(task.result()));
            }
        } catch (const InvalidStateError&) {} // it was cancelled in the very moment
    }
    Start start_;
    sync::Future<T> future_;
    bool armed_ = true;
};

template <class T, class Start>
sync::Future<T> start_threadsafe(EventLoop& loop, Start start) {
    sync::Future<T> future;
    loop.call_soon_threadsafe(ThreadsafeStart<T, Start>(std::move(start), future));
    return future;
}

} // namespace detail

/// Runs a coroutine on a loop that runs on another thread.             Python: asyncio.run_coroutine_threadsafe
///
///     Future<int> answer = run_coroutine_threadsafe(count(), loop);
///     int n = answer.result(5s);                       // this thread waits
///
/// Cancelling the Future cancels the task. If the loop closes before the task has begun, the Future is cancelled.
///
/// Agents    From any thread, while the loop is not closed. The loop's own thread must not wait for the result.
/// Source    Python 3.13
template <class T>
sync::Future<T> run_coroutine_threadsafe(Coro<T> coro, EventLoop& loop) {
    return detail::start_threadsafe<T>(
        loop, [&loop, coro = std::move(coro)]() mutable { return create_task_on(loop, std::move(coro)); });
}
/// The same with a coroutine function; it and its captures live in the task.
template <class F>
requires detail::CoroFunction<F>
auto run_coroutine_threadsafe(F&& f, EventLoop& loop) {
    using T = typename std::invoke_result_t<std::decay_t<F>&>::value_type;
    return detail::start_threadsafe<T>(loop, [&loop, f = std::decay_t<F>(std::forward<F>(f))]() mutable {
        return create_task_on(loop, TaskOptions{}, std::move(f));
    });
}

} // namespace sennit::asyncio
