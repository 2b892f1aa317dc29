#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/ensure_task.hpp>
#include <sennit/asyncio/gather.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/asyncio/wait.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/sync/semaphore.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

namespace sennit::asyncio {

namespace detail {

/// Tells the numbers of tasks in the order in which they end.
class CompletionOrder {
  public:
    explicit CompletionOrder(std::size_t count);
    ~CompletionOrder();
    CompletionOrder(const CompletionOrder&) = delete;
    CompletionOrder& operator=(const CompletionOrder&) = delete;
    void watch(std::size_t index, const TaskRef& task);
    /// The number of the next one; nullopt when all were given out. Throws TimeoutError at the deadline.
    Coro<std::optional<std::size_t>> next(Deadline deadline);
    [[nodiscard]] std::size_t left() const noexcept { return count_ - claimed_; }

  private:
    struct Link final : TaskObserver {
        void on_done(TaskBase&) noexcept override { owner->told(index); }
        CompletionOrder* owner = nullptr;
        TaskRef task;
        std::size_t index = 0;
    };
    void told(std::size_t index) noexcept;
    std::unique_ptr<Link[]> links_;
    std::unique_ptr<std::size_t[]> order_; // of those that are done
    const std::size_t count_;
    std::size_t done_ = 0, given_ = 0;
    std::size_t claimed_ = 0; // given, or waited for
    sync::Semaphore ready_{0};
};

} // namespace detail

/// What as_completed() gives: tasks in the order in which they end.
template <class T>
class AsCompleted {
    struct State {
        State(std::vector<Task<T>> all, Deadline until) : tasks(std::move(all)), order(tasks.size()), deadline(until) {
            for (std::size_t i = 0; i < tasks.size(); ++i) order.watch(i, tasks[i]);
        }
        std::vector<Task<T>> tasks;
        detail::CompletionOrder order;
        Deadline deadline;
    };

  public:
    AsCompleted(std::vector<Task<T>> tasks, Deadline deadline)
        : state_(std::make_unique<State>(std::move(tasks), deadline)) {}

    /// The task that ends next: one of those given, done. nullopt after the last one. Throws TimeoutError at the deadline.
    Coro<std::optional<Task<T>>> async_next() {
        State& s = *state_;
        const std::optional<std::size_t> i = co_await s.order.next(s.deadline);
        if (!i) co_return std::nullopt;
        co_return std::move(s.tasks[*i]);
    }

    /// What `for (auto&& next : as_completed(...))` gives: co_await it for the result of the task that ends next.
    class Next {
      public:
        explicit Next(State& state) noexcept : state_(&state) {}
        auto operator co_await() const { return result(*state_).operator co_await(); }

      private:
        static Coro<T> result(State& s) {
            const std::optional<std::size_t> i = co_await s.order.next(s.deadline);
            Task<T> task = std::move(s.tasks[i.value()]);
            co_return detail::take_result(task);
        }
        State* state_;
    };
    class iterator {
      public:
        using value_type = Next;
        using difference_type = std::ptrdiff_t;
        iterator(State& state, std::size_t left) noexcept : state_(&state), left_(left) {}
        Next operator*() const noexcept { return Next(*state_); }
        iterator& operator++() noexcept {
            --left_;
            return *this;
        }
        void operator++(int) noexcept { --left_; }
        friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.left_ == 0; }

      private:
        State* state_;
        std::size_t left_;
    };
    [[nodiscard]] iterator begin() const noexcept { return iterator(*state_, state_->order.left()); }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  private:
    std::unique_ptr<State> state_;
};

/// The results of awaitables in the order in which they come.                       Python: asyncio.as_completed
///
///     for (auto&& next : as_completed(std::move(coros), 10s)) show(co_await next);
///
///     auto tasks = as_completed(fetches);
///     while (auto task = co_await tasks.async_next()) show(task->name(), task->result());
///
/// Takes a range of Coros, tasks, Futures, async_ calls or coroutine functions; they run from now on. Awaiting throws what the task threw, and
/// TimeoutError at the deadline; the tasks go on then.
///
/// Lifetime  Dies on the loop's thread. What has been given by a loop is awaited before that.
/// Source    Python 3.13
template <detail::GatherableRange R>
auto as_completed(R&& range, Deadline timeout = forever) {
    using T = detail::result_of_t<std::ranges::range_value_t<R>>;
    std::vector<Task<T>> tasks;
    for (auto&& awaitable : range) {
        if constexpr (std::is_lvalue_reference_v<R> || std::ranges::view<std::remove_cvref_t<R>>)
            tasks.push_back(ensure_task(std::forward<decltype(awaitable)>(awaitable)));
        else
            tasks.push_back(ensure_task(std::move(awaitable)));
    }
    if (!tasks.empty()) tasks = detail::distinct_tasks(std::move(tasks), "as_completed");
    return AsCompleted<T>(std::move(tasks), timeout);
}

} // namespace sennit::asyncio
