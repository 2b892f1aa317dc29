#pragma once

#include <sennit/futures/wait.hpp>

#include <cstddef>
#include <iterator>
#include <optional>
#include <string>

namespace sennit::futures {

/// Futures in the order in which they are done: what as_completed() gives. Goes through them once.
///
/// Agents    One.
/// Blocks    Each step of the loop, until the next future is done; next() and async_next() are single steps.
/// Cancel    A cancelled waiter leaves and throws CancelledError; the futures know nothing of it.
/// Lifetime  Keeps nothing of the futures that it has given.
template <class T>
class [[nodiscard]] AsCompleted {
  public:
    AsCompleted(std::vector<sync::Future<T>> all, Deadline deadline)
        : group_(all.size(), sync::FutureGroup::Until::all_done), deadline_(deadline), left_(all.size()) {
        all_.reserve(all.size());
        for (auto& f : all) all_.emplace_back(std::move(f));
        for (std::size_t i = 0; i < all_.size(); ++i) group_.watch(i, all_[i]->core());
    }

    class Iterator {
      public:
        using value_type = sync::Future<T>;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;
        Iterator() = default;
        explicit Iterator(AsCompleted& of) : of_(&of) { ++*this; }
        /// Moves the future out: use it once a step.
        sync::Future<T>&& operator*() const noexcept { return std::move(*of_->current_); }
        Iterator& operator++() {
            of_->current_.reset();
            of_->current_ = of_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return !of_->current_; }

      private:
        AsCompleted* of_ = nullptr;
    };
    Iterator begin() { return Iterator(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

    /// The next one; nothing after the last. Throws TimeoutError when the deadline comes first.
    std::optional<sync::Future<T>> next() {
        if (left_ == 0) return std::nullopt;
        if (!group_.wait_for_next(deadline_)) throw_unfinished();
        return take();
    }

    class NextOp {
      public:
        explicit NextOp(AsCompleted& of) : of_(of), op_(of.group_.ready(), true) {}
        bool try_now(Deadline deadline) { return of_.left_ == 0 || op_.try_now(deadline); }
        std::optional<sync::Future<T>> finish(wait::Agent& me) {
            if (of_.left_ == 0) return std::nullopt;
            if (!op_.finish(me)) of_.throw_unfinished();
            return of_.take();
        }
        operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
        void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

      private:
        AsCompleted& of_;
        sync::Semaphore::AcquireOp op_;
    };
    /// The twin of next() for coroutines.
    sync::Awaitable<NextOp> async_next() { return sync::Awaitable<NextOp>(deadline_, *this); }

  private:
    std::optional<sync::Future<T>> take() {
        --left_;
        auto& slot = all_[group_.next()];
        std::optional<sync::Future<T>> given(std::move(slot));
        slot.reset();
        return given;
    }
    [[noreturn]] void throw_unfinished() const {
        throw TimeoutError(std::to_string(left_) + " (of " + std::to_string(all_.size()) + ") futures unfinished");
    }

    std::vector<std::optional<sync::Future<T>>> all_; // before group_, which uses them to its end
    sync::FutureGroup group_;
    Deadline deadline_;
    std::size_t left_;
    std::optional<sync::Future<T>> current_;
};

/// The futures as they are done, those that are done already first, each once. Throws TimeoutError out of the loop when
/// not all are done at the deadline, which counts from this call.      Python: concurrent.futures.as_completed
///
///     for (Future<Page> f : as_completed(pages, 10s)) show(f.result());
template <detail::RangeOfFutures R>
AsCompleted<detail::future_value_t<R>> as_completed(R&& futures, Deadline deadline = forever) {
    return AsCompleted<detail::future_value_t<R>>(detail::distinct(std::forward<R>(futures)), deadline);
}
template <class T>
AsCompleted<T> as_completed(std::initializer_list<sync::Future<T>> futures, Deadline deadline = forever) {
    return as_completed(std::ranges::subrange(futures.begin(), futures.end()), deadline);
}

} // namespace sennit::futures
