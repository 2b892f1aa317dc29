#pragma once

#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/asyncio/wait_for_tasks.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/sync/awaitable.hpp>

#include <concepts>
#include <cstdint>
#include <ranges>
#include <utility>
#include <vector>

namespace sennit::asyncio {

enum class ReturnWhen : std::uint8_t { first_completed, first_exception, all_completed };
inline constexpr ReturnWhen FIRST_COMPLETED = ReturnWhen::first_completed;
inline constexpr ReturnWhen FIRST_EXCEPTION = ReturnWhen::first_exception; ///< a cancelled one is none, as in Python
inline constexpr ReturnWhen ALL_COMPLETED = ReturnWhen::all_completed;

struct WaitOptions {
    Deadline timeout = forever;
    ReturnWhen return_when = ALL_COMPLETED;
};

/// Each in the order in which they were given, without doubles. `Handle` is Task<T> or TaskRef.
template <class Handle>
struct DoneAndPending {
    std::vector<Handle> done;
    std::vector<Handle> pending;
};

namespace detail {

/// Throws UsageError when there are none, or one of another loop. Gives which of them did not occur before.
std::vector<bool> check_tasks_to_wait_for(const std::vector<const TaskRef*>& tasks, const char* call);

template <class Handle>
std::vector<Handle> distinct_tasks(std::vector<Handle> all, const char* call) {
    std::vector<const TaskRef*> refs;
    refs.reserve(all.size());
    for (const Handle& t : all) refs.push_back(&t);
    const std::vector<bool> first = check_tasks_to_wait_for(refs, call);
    std::vector<Handle> kept;
    kept.reserve(all.size());
    for (std::size_t i = 0; i < all.size(); ++i)
        if (first[i]) kept.push_back(std::move(all[i]));
    return kept;
}

WaitForTasks::Until until(ReturnWhen when) noexcept;

template <class Handle>
class WaitOp {
  public:
    WaitOp(std::vector<Handle> tasks, ReturnWhen when)
        : tasks_(std::move(tasks)),
          wait_(WaitForTasks::wait_site, until(when), WaitForTasks::Cancelling::leaves, tasks_.size()) {
        for (std::size_t i = 0; i < tasks_.size(); ++i) wait_.set_task(i, tasks_[i]);
    }
    bool try_now(Deadline deadline) noexcept { return wait_.try_now(deadline); }
    DoneAndPending<Handle> finish(wait::Agent& me) {
        wait_.finish(me);
        DoneAndPending<Handle> both;
        for (auto& t : tasks_) (t.done() ? both.done : both.pending).push_back(std::move(t));
        return both;
    }
    void set_continuation(void* handle_address) noexcept { wait_.set_continuation(handle_address); }
    operator wait::Wait&() noexcept { return wait_; } // NOLINT(google-explicit-constructor): what one suspends on

  private:
    std::vector<Handle> tasks_;
    WaitForTasks wait_;
};

template <class A>
concept Waitable = std::derived_from<std::remove_cvref_t<A>, TaskRef> || Gatherable<A>;
template <class A>
TaskRef ensure_ref(A&& awaitable) {
    if constexpr (std::derived_from<std::remove_cvref_t<A>, TaskRef>)
        return awaitable; // of whatever loop: the wait refuses another's
    else
        return ensure_task(std::forward<A>(awaitable));
}
template <class R>
concept RangeOfTasks = std::ranges::input_range<R> && std::derived_from<std::ranges::range_value_t<R>, TaskRef>;

} // namespace detail

/// Waits until all tasks are done, or the first one is, or the first one has failed, or the time is up: which is no error here.
/// Nothing is cancelled.                                                             Python: asyncio.wait
///
///     auto [done, pending] = co_await wait(tasks, {.timeout = 2s});
///     co_await wait(reader, writer);
///
/// Takes a range of Task<T> or TaskRef, of this loop; or a few of any types, and what else can be awaited gets a task: one that is
/// still pending goes on, so keep or cancel it. Throws UsageError for none.
///
/// Cancel    Of who waits: throws, the tasks go on.
/// Source    Python 3.13
template <detail::RangeOfTasks R>
auto wait(R&& tasks, WaitOptions options = {}) {
    using Handle = std::ranges::range_value_t<R>;
    std::vector<Handle> all;
    for (auto&& t : tasks) all.push_back(t);
    return sync::Awaitable<detail::WaitOp<Handle>>(options.timeout, detail::distinct_tasks(std::move(all), "wait"),
                                                   options.return_when);
}
/// For a few tasks of any types; gives them as TaskRefs. (Not a list in braces: GCC 12 can't have one in a co_await.)
template <class... A>
requires(detail::Waitable<A>&&...) auto wait(WaitOptions options, A&&... awaitables) {
    std::vector<TaskRef> all;
    (all.push_back(detail::ensure_ref(std::forward<A>(awaitables))), ...);
    return wait(std::move(all), options);
}
template <class... A>
requires(sizeof...(A) > 0 && (detail::Waitable<A> && ...)) auto wait(A&&... awaitables) {
    return wait(WaitOptions{}, std::forward<A>(awaitables)...);
}

} // namespace sennit::asyncio
