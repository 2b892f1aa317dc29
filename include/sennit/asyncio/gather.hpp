// Several awaitables at once, and all their results.
#pragma once

#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/result.hpp>
#include <sennit/asyncio/wait_for_tasks.hpp>
#include <sennit/sync/awaitable.hpp>

#include <concepts>
#include <cstddef>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant> // std::monostate
#include <vector>

namespace sennit::asyncio {

struct GatherOptions {
    bool return_exceptions = false; ///< errors are given in place of results: each is a Result<T>
};

namespace detail {

template <class T>
using gathered_t = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// The result of a task that is done: moved out where nobody else has a handle.
template <class T>
T take_result(const Task<T>& task) {
    if constexpr (std::is_void_v<T> || std::is_reference_v<T>)
        return static_cast<T>(task.result());
    else if constexpr (sync::detail::can_be_copied<T>)
        return task.base().is_sole_owner() ? std::move(task.result()) : task.result();
    else
        return std::move(task.result());
}
template <class T>
Result<T> take_outcome(const Task<T>& task) {
    task.base().mark_error_seen();
    if (std::exception_ptr error = task.base().stored_error()) return Result<T>(std::move(error));
    if constexpr (std::is_void_v<T>)
        return {};
    else
        return Result<T>(take_result(task));
}
template <class T>
gathered_t<T> take_gathered(const Task<T>& task) {
    if constexpr (std::is_void_v<T>)
        return task.result(), std::monostate();
    else
        return take_result(task);
}

class GatherWait {
  public:
    bool try_now(Deadline deadline) noexcept { return wait_.try_now(deadline); }
    void set_continuation(void* handle_address) noexcept { wait_.set_continuation(handle_address); }
    operator wait::Wait&() noexcept { return wait_; } // NOLINT(google-explicit-constructor): what one suspends on

  protected:
    GatherWait(std::size_t count, bool return_exceptions)
        : wait_(WaitForTasks::gather_site,
                return_exceptions ? WaitForTasks::Until::all_done : WaitForTasks::Until::first_error,
                WaitForTasks::Cancelling::cancels, count),
          return_exceptions_(return_exceptions) {}
    ~GatherWait() = default;
    void finish_wait(wait::Agent& me) {
        wait_.finish(me);
        TaskBase* const failed = wait_.first_error();
        if (return_exceptions_ || !failed) return;
        failed->mark_error_seen();
        std::rethrow_exception(failed->stored_error());
    }
    WaitForTasks wait_;

  private:
    const bool return_exceptions_;
};

template <bool with_exceptions, class... T>
class GatherTuple final : public GatherWait {
  public:
    GatherTuple(const std::tuple<Task<T>...>& tasks, bool return_exceptions)
        : GatherWait(sizeof...(T), return_exceptions), tasks_(tasks) {
        std::size_t i = 0;
        std::apply([&](const auto&... t) { (wait_.set_task(i++, t), ...); }, tasks_);
    }
    auto finish(wait::Agent& me) {
        finish_wait(me);
        return std::apply(
            [](const auto&... t) {
                if constexpr (with_exceptions)
                    return std::tuple<Result<T>...>(take_outcome(t)...);
                else
                    return std::tuple<gathered_t<T>...>(take_gathered(t)...);
            },
            tasks_);
    }

  private:
    const std::tuple<Task<T>...>& tasks_;
};

template <bool with_exceptions, class T>
class GatherVector final : public GatherWait {
  public:
    GatherVector(const std::vector<Task<T>>& tasks, bool return_exceptions)
        : GatherWait(tasks.size(), return_exceptions), tasks_(tasks) {
        std::size_t i = 0;
        for (const auto& t : tasks) wait_.set_task(i++, t);
    }
    auto finish(wait::Agent& me) {
        finish_wait(me);
        if constexpr (with_exceptions) {
            std::vector<Result<T>> all;
            all.reserve(tasks_.size());
            for (const auto& t : tasks_) all.push_back(take_outcome(t));
            return all;
        } else if constexpr (!std::is_void_v<T>) {
            static_assert(!std::is_reference_v<T>, "gather of a range: a vector can't hold references");
            std::vector<T> all;
            all.reserve(tasks_.size());
            for (const auto& t : tasks_) all.push_back(take_result(t));
            return all;
        }
    }

  private:
    const std::vector<Task<T>>& tasks_;
};

} // namespace detail

/// What gather() gives: the tasks run already; co_await it, once, for their results.
template <class Tasks, class Op>
class [[nodiscard]] Gather {
  public:
    Gather(Tasks tasks, bool return_exceptions) : tasks_(std::move(tasks)), return_exceptions_(return_exceptions) {}

    sync::Awaitable<Op> operator co_await() const { return sync::Awaitable<Op>(forever, tasks_, return_exceptions_); }
    /// Cancels all that are not done. False when there are none.
    bool cancel(std::string_view message = {}) const { // NOLINT(modernize-use-nodiscard)
        bool any = false;
        for_each([&](const TaskRef& t) { any = t.cancel(message) || any; });
        return any;
    }
    [[nodiscard]] bool done() const {
        bool all = true;
        for_each([&](const TaskRef& t) { all = all && t.done(); });
        return all;
    }
    /// A tuple, or a vector, of Task.
    [[nodiscard]] const Tasks& tasks() const noexcept { return tasks_; }

