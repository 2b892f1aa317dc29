#pragma once

#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/gather.hpp>
#include <sennit/asyncio/wait_for_tasks.hpp>
#include <sennit/sync/awaitable.hpp>

#include <utility>

namespace sennit::asyncio {

/// What shield() gives: co_await it for the result of the task.
template <class T>
class [[nodiscard]] Shield {
  public:
    explicit Shield(Task<T> task) noexcept : task_(std::move(task)) {}
    class Op {
      public:
        explicit Op(Task<T> task)
            : task_(std::move(task)),
              wait_(detail::WaitForTasks::shield_site, detail::WaitForTasks::Until::all_done,
                    detail::WaitForTasks::Cancelling::leaves, 1) {
            wait_.set_task(0, task_);
        }
        bool try_now(Deadline deadline) noexcept { return wait_.try_now(deadline); }
        T finish(wait::Agent& me) {
            wait_.finish(me);
            return detail::take_result(task_);
        }
        void set_continuation(void* handle_address) noexcept { wait_.set_continuation(handle_address); }
        operator wait::Wait&() noexcept { return wait_; } // NOLINT(google-explicit-constructor): what one suspends on

      private:
        Task<T> task_;
        detail::WaitForTasks wait_;
    };
    sync::Awaitable<Op> operator co_await() const& { return sync::Awaitable<Op>(forever, task_); }
    sync::Awaitable<Op> operator co_await() && { return sync::Awaitable<Op>(forever, std::move(task_)); }
    [[nodiscard]] const Task<T>& task() const noexcept { return task_; }

  private:
    Task<T> task_;
};

/// Waits for an awaitable without handing a cancellation on to it.                   Python: asyncio.shield
///
///     co_await shield(commit(transaction));
///
/// When who waits is cancelled, CancelledError is thrown there and the inner task goes on. If it fails later, and nobody has looked
/// at its error, that is told to the loop's exception handler. An inner one that is cancelled by others throws here as ever.
///
/// Lifetime  What it refers to must outlive the inner task, not only the wait: give it values, not references to this frame.
/// Source    Python 3.14, where later errors are reported
template <class A>
auto shield(A&& awaitable) {
    return Shield<detail::result_of_t<A>>(ensure_task(std::forward<A>(awaitable)));
}

} // namespace sennit::asyncio
