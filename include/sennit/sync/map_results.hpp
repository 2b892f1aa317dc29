// Executor::map: a function over ranges, on the workers, with the results in order.
#pragma once

#include <sennit/sync/future.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <variant> // std::monostate
#include <vector>

namespace sennit::sync {

struct MapOptions {
    Deadline timeout = forever; ///< for the last result; counts from the call
    std::size_t chunksize = 1;  ///< how many elements make one task
    /// How many elements may be taken from the ranges ahead of the results that were fetched; nothing: all, at once.
    std::optional<std::size_t> buffersize = std::nullopt;
};

namespace detail {

[[noreturn]] void throw_bad_map_option(const char* option);
[[noreturn]] void throw_map_timeout(std::size_t given);

/// What a result of map() is: void becomes std::monostate.
template <class R>
using map_value_t = std::conditional_t<std::is_void_v<R>, std::monostate, R>;

/// The results of one task: those up to the first error.
template <class R>
struct Chunk {
    Chunk() = default;
    // NOLINTBEGIN(performance-noexcept-move-constructor): as the deque's
    Chunk(Chunk&&) = default; // and so never copied
    Chunk& operator=(Chunk&&) = default;
    // NOLINTEND(performance-noexcept-move-constructor)
    struct Slot {
        map_value_t<R> value;
    };
    std::deque<Slot> slots;
    std::exception_ptr error;
};

template <class V>
using element_t = std::ranges::range_value_t<V>;

} // namespace detail

/// What Executor::map gives: the results in the order of the elements, as they come. Goes through them once. Leaving it (its
/// destructor, or an exception out of the loop) cancels what has not begun.
///
/// Agents    One.
/// Blocks    Each step of the loop, until the next result is there; next() and async_next() are single steps.
/// Errors    What the function threw, out of the loop at its place, and TimeoutError; the iteration is over then.
/// Lifetime  The ranges live as long as this while `buffersize` is given; without it they are gone through in map().
///           Neither arguments nor results are kept once they were used.
template <class R>
class [[nodiscard]] MapResults {
    using Chunk = detail::Chunk<R>;
    using Value = detail::map_value_t<R>;

  public:
    /// For executors: submit() gives the next task's future, or nothing when the ranges are through.
    class Source {
      public:
        virtual ~Source() = default;
        virtual std::optional<Future<Chunk>> submit() = 0;
    };
    MapResults(std::unique_ptr<Source> source, MapOptions options) : source_(std::move(source)), options_(options) {
        refill();
    }
    MapResults(MapResults&&) noexcept = default;
    MapResults& operator=(MapResults&&) = delete;
    ~MapResults() { cancel(); }

    class Iterator {
      public:
        using value_type = Value;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;
        Iterator() = default;
        explicit Iterator(MapResults& of) : of_(&of) { ++*this; }
        /// To be moved out of: `for (auto result : pool.map(f, inputs))`.
        Value&& operator*() const noexcept { return static_cast<Value&&>(of_->current_->value); }
        Iterator& operator++() {
            of_->step();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return !of_->current_; }

      private:
        MapResults* of_ = nullptr;
    };
    /// The next result; nothing after the last. Throws as a step of the loop does.
    std::optional<Value> next() {
        step();
        return take_current();
    }
    class NextOp {
      public:
        explicit NextOp(MapResults& of) noexcept : of_(of) {}
        bool try_now(Deadline deadline) {
            if (!of_.must_wait()) return true;
            op_.emplace(of_.pending_.front().core());
            return op_->try_now(deadline);
        }
        std::optional<Value> finish(wait::Agent& me) {
            try {
                if (op_) op_->finish(me);
            } catch (...) {
                of_.cancel();
                throw;
            }
            of_.step(Deadline::poll());
            return of_.take_current();
        }
        operator wait::Wait&() noexcept { return *op_; } // NOLINT(google-explicit-constructor): what one suspends on
        void set_continuation(void* handle_address) noexcept {
            if (op_) op_->set_continuation(handle_address);
        }

      private:
        MapResults& of_;
        std::optional<FutureCore::WaitOp> op_;
    };
    /// The twin of next() for coroutines: `while (auto result = co_await results.async_next())`.
    Awaitable<NextOp> async_next() { return Awaitable<NextOp>(options_.timeout, *this); }

