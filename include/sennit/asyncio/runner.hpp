#pragma once

#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

/// Ctrl-C came while run() ran, and its coroutine ended by the cancellation that this is.      Python: KeyboardInterrupt
class KeyboardInterrupt : public Error {
  public:
    KeyboardInterrupt() : Error("interrupted by SIGINT") {}
};

struct RunOptions {
    std::optional<bool> debug = std::nullopt; ///< as the environment says (SENNIT_ASYNCIO_DEBUG) if not given
};

/// An event loop, and main coroutines that run on it one after the other.          Python: asyncio.Runner
///
/// Agents    One thread.
/// Blocks    run(), till the coroutine is done; close() and the destructor, till all tasks that are left have ended.
class Runner {
  public:
    Runner() : Runner(RunOptions{}) {}
    /// The loop is made at the first use.
    explicit Runner(RunOptions options) : options_(options) {}
    ~Runner();
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    /// Runs the coroutine to its end and gives its result, or throws what it threw. On the process's first thread, and where SIGINT has
    /// its default action, Ctrl-C cancels the coroutine, and run() throws KeyboardInterrupt once that has ended; a second one
    /// ends the process at once. Throws UsageError when a loop runs on this thread already, or after close().
    template <class T>
    T run(Coro<T> main) {
        Task<T> task = create_task_on(loop_to_run(), std::move(main));
        run_until_done(task);
        return take(std::move(task));
    }
    template <class F, class... Args>
    requires detail::CoroFunction<F, Args...>
    auto run(F&& f, Args&&... args) {
        auto task = create_task_on(loop_to_run(), TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
        run_until_done(task);
        return take(std::move(task));
    }
    /// Cancels the tasks that are left, runs them to their end, tells the exception handler what they threw, and closes the loop.
    /// Twice is as once.
    void close();
    EventLoop& get_loop();

  private:
    template <class T>
    static T take(Task<T> task) {
        if constexpr (std::is_void_v<T> || std::is_reference_v<T>)
            return static_cast<T>(task.result());
        else
            return std::move(task.result());
    }
    EventLoop& loop_to_run();
    void run_until_done(const TaskRef& task);
    RunOptions options_;
    std::optional<EventLoop> loop_;
    bool closed_ = false;
};

namespace detail {
/// Throws what running it would throw: before there is a task, which nobody would run.
void check_may_run(EventLoop& loop);
/// Runs the loop until the task is done. Throws UsageError when the loop is stopped before.
void run_until_done(EventLoop& loop, const TaskRef& task);
} // namespace detail

/// Runs a coroutine on a new event loop, to its end, and gives its result.         Python: asyncio.run
///
///     int main() { return asyncio::run(main_coroutine()); }
///
/// What is left running is cancelled, and waited for. See Runner.
template <class T>
T run(Coro<T> main, RunOptions options = {}) {
    Runner runner(options);
    if constexpr (std::is_void_v<T>) {
        runner.run(std::move(main));
        runner.close();
    } else {
        T result = runner.run(std::move(main));
        runner.close();
        return static_cast<T>(result);
    }
}
/// The same with a coroutine function: it and its captures live as long as what it gives.
template <class F>
requires detail::CoroFunction<F>
auto run(F&& f, RunOptions options = {}) {
    using T = typename std::invoke_result_t<std::decay_t<F>&>::value_type;
    std::decay_t<F> kept(std::forward<F>(f));
    return run<T>(kept(), options);
}

/// EventLoop::run_until_complete
template <class T>
T asyncio_run_until_complete(EventLoop& loop, Coro<T> main) {
    detail::check_may_run(loop);
    Task<T> task = create_task_on(loop, std::move(main));
    detail::run_until_done(loop, task);
    if constexpr (std::is_void_v<T> || std::is_reference_v<T>)
        return static_cast<T>(task.result());
    else
        return std::move(task.result());
}
template <class T>
std::add_lvalue_reference_t<T> asyncio_run_until_complete(EventLoop& loop, const Task<T>& task) {
    detail::run_until_done(loop, task);
    return task.result();
}

} // namespace sennit::asyncio
