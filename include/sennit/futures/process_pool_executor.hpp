#pragma once

#include <sennit/futures/pool.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace sennit::futures {

struct ProcessPoolExecutorOptions {
    std::string mp_context = {}; ///< "forkserver", "spawn" or "fork"; empty: what set_start_method() says
    /// Runs first in each worker; with arguments: `.initializer = {prepare, 1, "two"}`.
    multiprocessing::Initializer initializer = {};
    std::size_t max_tasks_per_child = 0; ///< a worker is replaced after so many; 0: never
    /// As in multiprocessing::ProcessPoolOptions.
    std::chrono::nanoseconds task_timeout{0};
    std::uint64_t memory_limit = 0;
    std::uint32_t retries = 0;
};

/// Calls functions in other processes.                    Python: concurrent.futures.ProcessPoolExecutor
///
///     ProcessPoolExecutor pool(2);
///     Future<int> answer = pool.submit([](int a, int b) { return a * b; }, 6, 7);
///     for (double area : pool.map(measure, files)) show(area);
///
/// The face of an Executor, without being one: what is behind an Executor& is a callable of this process, and can't travel.
/// Functions travel as multiprocessing/entry.hpp says, arguments and results as cargo.hpp does. Workers start as they are needed.
///
/// A worker that dies costs its own task: that throws WorkerDied, and the pool goes on (Python's is broken then, and all its
/// futures fail). It is broken (BrokenExecutor) only when workers can't start.
///
/// Agents    Every member, at the same time, from anywhere.
/// Cancel    cancel() also ends a submit() that runs, with its worker, which is replaced; of map(), what no worker has been given.
/// Lifetime  The destructor waits for all that was submitted, as shutdown() does.
/// Cost      As multiprocessing::Pool.
class ProcessPoolExecutor {
  public:
    /// As many workers as this process may use processors.
    ProcessPoolExecutor();
    /// Throws UsageError for 0.
    explicit ProcessPoolExecutor(std::size_t max_workers, ProcessPoolExecutorOptions options = {});
    ~ProcessPoolExecutor();
    ProcessPoolExecutor(const ProcessPoolExecutor&) = delete;
    ProcessPoolExecutor& operator=(const ProcessPoolExecutor&) = delete;

    /// f(args...) in a worker. Throws UsageError after shutdown(). Never waits.
    template <class F, class... Args>
    auto submit(F&& f, const Args&... args) {
        using multiprocessing::Shipped;
        namespace detail = multiprocessing::detail;
        using R = detail::call_result_t<std::decay_t<F>, Shipped<Args>...>;
        auto* const task = detail::submit_call<std::decay_t<F>, Shipped<Args>...>(*pool_, false, f,
                                                                                  multiprocessing::as_shipped(args)...);
        return sync::Future<R>(static_cast<sync::FutureState<R>*>(task));
    }

    /// f(element, ...) for the elements of one or more ranges, in step, until the shortest ends; the results come in the order of the
    /// elements. See Executor::map.
    template <class F, std::ranges::input_range A>
    auto map(F f, A&& a, sync::MapOptions options = {}) {
        return map_views(options, std::move(f), std::views::all(std::forward<A>(a)));
    }
    template <class F, std::ranges::input_range A, std::ranges::input_range B>
    auto map(F f, A&& a, B&& b, sync::MapOptions options = {}) {
        return map_views(options, std::move(f), std::views::all(std::forward<A>(a)),
                         std::views::all(std::forward<B>(b)));
    }
    template <class F, std::ranges::input_range A, std::ranges::input_range B, std::ranges::input_range C>
    auto map(F f, A&& a, B&& b, C&& c, sync::MapOptions options = {}) {
        return map_views(options, std::move(f), std::views::all(std::forward<A>(a)),
                         std::views::all(std::forward<B>(b)), std::views::all(std::forward<C>(c)));
    }

    using ShutdownOptions = sync::Executor::ShutdownOptions;
    /// No more submit(). With `wait` it returns when all is done and the workers have ended. Twice is as once.
    void shutdown(ShutdownOptions options);
    void shutdown() { shutdown(ShutdownOptions{}); }
    /// The twin for coroutines, which waits.
    sync::Awaitable<sync::Event::WaitOp> async_shutdown(ShutdownOptions options = {true, false});
    /// Kills the workers; what is not done is cancelled.                    Python 3.14: kill_workers
    void kill_workers();

    [[nodiscard]] std::size_t max_workers() const noexcept { return pool_->processes(); }
    [[nodiscard]] multiprocessing::PoolStatistics statistics() const { return pool_->statistics(); }
    /// The numbers of the workers that are alive and have begun.
    [[nodiscard]] std::vector<int> pids() const { return pool_->pids(); }

  private:
    // Goes through the ranges in step and submits a job for each `chunksize` elements.
    template <class R, class F, class... Views>
    class Source final : public sync::MapResults<R>::Source {
        using Element = std::tuple<multiprocessing::detail::element_of<Views>...>;
        using Chunk = sync::detail::Chunk<R>;
        using Task = multiprocessing::detail::PoolTask<Chunk, multiprocessing::detail::ReadChunk<R>>;

      public:
        Source(std::shared_ptr<multiprocessing::detail::WorkerPool> pool, std::size_t chunksize, F f, Views... views)
            : pool_(std::move(pool)), chunksize_(chunksize), f_(std::move(f)), views_(std::move(views)...) {
            std::apply([&](auto&... v) { at_.emplace(std::ranges::begin(v)...); }, views_);
        }
        std::optional<sync::Future<Chunk>> submit() override {
            namespace detail = multiprocessing::detail;
            std::vector<Element> elements;
            // The shortest range ends it. The iterators move on only when the next element is wanted.
            while (elements.size() < chunksize_) {
                if (started_) std::apply([](auto&... i) { (static_cast<void>(++i), ...); }, *at_);
                started_ = false;
                if (at_end(std::index_sequence_for<Views...>())) break;
                started_ = true;
                std::apply([&](auto&... i) { elements.emplace_back(*i...); }, *at_);
            }
            if (elements.empty()) return std::nullopt;
            auto* const task = detail::submit_packed<Task>(
                *pool_, &detail::ManyCalls<true, F, Element>::run_each,
                [&](multiprocessing::CargoWriter& to) { detail::pack_elements<true>(to, f_, elements); });
            return sync::Future<Chunk>(static_cast<sync::FutureState<Chunk>*>(task));
        }

      private:
        template <std::size_t... I>
        bool at_end(std::index_sequence<I...>) {
            return ((std::get<I>(*at_) == std::ranges::end(std::get<I>(views_))) || ...);
        }
        std::shared_ptr<multiprocessing::detail::WorkerPool> pool_;
        std::size_t chunksize_;
        F f_;
        std::tuple<Views...> views_;
        std::optional<std::tuple<std::ranges::iterator_t<Views>...>> at_;
        bool started_ = false; // at_ stands on an element that was used
    };
    template <class F, class... Views>
    auto map_views(const sync::MapOptions& options, F f, Views... views) {
        using R = multiprocessing::detail::call_result_t<F, multiprocessing::detail::element_of<Views>...>;
        if (options.chunksize < 1) sync::detail::throw_bad_map_option("chunksize");
        if (options.buffersize && *options.buffersize < 1) sync::detail::throw_bad_map_option("buffersize");
        return sync::MapResults<R>(
            std::make_unique<Source<R, F, Views...>>(pool_, options.chunksize, std::move(f), std::move(views)...),
            options);
    }

    std::shared_ptr<multiprocessing::detail::WorkerPool> pool_;
};

} // namespace sennit::futures
