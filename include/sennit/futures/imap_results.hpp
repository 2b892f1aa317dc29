#pragma once

#include <sennit/sync/executor.hpp>
#include <sennit/sync/semaphore.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace sennit::multiprocessing {

namespace detail {

[[noreturn]] void throw_imap_timeout();
/// Throws UsageError when the calling thread runs one of these callbacks (a pool::detail::Callbacks).
void check_not_in_callback_of(const void* callbacks);

/// What one element came to.
template <class R>
struct Outcome {
    std::optional<typename sync::detail::Chunk<R>::Slot> slot;
    std::exception_ptr error;
};
/// And those of one task. Never copied.
template <class R>
struct Outcomes {
    Outcomes() = default;
    Outcomes(Outcomes&&) = default;
    Outcomes& operator=(Outcomes&&) = default;
    std::deque<Outcome<R>> all;
};

} // namespace detail

/// What imap() and imap_unordered() give: the results one by one, through them once.    Python: IMapIterator
///
/// Only so many elements are taken from the range ahead of the results that were fetched; leaving this cancels the others.
///
/// Agents    One.
/// Blocks    next(), async_next() and each step of a loop, until there is a result.
/// Errors    What the call for an element threw comes out of next() in that element's place; the others follow, with the next
///           call or a new loop. What the range throws comes at its place, and ends it. In a callback of the same process pool
///           next() without a deadline, and a loop, throw UsageError where they would wait, and may be called again elsewhere.
template <class R>
class [[nodiscard]] ImapResults {
    using Value = sync::detail::map_value_t<R>;
    using Task = sync::Future<detail::Outcomes<R>>;

  public:
    class Source {
      public:
        virtual ~Source() = default;
        virtual std::optional<Task> submit() = 0;
    };
    /// `callbacks`: of which none can wait for these results.
    ImapResults(std::unique_ptr<Source> source, bool ordered, std::size_t ahead, const void* callbacks = nullptr)
        : source_(std::move(source)), ahead_(ahead), callbacks_(callbacks) {
        if (!ordered) done_ = std::make_shared<sync::Semaphore>(0);
        refill();
    }
    ImapResults(ImapResults&&) noexcept = default;
    ImapResults& operator=(ImapResults&&) = delete;
    ~ImapResults() {
        for (auto& task : pending_) task.cancel();
    }

    /// The next result; nothing after the last. Throws the element's error, and TimeoutError at the deadline; both may be
    /// followed by another call.
    std::optional<Value> next(Deadline deadline = forever) { return next_as(deadline, false); }

    class NextOp {
      public:
        explicit NextOp(ImapResults& of) noexcept : of_(of) {}
        bool try_now(Deadline deadline) {
            if (!of_.ready_.all.empty() || of_.pending_.empty()) return true;
            if (of_.done_) return permit_.emplace(*of_.done_, true).try_now(deadline);
            return op_.emplace(of_.pending_.front().core()).try_now(deadline);
        }
        std::optional<Value> finish(wait::Agent& me) {
            if (permit_ && !permit_->finish(me)) detail::throw_imap_timeout();
            if (op_) op_->finish(me);
            return of_.next_as(Deadline::poll(), permit_.has_value());
        }
        // NOLINTNEXTLINE(google-explicit-constructor): what one suspends on
        operator wait::Wait&() noexcept {
            if (permit_) return *permit_;
            return *op_;
        }
        void set_continuation(void* handle_address) noexcept {
            if (permit_) permit_->set_continuation(handle_address);
            if (op_) op_->set_continuation(handle_address);
        }

      private:
        ImapResults& of_;
        std::optional<sync::FutureCore::WaitOp> op_;       // in order
        std::optional<sync::Semaphore::AcquireOp> permit_; // unordered
    };
    /// The twin of next() for coroutines.
    sync::Awaitable<NextOp> async_next(Deadline deadline = forever) { return sync::Awaitable<NextOp>(deadline, *this); }

    class Iterator {
      public:
        using value_type = Value;
        using difference_type = std::ptrdiff_t;
        using iterator_concept = std::input_iterator_tag;
        Iterator() = default;
        explicit Iterator(ImapResults& of) : of_(&of) { ++*this; }
        Value&& operator*() const noexcept { return static_cast<Value&&>(*of_->current_); }
        Iterator& operator++() {
            of_->current_.reset();
            if (auto value = of_->next()) of_->current_.emplace(std::move(*value));
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return !of_->current_; }

      private:
        ImapResults* of_ = nullptr;
    };
    Iterator begin() { return Iterator(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

  private:
    void refill() {
        while (source_ && pending_.size() < ahead_) {
            try {
                auto task = source_->submit();
                if (!task) {
                    source_.reset();
                    return;
                }
                pending_.push_back(*task);
                try {
                    if (done_) task->add_done_callback([done = done_](const Task&) { done->release(); });
                } catch (...) {
                    pending_.pop_back(); // its end would not be heard
                    task->cancel();
                    throw;
                }
            } catch (...) {
                source_error_ = std::current_exception();
                source_.reset();
            }
        }
    }
    std::optional<Value> next_as(Deadline deadline, bool has_permit) {
        while (ready_.all.empty()) {
            if (pending_.empty()) {
                if (source_error_) std::rethrow_exception(std::exchange(source_error_, nullptr));
                return std::nullopt;
            }
            Task task = done_ ? next_done(deadline, std::exchange(has_permit, false)) : next_in_order(deadline);
            refill();
            ready_ = std::move(task).result();
        }
        detail::Outcome<R> outcome = std::move(ready_.all.front());
        ready_.all.pop_front();
        if (outcome.error) std::rethrow_exception(std::move(outcome.error));
        return std::optional<Value>(static_cast<Value&&>(outcome.slot->value));
    }
    void check_may_wait(const Deadline& deadline) const {
        if (callbacks_ && deadline.is_forever()) detail::check_not_in_callback_of(callbacks_);
    }
    Task next_in_order(Deadline deadline) {
        if (!pending_.front().done()) check_may_wait(deadline);
        if (!pending_.front().wait(deadline)) detail::throw_imap_timeout();
        Task task = std::move(pending_.front());
        pending_.pop_front();
        return task;
    }
    // A permit for each task that has ended: so there is one that nobody has taken.
    Task next_done(Deadline deadline, bool has_permit) {
        if (!has_permit && !done_->try_acquire()) {
            if (deadline.is_poll()) detail::throw_imap_timeout();
            check_may_wait(deadline);
            auto* const hook = sync::FutureCore::current_wait_hook();
            // Nobody's worker, who has nothing to run: it refuses to wait for what waits for it, as before the wait for a future.
            if (hook && !hook->executor() && deadline.is_forever()) hook->help(pending_.front().core());
            const sync::Absence absence(hook);
            if (!done_->acquire(true, deadline)) detail::throw_imap_timeout();
        }
        auto i = pending_.begin();
        while (!i->done()) ++i;
        Task task = std::move(*i);
        pending_.erase(i);
        return task;
    }

    std::unique_ptr<Source> source_; // nullptr: the range is through
    std::size_t ahead_;
    const void* callbacks_;
    std::deque<Task> pending_;
    std::shared_ptr<sync::Semaphore> done_; // unordered; else nullptr
    detail::Outcomes<R> ready_;
    std::optional<Value> current_;
    std::exception_ptr source_error_;
};

} // namespace sennit::multiprocessing
