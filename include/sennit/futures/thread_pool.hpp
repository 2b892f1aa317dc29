#pragma once

#include <sennit/futures/async_result.hpp>
#include <sennit/futures/imap_results.hpp>
#include <sennit/futures/thread_pool_executor.hpp>
#include <sennit/sync/lock.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace sennit::multiprocessing::pool {

struct PoolOptions {
    std::function<void()> initializer = {}; ///< runs first in each worker; when it throws, the pool is broken
    std::string thread_name_prefix = {};    ///< "": ThreadPoolExecutor-N
};

namespace detail {

/// How a call of F with these ends, when it is one of many.
template <class F, class... A>
using each_t = sync::detail::map_value_t<std::invoke_result_t<F&, A...>>;

/// f(element), or for starmap f(elements of a tuple...).
template <bool Star, class F, class E>
decltype(auto) call(F& f, E&& element) {
    if constexpr (Star)
        return std::apply(f, std::forward<E>(element));
    else
        return std::invoke(f, std::forward<E>(element));
}
template <bool Star, class F, class E>
using call_t = decltype(call<Star>(std::declval<F&>(), std::declval<E>()));

[[noreturn]] void throw_bad_chunksize();
/// Python's choice: four tasks a worker.
std::size_t default_chunksize(std::size_t elements, std::size_t workers) noexcept;

/// The callbacks of one pool, one at a time.
class Callbacks {
  public:
    /// Runs f. What it throws is reported.
    void run(const std::function<void()>& f) noexcept;

  private:
    sync::Lock lock_;
};

/// A map in progress: results by index, the error of the first element that failed, and what is still to do.
template <bool Star, class F, class E>
class MapJob : public std::enable_shared_from_this<MapJob<Star, F, E>> {
    using R = call_t<Star, F, E>;
    using Value = sync::detail::map_value_t<R>;
    using Slot = typename sync::detail::Chunk<R>::Slot;

  public:
    using Result = std::vector<Value>;
    MapJob(F f, std::vector<E> elements, AsyncOptions<Result> options, std::shared_ptr<Callbacks> callbacks)
        : f_(std::move(f)),
          elements_(std::move(elements)),
          slots_(elements_.size()),
          options_(std::move(options)),
          callbacks_(std::move(callbacks)) {}

    sync::Future<Result> start(futures::ThreadPoolExecutor& executor, std::size_t chunksize) {
        const std::size_t n = elements_.size(), tasks = (n + chunksize - 1) / chunksize;
        left_.store(tasks + 1, memory_order_relaxed); // one for ourselves; the tasks see it by their submission
        auto self = this->shared_from_this();
        try {
            for (std::size_t i = 0; i < tasks; ++i) {
                const std::size_t begin = i * chunksize, end = std::min(n, begin + chunksize);
                executor.submit([self, begin, end] { self->run(begin, end); })
                    .add_done_callback([self, begin](const sync::Future<void>& f) { self->one_done(f, begin); });
            }
        } catch (...) {
            // Not all could be submitted: those that were still run, and nobody waits for them.
            abandoned_.store(true, memory_order_relaxed); // a hint: saves the work
            throw;
        }
        finish_one();
        return future_;
    }

  private:
    void run(std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end && !abandoned_.load(memory_order_relaxed); ++i) {
            try {
                if constexpr (std::is_void_v<R>) {
                    call<Star>(f_, std::move(elements_[i]));
                    slots_[i].emplace();
                } else {
                    slots_[i].emplace(Slot{call<Star>(f_, std::move(elements_[i]))});
                }
            } catch (...) {
                failed(i, std::current_exception());
            }
        }
    }
    // A task never throws; one that was cancelled, or whose pool broke, did not run.
    void one_done(const sync::Future<void>& task, std::size_t begin) {
        if (task.cancelled())
            failed(begin, std::make_exception_ptr(CancelledError("the pool was terminated before this was done")));
        else if (auto error = task.exception())
            failed(begin, error);
        finish_one();
    }
    void failed(std::size_t i, std::exception_ptr error) {
        os::MutexGuard guard(mutex_);
        if (error_ && first_failed_ <= i) return;
        first_failed_ = i;
        error_.swap(error); // the former dies after the guard
    }
    void finish_one() {
        // acq_rel: the last one sees what all have stored.
        if (left_.fetch_sub(1, memory_order_acq_rel) != 1) return;
        if (error_) {
            if (options_.error_callback) callbacks_->run([this] { options_.error_callback(error_); });
            future_.set_exception(std::move(error_));
        } else {
            Result all;
            all.reserve(slots_.size());
            for (auto& s : slots_) all.push_back(static_cast<Value&&>(s->value));
            if (options_.callback) callbacks_->run([&] { options_.callback(all); });
            future_.set_result(std::move(all));
        }
    }

    F f_;
    std::vector<E> elements_;
    std::vector<std::optional<Slot>> slots_;
    AsyncOptions<Result> options_;
    std::shared_ptr<Callbacks> callbacks_;
    sync::Future<Result> future_;
    atomic<std::size_t> left_{0};
    atomic<bool> abandoned_{false};
    os::Mutex mutex_;
    std::exception_ptr error_; // under mutex_ until all are done
    std::size_t first_failed_ = 0;
};

