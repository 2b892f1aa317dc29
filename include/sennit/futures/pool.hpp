#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/futures/process_jobs.hpp>
#include <sennit/sync/event.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace sennit::multiprocessing {

/// A function with its arguments that a worker runs first: packed, so what it throws where it can't be packed is thrown here.
/// Empty: nothing.
class Initializer {
  public:
    Initializer() = default;
    template <class F, class... Args>
    requires(!std::same_as<std::decay_t<F>, Initializer>)
        Initializer(F&& f, const Args&... args) // NOLINT(google-explicit-constructor): {.initializer = prepare}
        : entry_(&CallAndForget<std::decay_t<F>, Shipped<Args>...>::run), packed_(std::make_shared<CargoWriter>()) {
        Call<std::decay_t<F>, Shipped<Args>...>::pack_call(*packed_, std::decay_t<F>(std::forward<F>(f)),
                                                           as_shipped(args)...);
    }

  private:
    friend detail::WorkerPoolOptions& operator<<(detail::WorkerPoolOptions& to, const Initializer& from);
    Entry entry_ = nullptr;
    std::shared_ptr<CargoWriter> packed_;
};
detail::WorkerPoolOptions& operator<<(detail::WorkerPoolOptions& to, const Initializer& from);

struct ProcessPoolOptions {
    /// Runs first in each worker; with arguments: `.initializer = {prepare, 1, "two"}`. When it throws, or ends the worker, max(3,
    /// workers) times in a row, the pool is broken.
    Initializer initializer = {};
    /// A worker is replaced after so many tasks (chunks); 0: never.
    std::size_t maxtasksperchild = 0;
    /// "forkserver", "spawn" or "fork"; empty: what set_start_method() says.
    std::string context = {};
    /// A task that takes longer is ended with its worker and throws TimeoutError; so is a worker that takes longer, and 2 s at least, to
    /// begin or to end. 0: none.
    std::chrono::nanoseconds task_timeout{0};
    /// Bytes of memory that one worker may have; what asks for more gets std::bad_alloc. 0: no limit.
    std::uint64_t memory_limit = 0;
    /// So often is a task that its worker died with begun anew. 0: a task runs at most once.
    std::uint32_t retries = 0;
    /// Called now and then while there is work, and when it is done, by the pool's thread.
    std::function<void(const PoolStatistics&)> progress = {};
};

/// Processes that call functions.                           Python: multiprocessing.Pool
///
///     Pool pool(4);
///     std::vector<int> squares = pool.map([](int x) { return x * x; }, std::views::iota(0, 10));
///     auto later = pool.apply_async(work, std::tuple(1, 2), {.callback = [](int result) { show(result); }});
///     pool.close();
///     pool.join();
///
/// Functions travel as entry.hpp says, arguments and results as cargo.hpp does. The callbacks run here, in the pool's thread.
///
/// Agents    Every member, at the same time, from anywhere.
/// Blocks    apply, map, starmap and join park the agent.
/// Order     Tasks begin in the order in which they were given, as far as several workers have an order.
/// Errors    What a function throws comes as the same type where that is the standard's or sennit's, else as RemoteError. A task
///           whose worker dies throws WorkerDied; no other task is touched, none runs twice (but for `.retries`), and the worker is
///           replaced. map and starmap run all elements, and then throw the error of the first one that failed.
/// Lifetime  The destructor terminates: workers are killed, and what was not done throws CancelledError. It takes no longer than
///           the kernel needs for that. Workers die with the process that made the pool, however it ends. In a fork of that process
///           the pool can't be used.
/// Cost      A small task costs a quarter of a microsecond, one whose caller waits for it some microseconds. Two rings of 512 KiB a
///           worker, of which only what was touched takes memory.
class Pool {
  public:
    /// As many workers as this process may use processors.
    Pool();
    /// Throws UsageError for 0.
    explicit Pool(std::size_t processes, ProcessPoolOptions options = {});
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// f(args...) in a worker; waits for the result.
    template <class F, class... Args>
    auto apply(F&& f, const Args&... args) {
        using Task = detail::CallTask<detail::call_result_t<std::decay_t<F>, Shipped<Args>...>>;
        detail::check_not_in_callback_of(callbacks_.get());
        Task* const task = detail::submit_call<std::decay_t<F>, Shipped<Args>...>(*pool_, true, f, as_shipped(args)...);
        using Result = typename decltype(future_of(task))::value_type;
        sync::Future<Result> future = future_of(task);
        pool_->help(*task);
        return std::move(future).result();
    }

