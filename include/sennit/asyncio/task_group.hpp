// Tasks that end together: no child outlives the group.
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/exception_group.hpp>
#include <sennit/sync/awaitable.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::asyncio {

class TaskGroup;

namespace detail {

template <class F>
concept GroupBody = std::is_invocable_v<F&, TaskGroup&> &&
    (std::is_void_v<std::invoke_result_t<F&, TaskGroup&>> || IsCoro<std::invoke_result_t<F&, TaskGroup&>>::value);
template <class G>
struct GroupResult {
    using type = void;
};
template <class T>
struct GroupResult<Coro<T>> {
    using type = T;
};

} // namespace detail

/// Tasks that begin in one scope and have all ended when it ends.          Python: asyncio.TaskGroup
///
///     co_await TaskGroup::run([&](TaskGroup& group) -> Coro<> {
///         group.create_task(copy(a, b));
///         group.create_task(copy(c, d));
///         co_return;
///     });
///     // both have ended, whatever happened
///
/// When a child fails, all others and the body are cancelled and waited for; then one ExceptionGroup has the errors of all. What the
/// body gives is what run() gives. A child that ends cancelled is no error. So children may hold references to what
/// lives in the frame around the group.
///
/// Agents    The task that runs it, and its children.
/// Blocks    run() suspends until the body and all children have ended.
/// Cancel    Of the task around it: children and body are cancelled; CancelledError goes on once they have ended, unless there are
///           errors: then the group of them, and the request stays with the task. Groups nest to any depth; none takes a
///           request that was not its own.
/// Order     Errors in the order in which the children ended.
/// Source    Python 3.13. Why a call with the body as its argument, see docs/decisions/0008.
class TaskGroup {
  public:
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;

    /// Runs body(group), a coroutine function or a plain one, then waits for all children. The body's captures live as long.
    /// Throws UsageError outside of a task.
    template <detail::GroupBody F>
    static auto run(F body) -> Coro<typename detail::GroupResult<std::invoke_result_t<F&, TaskGroup&>>::type> {
        using Given = std::invoke_result_t<F&, TaskGroup&>;
        using T = typename detail::GroupResult<Given>::type;
        TaskGroup group;
        detail::Slot<T> result;
        try {
            if constexpr (std::is_void_v<Given>)
                body(group);
            else if constexpr (std::is_void_v<T>)
                co_await body(group);
            else
                result.set_value(co_await body(group));
        } catch (...) {
            group.body_failed(std::current_exception());
        }
        co_await group.leave();
        if constexpr (!std::is_void_v<T>) co_return result.take();
    }

    /// A child: a coroutine, or a coroutine function with its arguments, which live in the task. Throws UsageError when the group is
    /// shutting down (a child failed, or it was cancelled) or has ended; the coroutine does not run then.
    template <class T>
    Task<T> create_task(Coro<T> coro, TaskOptions options = {}) {
        auto child = make_child();
        Task<T> task = create_task_on(loop_, std::move(coro), options);
        adopt(child, task);
        return task;
    }
    /// Any other awaitable: sleep(), `queue.async_get()`, a Future. See as_coro.
    template <detail::OtherAwaitable A>
    auto create_task(A&& awaitable, TaskOptions options = {}) {
        return create_task(as_coro(std::forward<A>(awaitable)), options);
    }
    template <class F, class... Args>
    requires detail::CoroFunction<F, Args...>
    auto create_task(F&& f, Args&&... args) {
        return create_task(TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    requires detail::CoroFunction<F, Args...>
    auto create_task(TaskOptions options, F&& f, Args&&... args) {
        auto child = make_child();
        auto task = create_task_on(loop_, options, std::forward<F>(f), std::forward<Args>(args)...);
        adopt(child, task);
        return task;
    }

    /// Cancels the children and the body; run() ends without an error of that. Twice is as once.      Python 3.15
    void cancel();
    /// How many have not ended.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    struct Child;
    struct DropChild {
        void operator()(Child* child) const noexcept;
    };
    using ChildPtr = std::unique_ptr<Child, DropChild>;

    class LeaveOp final : public wait::Wait {
      public:
        explicit LeaveOp(TaskGroup& group) noexcept : Wait(&group, leave_site), group_(group) {}
        bool try_now(Deadline) noexcept { return false; }
        bool step() noexcept override;
        void finish(wait::Agent&) { group_.finish(); }

      private:
        static const wait::WaitSite leave_site;
        TaskGroup& group_;
        bool waited_ = false;
    };

    TaskGroup();
    ~TaskGroup();
    ChildPtr make_child();
    void adopt(ChildPtr& child, const TaskRef& task) noexcept;
    void body_failed(std::exception_ptr error) noexcept { body_error_ = std::move(error); }
    sync::Awaitable<LeaveOp> leave() { return sync::Awaitable<LeaveOp>(forever, *this); }
    void child_done(Child& child) noexcept;
    void abort() noexcept;
    void begin_leaving() noexcept;
    void parent_was_cancelled() noexcept;
    void finish();

    TaskBase& parent_;
    EventLoop& loop_;
    base::IntrusiveList children_;
    std::size_t size_ = 0;
    std::vector<std::exception_ptr> errors_;
    std::exception_ptr body_error_;
    std::exception_ptr outer_cancel_;   // the CancelledError that goes on, if there are no errors
    std::exception_ptr pending_cancel_; // the last one that came while leaving
    LeaveOp* leaver_ = nullptr;         // waits
    bool leaving_ = false;
    bool aborting_ = false;
    bool parent_cancel_requested_ = false; // by this group: it takes that back
};

} // namespace sennit::asyncio