template <class R, class F, class View>
class ImapSource final : public ImapResults<R>::Source {
    using E = std::ranges::range_value_t<View>;
    using Outcomes = multiprocessing::detail::Outcomes<R>;

  public:
    ImapSource(std::shared_ptr<futures::ThreadPoolExecutor> executor, F f, View view, std::size_t chunksize)
        : executor_(std::move(executor)),
          f_(std::make_shared<F>(std::move(f))),
          view_(std::move(view)),
          chunksize_(chunksize),
          at_(std::ranges::begin(view_)) {}
    std::optional<sync::Future<Outcomes>> submit() override {
        if (thrown_) std::rethrow_exception(thrown_);
        std::vector<E> elements;
        try {
            while (elements.size() < chunksize_) {
                if (started_) ++at_;
                started_ = false;
                if (at_ == std::ranges::end(view_)) break;
                started_ = true;
                elements.emplace_back(*at_);
            }
        } catch (...) {
            thrown_ = std::current_exception();
            if (elements.empty()) throw;
        }
        if (elements.empty()) return std::nullopt;
        return executor_->submit([f = f_, elements = std::move(elements)]() mutable {
            Outcomes outcomes;
            for (E& e : elements) {
                auto& outcome = outcomes.all.emplace_back();
                try {
                    if constexpr (std::is_void_v<R>) {
                        std::invoke(*f, std::move(e));
                        outcome.slot.emplace();
                    } else {
                        outcome.slot.emplace(typename sync::detail::Chunk<R>::Slot{std::invoke(*f, std::move(e))});
                    }
                } catch (...) {
                    outcome.error = std::current_exception();
                }
            }
            return outcomes;
        });
    }

  private:
    std::shared_ptr<futures::ThreadPoolExecutor> executor_;
    std::shared_ptr<F> f_; // one for all tasks, which may call it at the same time
    View view_;
    std::size_t chunksize_;
    std::ranges::iterator_t<View> at_;
    bool started_ = false;
    std::exception_ptr thrown_;
};

} // namespace detail

/// The face of Pool on threads.                           Python: multiprocessing.pool.ThreadPool
///
///     ThreadPool pool(4);
///     std::vector<int> squares = pool.map([](int x) { return x * x; }, std::views::iota(0, 10));
///     auto later = pool.apply_async(work, std::tuple(1, 2), {.callback = [](int result) { show(result); }});
///     pool.close();
///     pool.join();
///
/// It works on a ThreadPoolExecutor: what that says of threads, nested waits and cost holds here.
///
/// Agents    Every member, at the same time, from anywhere.
/// Blocks    apply, map, starmap and join park the agent.
/// Errors    map and starmap run all elements, and then throw the error of the first one that failed.
/// Lifetime  The destructor terminates: what has not begun is cancelled (get() throws CancelledError), what runs is waited for.
class ThreadPool {
  public:
    /// As many workers as this process may use processors.
    ThreadPool();
    /// Throws UsageError for 0.
    explicit ThreadPool(std::size_t processes, PoolOptions options = {});
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    /// f(args...) in a worker; waits for the result.
    template <class F, class... Args>
    auto apply(F&& f, Args&&... args) {
        return executor_->submit(std::forward<F>(f), std::forward<Args>(args)...).result();
    }

    /// f(args of the tuple...) in a worker, later.
    template <class F, class... Args, class R = std::invoke_result_t<F&, Args...>>
    AsyncResult<R> apply_async(F f, std::tuple<Args...> args = {}, std::type_identity_t<AsyncOptions<R>> options = {}) {
        return apply_later<R>(std::move(f), std::move(args), std::move(options));
    }

    /// f(element) for each; the results in order. `chunksize` elements make a task; 0, the default: four tasks a worker.
    template <class F, std::ranges::input_range A>
    auto map(F f, A&& elements, std::size_t chunksize = 0) {
        auto all = map_some<false>(std::move(f), std::forward<A>(elements), chunksize, {});
        return std::move(all.get()); // nobody else has it
    }
    template <class F, std::ranges::input_range A, class R = detail::each_t<F, std::ranges::range_value_t<A>>>
    AsyncResult<std::vector<R>> map_async(F f, A&& elements, std::size_t chunksize = 0,
                                          std::type_identity_t<AsyncOptions<std::vector<R>>> options = {}) {
        return map_some<false>(std::move(f), std::forward<A>(elements), chunksize, std::move(options));
    }
    /// f(elements of a tuple...) for each tuple.
    template <class F, std::ranges::input_range A>
    auto starmap(F f, A&& tuples, std::size_t chunksize = 0) {
        auto all = map_some<true>(std::move(f), std::forward<A>(tuples), chunksize, {});
        return std::move(all.get()); // nobody else has it
    }
    template <class F, std::ranges::input_range A,
              class R = sync::detail::map_value_t<detail::call_t<true, F, std::ranges::range_value_t<A>>>>
    AsyncResult<std::vector<R>> starmap_async(F f, A&& tuples, std::size_t chunksize = 0,
                                              std::type_identity_t<AsyncOptions<std::vector<R>>> options = {}) {
        return map_some<true>(std::move(f), std::forward<A>(tuples), chunksize, std::move(options));
    }

