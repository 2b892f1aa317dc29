#pragma once

#include <sennit/sync/future.hpp>
#include <sennit/sync/map_results.hpp>

#include <functional> // std::reference_wrapper
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sennit::sync {

/// A piece of work in an executor's queues: the other half of a FutureState, in the same allocation.
class Task {
  public:
    Task() noexcept = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    /// Runs it, unless it was cancelled or has been run elsewhere, and gives back the queue's reference. Never throws.
    virtual void run() noexcept = 0;
    /// Cancels it, unless it runs, and gives back the queue's reference.
    virtual void cancel_and_drop() noexcept = 0;
    /// Settles its future with an error, unless it was cancelled or runs, and gives back the queue's reference.
    virtual void fail_and_drop(const std::exception_ptr& error) noexcept = 0;

    /// Whose task it is: an executor that runs what its workers wait for sets this in enqueue().
    const void* executor = nullptr;

  protected:
    virtual ~Task() = default;
};

namespace detail {

template <class R, class F, class... Args>
class TaskState final : public FutureState<R>, public Task {
    using Base = FutureState<R>;

  public:
    // Two references: the future's and the queue's.
    template <class G, class... Given>
    explicit TaskState(G&& f, Given&&... args) : Base(2), call_(std::forward<G>(f), std::forward<Given>(args)...) {
        this->has_call_ = true;
    }
    ~TaskState() override {
        if (this->has_call_) std::destroy_at(&call_);
    }

    void run() noexcept override {
        execute();
        Base::release();
    }
    Task* task() noexcept override { return this; }
    bool run_here(const void* wanted) override { return wanted == executor && execute(); }
    void cancel_and_drop() noexcept override {
        Base::cancel();
        Base::release();
    }
    void fail_and_drop(const std::exception_ptr& error) noexcept override {
        if (Base::start()) {
            drop_call();
            Base::set_error(error);
            Base::finish();
        }
        Base::release();
    }

  private:
    struct Call {
        template <class G, class... Given>
        explicit Call(G&& g, Given&&... given) : f(std::forward<G>(g)), args(std::forward<Given>(given)...) {}
        F f;
        [[no_unique_address]] std::tuple<Args...> args;
    };
    bool execute() noexcept {
        if (!Base::start()) return false;
        try {
            if constexpr (std::is_void_v<R>) {
                invoke();
                Base::emplace();
            } else {
                Base::emplace(invoke());
            }
        } catch (...) {
            Base::set_error(std::current_exception());
        }
        drop_call(); // neither callable nor arguments outlive the call
        Base::finish();
        return true;
    }
    // Moved into the call; a reference (std::ref) stays one.
    R invoke() { return std::apply(std::move(call_.f), std::move(call_.args)); }
    void drop_call() noexcept {
        std::destroy_at(&call_);
        this->has_call_ = false;
    }
    union {
        Call call_; // while has_call_
    };
};

struct MoveOut {
    template <class T>
    auto&& operator()(T& element) const noexcept {
        return std::move(element);
    }
};

template <class T>
struct Stored {
    using type = T;
};
template <class T>
struct Stored<std::reference_wrapper<T>> {
    using type = T&;
};
/// How an argument is kept until the call: a copy, or a reference for std::ref.
template <class T>
using stored_t = typename Stored<std::decay_t<T>>::type;

} // namespace detail

/// Where callables run: the one interface of thread pools, process pools, green threads and event loops.
/// Python: concurrent.futures.Executor
///
/// Agents    submit() and shutdown() from anywhere, at the same time.
class Executor {
  public:
    virtual ~Executor() = default;

    /// Runs f(args...) on the executor; copies or moves both in, std::ref(x) passes a reference. What it gives or throws is in
    /// the Future. Throws UsageError after shutdown(). Never waits.
    template <class F, class... Args>
    auto submit(F&& f, Args&&... args) {
        static_assert(
            std::is_invocable_v<std::decay_t<F>, detail::stored_t<Args>...>,
            "submit(f, args...): f can't be called with these arguments (copies of them; pass std::ref(x) for a "
            "reference)");
        using R = std::invoke_result_t<std::decay_t<F>, detail::stored_t<Args>...>;
        using State = detail::TaskState<R, std::decay_t<F>, detail::stored_t<Args>...>;
        auto* state = new State(std::forward<F>(f), std::forward<Args>(args)...);
        Future<R> future(static_cast<FutureState<R>*>(state));
        try {
            enqueue(*state);
        } catch (...) {
            state->cancel_and_drop();
            throw;
        }
        return future;
    }

    /// Runs f(element, ...) for the elements of one or more ranges, in step, until the shortest ends; the results come in the
    /// order of the elements. Without `.buffersize` all tasks are submitted here and now; with it, the ranges (which may be
    /// endless) are taken only so far ahead. The elements are copied, those of a container that is moved in are moved; all tasks
    /// call the same f, maybe at the same time. Python: Executor.map
    ///
    ///     for (auto page : pool.map(download, urls, {.timeout = 30s})) show(page);
    ///
    /// Throws UsageError after shutdown() and for a `.chunksize` or `.buffersize` of 0, and what the ranges throw.
    template <class F, std::ranges::input_range A>
    auto map(F f, A&& a, MapOptions options = {}) {
        return map_views(options, std::move(f), views(std::forward<A>(a)));
    }
    template <class F, std::ranges::input_range A, std::ranges::input_range B>
    auto map(F f, A&& a, B&& b, MapOptions options = {}) {
        return map_views(options, std::move(f), views(std::forward<A>(a)), views(std::forward<B>(b)));
    }
    template <class F, std::ranges::input_range A, std::ranges::input_range B, std::ranges::input_range C>
    auto map(F f, A&& a, B&& b, C&& c, MapOptions options = {}) {
        return map_views(options, std::move(f), views(std::forward<A>(a)), views(std::forward<B>(b)),
                         views(std::forward<C>(c)));
    }

    struct ShutdownOptions {
        bool wait = true;            ///< return only when all that runs has ended
        bool cancel_futures = false; ///< cancel what has not begun
    };
    /// No more submit(). Python: Executor.shutdown. Twice is as once.
    virtual void shutdown(ShutdownOptions options) = 0;
    void shutdown() { shutdown(ShutdownOptions{}); }

  protected:
    /// Takes over one reference, that the task gives back when it has run or was dropped. Throws UsageError after shutdown.
    virtual void enqueue(Task& task) = 0;

  private:
    // Elements of a container that is moved in are moved out of it.
    template <class V>
    static auto views(V&& range) {
        if constexpr (std::is_lvalue_reference_v<V> || std::ranges::view<std::remove_cvref_t<V>>)
            return std::views::all(std::forward<V>(range));
        else if constexpr (std::is_lvalue_reference_v<std::ranges::range_reference_t<V>>)
            return std::ranges::owning_view(std::forward<V>(range)) | std::views::transform(detail::MoveOut());
        else
            return std::ranges::owning_view(std::forward<V>(range));
    }
    template <class F, class... Views>
    auto map_views(const MapOptions& options, F f, Views... views) {
        static_assert(std::is_invocable_v<F&, detail::element_t<Views>...>,
                      "map(f, ranges...): f can't be called with an element of each range");
        static_assert((std::is_constructible_v<detail::element_t<Views>, std::ranges::range_reference_t<Views>> && ...),
                      "map(f, ranges...): the elements can't be copied to the tasks; move the container in, or give a "
                      "range of pointers or std::reference_wrapper");
        using R = std::invoke_result_t<F&, detail::element_t<Views>...>;
        if (options.chunksize < 1) detail::throw_bad_map_option("chunksize");
        if (options.buffersize && *options.buffersize < 1) detail::throw_bad_map_option("buffersize");
        auto submit_one = [this](auto&& task) { return this->submit(std::forward<decltype(task)>(task)); };
        using Source = detail::MapSource<R, decltype(submit_one), F, Views...>;
        return MapResults<R>(std::make_unique<Source>(submit_one, options.chunksize, std::move(f), std::move(views)...),
                             options);
    }
};

} // namespace sennit::sync
