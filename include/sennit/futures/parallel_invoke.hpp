#pragma once

#include <sennit/futures/parallel_for.hpp>

namespace sennit::futures {

namespace detail {

template <class F>
void invoke_forks(ForkScope& scope, F& f) {
    static_cast<void>(fork_value(f, scope));
}
template <class F, class... Rest>
void invoke_forks(ForkScope& scope, F& f, Rest&... rest) {
    scope.fork_join([&f](ForkScope& s) { invoke_forks(s, f); }, [&rest...](ForkScope& s) { invoke_forks(s, rest...); });
}

} // namespace detail

/// Calls all functions, each with a ForkScope& if it takes one, on the calling thread and on workers that are idle; waits for all.
/// Their results are dropped: fork_join gives those of two. `where` is a ThreadPoolExecutor, or a ForkScope within a call.
///
///     parallel_invoke(pool, [&] { sort(left); }, [&] { sort(middle); }, [&] { sort(right); });
///
/// Blocks, Cancel, Errors   As fork_join.
template <detail::ForkPlace Where, class... F>
requires(sizeof...(F) > 0) void parallel_invoke(Where& where, F&&... functions) {
    static_assert(((std::is_invocable_v<F&, ForkScope&> || std::is_invocable_v<F&>)&&...),
                  "parallel_invoke(where, f...): each f is called with a ForkScope&, or without arguments");
    ForkEntry entry(where, {});
    detail::invoke_forks(entry.scope(), functions...);
}

} // namespace sennit::futures
