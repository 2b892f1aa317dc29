#pragma once

#include <sennit/futures/parallel_invoke.hpp>
#include <sennit/futures/parallel_reduce.hpp>
#include <sennit/futures/thread_pool_executor.hpp>

#include <optional>
#include <tuple>

namespace sennit::futures {

namespace detail {

/// A call that a task of the pool makes, and a coroutine waits for.
template <class F>
class AsyncForkOp : private sync::FutureCore::OnCancel {
  public:
    using Result = std::invoke_result_t<F&, const std::stop_token&>;

    AsyncForkOp(ThreadPoolExecutor& pool, F f, std::stop_token stop)
        : pool_(pool), f_(std::move(f)), stop_(std::move(stop)) {}
    bool try_now(Deadline) {
        // This op stays in the coroutine's frame until the task has ended: so the task may refer to it.
        future_.emplace(pool_.submit([this]() -> Result {
            const std::stop_callback stopped(stop_, [this] { source_.request_stop(); });
            return f_(source_.get_token());
        }));
        wait_.emplace(future_->core(), static_cast<OnCancel*>(this));
        return false;
    }
    Result finish(wait::Agent& me) {
        future_->core().mark_error_seen();
        wait_->finish(me);
        return std::move(*future_).result();
    }
    operator wait::Wait&() noexcept { return *wait_; } // NOLINT(google-explicit-constructor): what one suspends on
    void set_continuation(void* handle_address) noexcept { wait_->set_continuation(handle_address); }

  private:
    void on_cancel() noexcept override { source_.request_stop(); }

    ThreadPoolExecutor& pool_;
    F f_;
    std::stop_token stop_;
    std::stop_source source_;
    std::optional<sync::Future<Result>> future_;
    std::optional<sync::FutureCore::WaitOp> wait_;
};

template <class F>
auto async_fork(ThreadPoolExecutor& pool, std::stop_token stop, F f) {
    return sync::Awaitable<AsyncForkOp<F>>(forever, pool, std::move(f), std::move(stop));
}

} // namespace detail

/// The twins of fork_join and the parallel_ functions for coroutines: `co_await async_parallel_for(pool, 0, n, body)`. A task of
/// the pool makes the call, the coroutine's loop goes on meanwhile. Functions and ranges are copied or moved in; a range
/// that is an lvalue is referred to.
///
/// Cancel    A cancelled coroutine stops the call, waits until nothing of it runs any more, and throws CancelledError then: so the
///           functions may refer to what is in the coroutine's frame.
/// Errors    As the call's; UsageError after the pool's shutdown().
/// Lifetime  With GCC 12 name what owns something before the co_await: options with a stop, functions with a capture of a
///           shared_ptr. It destroys such temporaries twice (GCC bug 98401).
template <class F>
auto async_fork_join(ThreadPoolExecutor& pool, F f, ForkOptions options = {}) {
    return detail::async_fork(
        pool, options.stop, [&pool, f = std::move(f)](const std::stop_token& stop) mutable -> detail::fork_result_t<F> {
            return fork_join(pool, f, {.stop = stop});
        });
}
/// See async_fork_join.
template <std::integral Index, class Body>
auto async_parallel_for(ThreadPoolExecutor& pool, Index first, std::type_identity_t<Index> last, Body body,
                        ForkOptions options = {}) {
    return detail::async_fork(
        pool, options.stop,
        [&pool, first, last, body = std::move(body), grain = options.grain](const std::stop_token& stop) mutable {
            parallel_for(pool, first, last, body, {.grain = grain, .stop = stop});
        });
}
/// See async_fork_join.
template <std::ranges::random_access_range Range, class Body>
requires std::ranges::sized_range<Range>
auto async_parallel_for(ThreadPoolExecutor& pool, Range&& range, Body body, ForkOptions options = {}) {
    return detail::async_fork(pool, options.stop,
                              [&pool, all = std::views::all(std::forward<Range>(range)), body = std::move(body),
                               grain = options.grain](const std::stop_token& stop) mutable {
                                  parallel_for(pool, all, body, {.grain = grain, .stop = stop});
                              });
}
/// See async_fork_join.
template <std::integral Index, class Value, class Combine, class Map = std::identity>
auto async_parallel_reduce(ThreadPoolExecutor& pool, Index first, std::type_identity_t<Index> last, Value identity,
                           Combine combine, Map map = {}, ForkOptions options = {}) {
    return detail::async_fork(pool, options.stop,
                              [&pool, first, last, identity = std::move(identity), combine = std::move(combine),
                               map = std::move(map),
                               grain = options.grain](const std::stop_token& stop) mutable -> Value {
                                  return parallel_reduce(pool, first, last, std::move(identity), combine, map,
                                                         {.grain = grain, .stop = stop});
                              });
}
/// See async_fork_join.
template <std::ranges::random_access_range Range, class Value, class Combine, class Map = std::identity>
requires std::ranges::sized_range<Range>
auto async_parallel_reduce(ThreadPoolExecutor& pool, Range&& range, Value identity, Combine combine, Map map = {},
                           ForkOptions options = {}) {
    return detail::async_fork(pool, options.stop,
                              [&pool, all = std::views::all(std::forward<Range>(range)), identity = std::move(identity),
                               combine = std::move(combine), map = std::move(map),
                               grain = options.grain](const std::stop_token& stop) mutable -> Value {
                                  return parallel_reduce(pool, all, std::move(identity), combine, map,
                                                         {.grain = grain, .stop = stop});
                              });
}
/// See async_fork_join.
template <class... F>
requires(sizeof...(F) > 0) auto async_parallel_invoke(ThreadPoolExecutor& pool, F... functions) {
    return detail::async_fork(
        pool, {}, [&pool, all = std::tuple<F...>(std::move(functions)...)](const std::stop_token& stop) mutable {
            ForkEntry entry(pool, stop);
            std::apply([&](F&... f) { detail::invoke_forks(entry.scope(), f...); }, all);
        });
}

} // namespace sennit::futures
