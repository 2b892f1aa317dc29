#pragma once

#include <sennit/futures/fork_loop.hpp>

#include <concepts>
#include <cstdint>
#include <iterator>
#include <new>
#include <ranges>
#include <type_traits>

namespace sennit::futures {

namespace detail {

/// Where forks go: a pool, or a scope within a call.
template <class Where>
concept ForkPlace =
    std::same_as<std::remove_cv_t<Where>, ThreadPoolExecutor> || std::same_as<std::remove_cv_t<Where>, ForkScope>;

template <class Begin, class Body>
class ForLoop final : public ForkLoop {
  public:
    ForLoop(Begin first, Body& body, std::uint64_t begin, std::uint64_t end, std::uint64_t grain) noexcept
        : ForkLoop(begin, end, grain), first_(first), body_(body) {}

  protected:
    void turns(std::uint64_t begin, std::uint64_t end, ForkScope&) override {
        // A local copy, which the body can't change under the compiler's eyes.
        const Begin first = first_;
        Body& body = body_;
        if constexpr (std::integral<Begin>) {
            const auto from = static_cast<Begin>(first + static_cast<Begin>(begin));
            const auto to = static_cast<Begin>(first + static_cast<Begin>(end));
            if constexpr (std::is_invocable_v<Body&, Begin>)
                for (Begin i = from; i != to; ++i) body(i);
            else
                body(from, to);
        } else {
            const auto to = first + static_cast<std::iter_difference_t<Begin>>(end);
            for (auto i = first + static_cast<std::iter_difference_t<Begin>>(begin); i != to; ++i) body(*i);
        }
    }
    ForkLoop* like_this(std::uint64_t begin, std::uint64_t end, std::uint64_t grain) noexcept override {
        return new (std::nothrow) ForLoop(first_, body_, begin, end, grain);
    }
    void merge(ForkLoop&) override {}

  private:
    Begin first_;
    Body& body_;
};

template <std::integral Index>
std::uint64_t fork_distance(Index first, Index last) noexcept {
    // Through the unsigned type of its width: right also from INT_MIN to INT_MAX.
    using U = std::make_unsigned_t<Index>;
    return first < last ? static_cast<std::uint64_t>(static_cast<U>(static_cast<U>(last) - static_cast<U>(first))) : 0;
}

} // namespace detail

/// Calls body(i) for each i of [first, last), on the calling thread and on the workers of the pool that are idle.
///
///     parallel_for(pool, 0, n, [&](int i) { y[i] = a * x[i] + y[i]; });
///
/// A body that takes two indices is called as body(begin, end), for blocks that together make the range.
/// `where` is a ThreadPoolExecutor, or a ForkScope within a call.
///
/// Order     None among turns; all that the turns did is visible after the call.
/// Blocks, Cancel, Errors   As fork_join: what is thrown first comes out when no turn runs any more; turns that have not begun
///           are left out then.
/// Cost      A call of few turns that are quick costs a fraction of a microsecond, for nobody else hears of it.
template <detail::ForkPlace Where, std::integral Index, class Body>
void parallel_for(Where& where, Index first, std::type_identity_t<Index> last, Body&& body, ForkOptions options = {}) {
    static_assert(
        std::is_invocable_v<Body&, Index> || std::is_invocable_v<Body&, Index, Index>,
        "parallel_for(where, first, last, body): body is called with an index, or with the begin and end of a "
        "block of them");
    const std::uint64_t turns = detail::fork_distance(first, last);
    if (turns == 0) return;
    ForkEntry entry(where, options.stop);
    detail::ForLoop<Index, std::remove_reference_t<Body>> loop(first, body, 0, turns, options.grain);
    loop.run(entry.scope());
}

/// Calls body(element) for each element of a range with random access, such as a vector.
template <detail::ForkPlace Where, std::ranges::random_access_range Range, class Body>
requires std::ranges::sized_range<Range>
void parallel_for(Where& where, Range&& range, Body&& body, ForkOptions options = {}) {
    static_assert(std::is_invocable_v<Body&, std::ranges::range_reference_t<Range>>,
                  "parallel_for(where, range, body): body is called with an element of the range");
    const auto turns = static_cast<std::uint64_t>(std::ranges::size(range));
    if (turns == 0) return;
    ForkEntry entry(where, options.stop);
    detail::ForLoop<std::ranges::iterator_t<Range>, std::remove_reference_t<Body>> loop(std::ranges::begin(range), body,
                                                                                        0, turns, options.grain);
    loop.run(entry.scope());
}

} // namespace sennit::futures
