// Asynchronous generators in line: each takes its source by move and gives a generator, or runs it to its end.
#pragma once

#include <sennit/asyncio/async_generator.hpp>
#include <sennit/asyncio/coro.hpp>

#include <cstddef>
#include <functional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::asyncio {

namespace detail {
template <class T>
struct CoroResult {
    using type = T;
    static constexpr bool is_coroutine = false;
};
template <class T>
struct CoroResult<Coro<T>> {
    using type = T;
    static constexpr bool is_coroutine = true;
};
template <class F, class Y>
using AsyncCall = CoroResult<std::invoke_result_t<F&, Y>>;
} // namespace detail

/// The elements of a range.
template <std::ranges::input_range R>
AsyncGenerator<std::ranges::range_value_t<R>> async_from(R range) {
    for (auto&& element : range) co_yield std::forward<decltype(element)>(element);
}

/// All values, in a vector.         auto all = co_await async_collect(ticks(3));
template <class Y>
Coro<std::vector<std::remove_cvref_t<Y>>> async_collect(AsyncGenerator<Y> source) {
    std::vector<std::remove_cvref_t<Y>> all;
    while (auto item = co_await source.async_next()) all.push_back(*std::move(item));
    co_return all;
}

/// Calls f(value) for each, and awaits what it gives, if that is a Coro.
template <class Y, class F>
Coro<void> async_for_each(AsyncGenerator<Y> source, F f) {
    while (auto item = co_await source.async_next()) {
        if constexpr (detail::AsyncCall<F, std::remove_cvref_t<Y>&>::is_coroutine)
            co_await std::invoke(f, *item);
        else
            std::invoke(f, *item);
    }
}

/// f(value) for each value; f may be a coroutine function.
template <class Y, class F>
auto async_transform(AsyncGenerator<Y> source, F f)
    -> AsyncGenerator<typename detail::AsyncCall<F, std::remove_cvref_t<Y>&>::type> {
    while (auto item = co_await source.async_next()) {
        if constexpr (detail::AsyncCall<F, std::remove_cvref_t<Y>&>::is_coroutine)
            co_yield co_await std::invoke(f, *item);
        else
            co_yield std::invoke(f, *item);
    }
}

/// Those for which f(value) is true; f may be a coroutine function.
template <class Y, class F>
AsyncGenerator<std::remove_cvref_t<Y>> async_filter(AsyncGenerator<Y> source, F f) {
    while (auto item = co_await source.async_next()) {
        bool wanted = false;
        if constexpr (detail::AsyncCall<F, std::remove_cvref_t<Y>&>::is_coroutine)
            wanted = co_await std::invoke(f, *item);
        else
            wanted = std::invoke(f, *item);
        if (wanted) co_yield *std::move(item);
    }
}

/// The first n. It does not wait for one more than that.
template <class Y>
AsyncGenerator<std::remove_cvref_t<Y>> async_take(AsyncGenerator<Y> source, std::size_t n) {
    for (; n > 0; --n) {
        auto item = co_await source.async_next();
        if (!item) break;
        co_yield *std::move(item);
    }
}

/// Each with its number, from 0.
template <class Y>
AsyncGenerator<std::pair<std::size_t, std::remove_cvref_t<Y>>> async_enumerate(AsyncGenerator<Y> source) {
    for (std::size_t i = 0;; ++i) {
        auto item = co_await source.async_next();
        if (!item) break;
        co_yield std::pair<std::size_t, std::remove_cvref_t<Y>>(i, *std::move(item));
    }
}

} // namespace sennit::asyncio
