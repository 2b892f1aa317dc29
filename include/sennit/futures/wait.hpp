#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/sync/future.hpp>
#include <sennit/sync/future_group.hpp>

#include <initializer_list>
#include <ranges>
#include <utility>
#include <vector>

namespace sennit::futures {

enum class ReturnWhen : std::uint8_t { first_completed, first_exception, all_completed };
inline constexpr ReturnWhen FIRST_COMPLETED = ReturnWhen::first_completed;
inline constexpr ReturnWhen FIRST_EXCEPTION = ReturnWhen::first_exception;
inline constexpr ReturnWhen ALL_COMPLETED = ReturnWhen::all_completed;

struct WaitOptions {
    Deadline timeout = forever;
    ReturnWhen return_when = ALL_COMPLETED;
};

/// Each in the order in which they were given, without doubles.
template <class T>
struct DoneAndNotDone {
    std::vector<sync::Future<T>> done;
    std::vector<sync::Future<T>> not_done;
};

namespace detail {

/// What futures a range holds.
template <class R>
using future_value_t = typename std::ranges::range_value_t<R>::value_type;

template <class R>
concept RangeOfFutures = std::ranges::input_range<R> &&
    std::same_as<std::ranges::range_value_t<R>, sync::Future<typename std::ranges::range_value_t<R>::value_type>>;

/// Copies of the handles, each future once. Python: set(fs)
template <class R, class T = future_value_t<R>>
std::vector<sync::Future<T>> distinct(R&& range) {
    std::vector<sync::Future<T>> all;
    for (auto&& f : range) all.push_back(f);
    sync::remove_doubles(all);
    return all;
}

template <class T>
DoneAndNotDone<T> split(std::vector<sync::Future<T>> all) {
    DoneAndNotDone<T> both;
    for (auto& f : all) (f.done() ? both.done : both.not_done).push_back(std::move(f));
    return both;
}

inline sync::FutureGroup::Until until(ReturnWhen when) noexcept {
    using Until = sync::FutureGroup::Until;
    if (when == FIRST_COMPLETED) return Until::first_done;
    return when == FIRST_EXCEPTION ? Until::first_error : Until::all_done;
}

template <class T>
class WaitOp {
  public:
    WaitOp(std::vector<sync::Future<T>> all, ReturnWhen when)
        : all_(std::move(all)), group_(all_.size(), until(when)), op_(group_.flag()) {
        for (std::size_t i = 0; i < all_.size(); ++i) group_.watch(i, all_[i].core());
    }
    bool try_now(Deadline deadline) noexcept { return op_.try_now(deadline); }
    DoneAndNotDone<T> finish(wait::Agent& me) {
        op_.finish(me);
        return split(all_);
    }
    operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

  private:
    std::vector<sync::Future<T>> all_;
    sync::FutureGroup group_;
    sync::Event::WaitOp op_;
};

} // namespace detail

/// Waits until all futures are done, the first one is, or the first one has failed; or until the time is over, which is no
/// error and cancels nothing. A future that was cancelled is done, and has not failed.
/// Python: concurrent.futures.wait
///
///     auto [done, not_done] = wait(futures, {.timeout = 5s, .return_when = FIRST_COMPLETED});
///
/// Blocks    The agent; async_wait() is its twin for coroutines. In a worker of a pool: as Future::result().
/// Cancel    A cancelled waiter leaves and throws CancelledError; the futures know nothing of it.
template <detail::RangeOfFutures R>
DoneAndNotDone<detail::future_value_t<R>> wait(R&& futures, WaitOptions options = {}) {
    auto all = detail::distinct(std::forward<R>(futures));
    if (options.return_when == ALL_COMPLETED) {
        for (const auto& f : all)
            if (!f.wait(options.timeout)) break;
    } else {
        sync::FutureGroup group(all.size(), detail::until(options.return_when));
        for (std::size_t i = 0; i < all.size(); ++i) group.watch(i, all[i].core());
        group.wait(options.timeout);
    }
    return detail::split(std::move(all));
}
template <class T>
DoneAndNotDone<T> wait(std::initializer_list<sync::Future<T>> futures, WaitOptions options = {}) {
    return wait(std::ranges::subrange(futures.begin(), futures.end()), options);
}

/// The twin of wait() for coroutines.
template <detail::RangeOfFutures R>
auto async_wait(R&& futures, WaitOptions options = {}) {
    using Op = detail::WaitOp<detail::future_value_t<R>>;
    return sync::Awaitable<Op>(options.timeout, detail::distinct(std::forward<R>(futures)), options.return_when);
}

} // namespace sennit::futures