    /// f(args of the tuple...) in a worker, later.
    template <class F, class... Args, class R = detail::call_result_t<F, Shipped<Args>...>>
    AsyncResult<R> apply_async(F f, std::tuple<Args...> args = {}, std::type_identity_t<AsyncOptions<R>> options = {}) {
        auto* const task = std::apply(
            [&](const Args&... arg) {
                return detail::submit_call<F, Shipped<Args>...>(*pool_, false, f, as_shipped(arg)...);
            },
            args);
        sync::Future<R> future = future_of(task);
        if (!options.callback && !options.error_callback) return AsyncResult<R>(std::move(future), callbacks_.get());
        return AsyncResult<R>(told_first(std::move(future), std::move(options)), callbacks_.get());
    }

    /// f(element) for each; the results in order. `chunksize` elements make a task; 0, the default: four tasks a worker.
    template <class F, std::ranges::input_range A>
    auto map(F f, A&& elements, std::size_t chunksize = 0) {
        detail::check_not_in_callback_of(callbacks_.get());
        auto all = map_some<false>(std::move(f), std::forward<A>(elements), chunksize, {});
        return std::move(all.get()); // nobody else has it
    }
    template <class F, std::ranges::input_range A,
              class R = sync::detail::map_value_t<detail::call_result_t<F, detail::element_of<A>>>>
    AsyncResult<std::vector<R>> map_async(F f, A&& elements, std::size_t chunksize = 0,
                                          std::type_identity_t<AsyncOptions<std::vector<R>>> options = {}) {
        return map_some<false>(std::move(f), std::forward<A>(elements), chunksize, std::move(options));
    }
    /// f(elements of a tuple...) for each tuple.
    template <class F, std::ranges::input_range A>
    auto starmap(F f, A&& tuples, std::size_t chunksize = 0) {
        detail::check_not_in_callback_of(callbacks_.get());
        auto all = map_some<true>(std::move(f), std::forward<A>(tuples), chunksize, {});
        return std::move(all.get()); // nobody else has it
    }
    template <class F, std::ranges::input_range A,
              class R = std::decay_t<sync::detail::map_value_t<pool::detail::call_t<true, F, detail::element_of<A>>>>>
    AsyncResult<std::vector<R>> starmap_async(F f, A&& tuples, std::size_t chunksize = 0,
                                              std::type_identity_t<AsyncOptions<std::vector<R>>> options = {}) {
        return map_some<true>(std::move(f), std::forward<A>(tuples), chunksize, std::move(options));
    }

    /// As map, one result after the other as they are fetched, in order; for long and endless ranges, of which only so much is taken
    /// ahead. The range lives as long as the results. When a worker dies, that is the one answer of its whole chunk. Throws UsageError
    /// for a chunksize of 0.
    template <class F, std::ranges::input_range A>
    auto imap(F f, A&& elements, std::size_t chunksize = 1) {
        return imap_some(std::move(f), std::forward<A>(elements), chunksize, true);
    }
    /// The same, each as it is done.
    template <class F, std::ranges::input_range A>
    auto imap_unordered(F f, A&& elements, std::size_t chunksize = 1) {
        return imap_some(std::move(f), std::forward<A>(elements), chunksize, false);
    }