  private:
    template <class F>
    void for_each(F f) const {
        if constexpr (requires { tasks_.begin(); })
            for (const auto& t : tasks_) f(t);
        else
            std::apply([&](const auto&... t) { (f(t), ...); }, tasks_);
    }
    Tasks tasks_;
    bool return_exceptions_;
};

namespace detail {

template <class R>
concept GatherableRange = std::ranges::input_range<R> && !Gatherable<R>;

template <bool with_exceptions, class... A>
auto gather_tuple(bool return_exceptions, A&&... awaitables) {
    using Tasks = std::tuple<Task<result_of_t<A>>...>;
    using Op = GatherTuple<with_exceptions, result_of_t<A>...>;
    return Gather<Tasks, Op>(Tasks{ensure_task(std::forward<A>(awaitables))...}, return_exceptions);
}
template <bool with_exceptions, class R>
auto gather_range(bool return_exceptions, R&& range) {
    using A = std::ranges::range_value_t<R>;
    using T = result_of_t<A>;
    std::vector<Task<T>> tasks;
    if constexpr (std::ranges::sized_range<R>) tasks.reserve(std::ranges::size(range));
    for (auto&& awaitable : range) {
        if constexpr (std::is_lvalue_reference_v<R> || std::ranges::view<std::remove_cvref_t<R>>)
            tasks.push_back(ensure_task(std::forward<decltype(awaitable)>(awaitable)));
        else
            tasks.push_back(ensure_task(std::move(awaitable)));
    }
    return Gather<std::vector<Task<T>>, GatherVector<with_exceptions, T>>(std::move(tasks), return_exceptions);
}

} // namespace detail

/// Runs awaitables side by side and gives all their results, in the order of the arguments.        Python: asyncio.gather
///
///     auto [page, users] = co_await gather(fetch(url), count_users());
///     std::vector<int> all = co_await gather(std::move(coros));
///
/// Takes Coros, tasks, Futures, sleep(), async_ calls (`queue.async_get()`) and coroutine functions (lambdas, which are kept while
/// they run); or a range of one of these.
/// A tuple with std::monostate for void; for a range a vector, or nothing for void. What is given twice is awaited once, and its
/// result copied.
///
/// The first error goes out, and the others run on: their errors are told to the loop's exception handler. With
/// `{.return_exceptions = true}` all are waited for, and each element is a Result. If children are not to outlive an error, use
/// TaskGroup.
///
/// Cancel    Of who awaits: all children are cancelled, and CancelledError is thrown once all of them have ended. A child that is
///           cancelled by others is an error, CancelledError, of that child alone.
/// Order     Tasks start in the order of the arguments, in the loop's next turn.
/// Source    Python 3.13, whose gather() throws CancelledError at the first child that has ended.
template <class... A>
requires(detail::Gatherable<A>&&...) auto gather(A&&... awaitables) {
    return detail::gather_tuple<false>(false, std::forward<A>(awaitables)...);
}
template <detail::GatherableRange R>
auto gather(R&& range) {
    return detail::gather_range<false>(false, std::forward<R>(range));
}
template <detail::GatherableRange R>
auto gather(R&& range, GatherOptions options) {
    return detail::gather_range<true>(options.return_exceptions, std::forward<R>(range));
}
// The options come last, in braces: so the arguments are counted.
template <detail::Gatherable A>
auto gather(A&& a, GatherOptions options) {
    return detail::gather_tuple<true>(options.return_exceptions, std::forward<A>(a));
}
template <detail::Gatherable A, detail::Gatherable B>
auto gather(A&& a, B&& b, GatherOptions options) {
    return detail::gather_tuple<true>(options.return_exceptions, std::forward<A>(a), std::forward<B>(b));
}
template <detail::Gatherable A, detail::Gatherable B, detail::Gatherable C>
auto gather(A&& a, B&& b, C&& c, GatherOptions options) {
    return detail::gather_tuple<true>(options.return_exceptions, std::forward<A>(a), std::forward<B>(b),
                                      std::forward<C>(c));
}
template <detail::Gatherable A, detail::Gatherable B, detail::Gatherable C, detail::Gatherable D>
auto gather(A&& a, B&& b, C&& c, D&& d, GatherOptions options) {
    return detail::gather_tuple<true>(options.return_exceptions, std::forward<A>(a), std::forward<B>(b),
                                      std::forward<C>(c), std::forward<D>(d));
}
/// The same for any number: gather(GatherOptions{.return_exceptions = true}, a, b, ...).
template <class... A>
requires(detail::Gatherable<A>&&...) auto gather(GatherOptions options, A&&... awaitables) {
    return detail::gather_tuple<true>(options.return_exceptions, std::forward<A>(awaitables)...);
}

} // namespace sennit::asyncio