    /// As map, one result after the other as they are fetched, in order; for long and endless ranges. The range lives as long
    /// as the results. Throws UsageError for a chunksize of 0.
    template <class F, std::ranges::input_range A>
    auto imap(F f, A&& elements, std::size_t chunksize = 1) {
        return imap_some(std::move(f), std::forward<A>(elements), chunksize, true);
    }
    /// The same, each as it is done.
    template <class F, std::ranges::input_range A>
    auto imap_unordered(F f, A&& elements, std::size_t chunksize = 1) {
        return imap_some(std::move(f), std::forward<A>(elements), chunksize, false);
    }

    /// No more work is taken; what was given is done.
    void close();
    /// The same, and what has not begun is cancelled.
    void terminate();
    /// Waits until the workers have ended. Throws UsageError before close() or terminate().
    void join();
    sync::Awaitable<futures::ThreadPoolExecutor::ShutdownOp> async_join();

    /// The executor below.
    [[nodiscard]] futures::ThreadPoolExecutor& executor() noexcept { return *executor_; }

  private:
    template <class R, class F, class... Args>
    AsyncResult<R> apply_later(F f, std::tuple<Args...> args, AsyncOptions<R> options) {
        if (!options.callback && !options.error_callback)
            return AsyncResult<R>(executor_->submit(
                [f = std::move(f), args = std::move(args)]() mutable -> R { return std::apply(f, std::move(args)); }));
        // By hand: who gets the result has to find the callbacks done.
        sync::Future<R> later;
        auto told = std::make_shared<AsyncOptions<R>>(std::move(options));
        const auto fail = [later, told, callbacks = callbacks_](std::exception_ptr error) {
            if (told->error_callback) callbacks->run([&] { told->error_callback(error); });
            later.set_exception(std::move(error));
        };
        executor_
            ->submit(
                [f = std::move(f), args = std::move(args)]() mutable -> R { return std::apply(f, std::move(args)); })
            .add_done_callback([later, told, fail, callbacks = callbacks_](sync::Future<R> done) {
                if (done.cancelled()) {
                    later.cancel();
                } else if (auto error = done.exception()) {
                    fail(error);
                } else if constexpr (std::is_void_v<R>) {
                    if (told->callback) callbacks->run(told->callback);
                    later.set_result();
                } else {
                    auto& result = done.result();
                    if (told->callback) callbacks->run([&] { told->callback(result); });
                    later.set_result(static_cast<R&&>(result));
                }
            });
        return AsyncResult<R>(later, callbacks_.get());
    }
    template <bool Star, class F, class A, class E = std::ranges::range_value_t<A>,
              class Result = typename detail::MapJob<Star, F, E>::Result>
    AsyncResult<Result> map_some(F f, A&& range, std::size_t chunksize,
                                 std::type_identity_t<AsyncOptions<Result>> options) {
        std::vector<E> elements;
        if constexpr (std::ranges::sized_range<A>) elements.reserve(static_cast<std::size_t>(std::ranges::size(range)));
        for (auto&& e : range) {
            if constexpr (std::is_lvalue_reference_v<A> || std::ranges::view<std::remove_cvref_t<A>>)
                elements.emplace_back(std::forward<decltype(e)>(e));
            else
                elements.emplace_back(std::move(e));
        }
        if (chunksize == 0) chunksize = detail::default_chunksize(elements.size(), executor_->max_workers());
        const void* const told = options.callback || options.error_callback ? callbacks_.get() : nullptr;
        auto job = std::make_shared<detail::MapJob<Star, F, E>>(std::move(f), std::move(elements), std::move(options),
                                                                callbacks_);
        return AsyncResult<Result>(job->start(*executor_, chunksize), told);
    }
    template <class F, class A>
    auto imap_some(F f, A&& range, std::size_t chunksize, bool ordered) {
        if (chunksize < 1) detail::throw_bad_chunksize();
        using View = std::views::all_t<A>;
        using R = std::invoke_result_t<F&, std::ranges::range_value_t<View>>;
        // Enough that no worker waits for who fetches the results.
        const std::size_t ahead = std::max<std::size_t>(64, 4 * executor_->max_workers());
        return ImapResults<R>(std::make_unique<detail::ImapSource<R, F, View>>(
                                  executor_, std::move(f), std::views::all(std::forward<A>(range)), chunksize),
                              ordered, ahead);
    }

    void check_closed() const;

    std::shared_ptr<futures::ThreadPoolExecutor> executor_;
    std::shared_ptr<detail::Callbacks> callbacks_;
    atomic<bool> closed_{false};
};

} // namespace sennit::multiprocessing::pool