    /// No more work is taken; what was given is done, and then the workers end.
    void close();
    /// The workers are killed at once; what was not done throws CancelledError.
    void terminate();
    /// Waits until the workers have ended. One that is stopped (SIGSTOP) and has begun no task is killed, after 4 s; its task runs in
    /// another. Throws UsageError before close() or terminate().
    void join();
    sync::Awaitable<sync::Event::WaitOp> async_join();

    /// How many workers there are.
    [[nodiscard]] std::size_t processes() const noexcept { return pool_->processes(); }
    [[nodiscard]] PoolStatistics statistics() const { return pool_->statistics(); }
    /// The numbers of those that are alive and have begun.
    [[nodiscard]] std::vector<int> pids() const { return pool_->pids(); }

  private:
    template <class R, class Read>
    static sync::Future<R> future_of(detail::PoolTask<R, Read>* task) {
        return sync::Future<R>(static_cast<sync::FutureState<R>*>(task));
    }
    // Who gets the result has to find the callbacks done.
    template <class R>
    sync::Future<R> told_first(sync::Future<R> future, AsyncOptions<R> options) {
        sync::Future<R> later;
        future.add_done_callback([later, told = std::make_shared<AsyncOptions<R>>(std::move(options)),
                                  callbacks = callbacks_](sync::Future<R> done) {
            std::exception_ptr error;
            if (done.cancelled())
                error = std::make_exception_ptr(CancelledError("the pool was terminated before this was done"));
            else
                error = done.exception();
            if (error) {
                if (told->error_callback) callbacks->run([&] { told->error_callback(error); });
                if (!later.done()) later.set_exception(std::move(error));
            } else if constexpr (std::is_void_v<R>) {
                if (told->callback) callbacks->run(told->callback);
                later.set_result();
            } else {
                auto& result = done.result();
                if (told->callback) callbacks->run([&] { told->callback(result); });
                later.set_result(static_cast<R&&>(result));
            }
        });
        return later;
    }
    template <bool star, class F, class A, class E = detail::element_of<A>,
              class Result = typename detail::ProcessMap<star, F, E>::Result>
    AsyncResult<Result> map_some(F f, A&& range, std::size_t chunksize,
                                 std::type_identity_t<AsyncOptions<Result>> options) {
        std::vector<E> elements;
        if constexpr (std::ranges::contiguous_range<A> && std::ranges::sized_range<A> &&
                      std::same_as<E, std::ranges::range_value_t<A>> && std::is_trivially_copyable_v<E>) {
            elements.assign(std::ranges::data(range), std::ranges::data(range) + std::ranges::size(range));
        } else {
            if constexpr (std::ranges::sized_range<A>)
                elements.reserve(static_cast<std::size_t>(std::ranges::size(range)));
            for (auto&& e : range) elements.emplace_back(std::forward<decltype(e)>(e));
        }
        if (chunksize == 0) chunksize = pool::detail::default_chunksize(elements.size(), processes());
        auto job = std::make_shared<detail::ProcessMap<star, F, E>>(std::move(f), std::move(elements),
                                                                    std::move(options), callbacks_);
        return AsyncResult<Result>(job->start(*pool_, chunksize), callbacks_.get());
    }
    template <class F, class A>
    auto imap_some(F f, A&& range, std::size_t chunksize, bool ordered) {
        if (chunksize < 1) throw_bad_chunksize();
        detail::check_not_in_callback_of(callbacks_.get());
        using View = std::views::all_t<A>;
        using R = detail::call_result_t<F, detail::element_of<View>>;
        // Enough that no worker waits for who fetches the results.
        const std::size_t ahead = std::max<std::size_t>(64, 4 * processes());
        return ImapResults<R>(std::make_unique<detail::ProcessImapSource<R, F, View>>(
                                  pool_, std::move(f), std::views::all(std::forward<A>(range)), chunksize),
                              ordered, ahead, callbacks_.get());
    }
    [[noreturn]] static void throw_bad_chunksize();
    void check_closed() const;

    std::shared_ptr<detail::WorkerPool> pool_;
    std::shared_ptr<pool::detail::Callbacks> callbacks_;
};

} // namespace sennit::multiprocessing