    /// Waits for the first result.
    Iterator begin() { return Iterator(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

  private:
    void refill() {
        while (source_) {
            if (options_.buffersize && pending_.size() * options_.chunksize >= *options_.buffersize) return;
            auto next = source_->submit();
            if (!next) {
                source_.reset();
                return;
            }
            pending_.push_back(std::move(*next));
        }
    }
    [[nodiscard]] bool must_wait() const noexcept {
        return chunk_.slots.empty() && !chunk_.error && !pending_.empty() && !pending_.front().done();
    }
    std::optional<Value> take_current() {
        if (!current_) return std::nullopt;
        std::optional<Value> value(static_cast<Value&&>(current_->value));
        current_.reset();
        return value;
    }
    void step() { step(options_.timeout); }
    void step(Deadline deadline) {
        current_.reset();
        try {
            while (chunk_.slots.empty()) {
                if (chunk_.error) std::rethrow_exception(std::exchange(chunk_.error, nullptr));
                if (pending_.empty()) return;
                if (!pending_.front().wait(deadline)) detail::throw_map_timeout(given_);
                chunk_ = std::move(pending_.front()).result();
                pending_.pop_front();
                refill();
            }
        } catch (...) {
            cancel();
            throw;
        }
        current_.emplace(std::move(chunk_.slots.front()));
        chunk_.slots.pop_front();
        ++given_;
    }
    void cancel() noexcept {
        source_.reset();
        for (auto& f : pending_) f.cancel();
        pending_.clear();
        chunk_.slots.clear();
        chunk_.error = nullptr;
    }

    std::unique_ptr<Source> source_; // nullptr: the ranges are through
    MapOptions options_;
    std::deque<Future<Chunk>> pending_;
    Chunk chunk_;
    std::optional<typename Chunk::Slot> current_;
    std::size_t given_ = 0;
};

namespace detail {

/// Goes through the ranges in step and submits a task for each `chunksize` elements.
template <class R, class Submit, class F, class... Views>
class MapSource final : public MapResults<R>::Source {
    using Element = std::tuple<element_t<Views>...>;
    using Result = Chunk<R>;

  public:
    MapSource(Submit submit, std::size_t chunksize, F f, Views... views)
        : submit_(std::move(submit)),
          chunksize_(chunksize),
          f_(std::make_shared<F>(std::move(f))),
          views_(std::move(views)...) {
        std::apply([&](auto&... v) { at_.emplace(std::ranges::begin(v)...); }, views_);
    }
    std::optional<Future<Result>> submit() override {
        std::vector<Element> elements;
        elements.reserve(chunksize_);
        // The shortest range ends it. The iterators move on only when the next element is wanted.
        while (elements.size() < chunksize_) {
            if (started_) std::apply([](auto&... i) { (static_cast<void>(++i), ...); }, *at_);
            started_ = false;
            if (at_end(std::index_sequence_for<Views...>())) break;
            started_ = true;
            std::apply([&](auto&... i) { elements.emplace_back(*i...); }, *at_);
        }
        if (elements.empty()) return std::nullopt;
        return submit_([f = f_, elements = std::move(elements)]() mutable { return run(*f, elements); });
    }

  private:
    template <std::size_t... I>
    bool at_end(std::index_sequence<I...>) {
        return ((std::get<I>(*at_) == std::ranges::end(std::get<I>(views_))) || ...);
    }
    static Result run(F& f, std::vector<Element>& elements) {
        Result result;
        try {
            for (Element& e : elements) {
                if constexpr (std::is_void_v<R>) {
                    std::apply(f, std::move(e));
                    result.slots.push_back({});
                } else {
                    result.slots.push_back({std::apply(f, std::move(e))});
                }
            }
        } catch (...) {
            result.error = std::current_exception();
        }
        return result;
    }

    Submit submit_;
    std::size_t chunksize_;
    std::shared_ptr<F> f_; // one for all tasks, which may call it at the same time
    std::tuple<Views...> views_;
    std::optional<std::tuple<std::ranges::iterator_t<Views>...>> at_;
    bool started_ = false; // at_ stands on an element that was used
};

} // namespace detail
} // namespace sennit::sync
