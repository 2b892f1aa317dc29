#pragma once

#include <sennit/futures/parallel_for.hpp>

#include <functional>
#include <utility>

namespace sennit::futures {

namespace detail {

template <class Begin, class Value, class Combine, class Map>
class ReduceLoop final : public ForkLoop {
  public:
    ReduceLoop(Begin first, const Value& identity, Combine& combine, Map& map, std::uint64_t begin, std::uint64_t end,
               std::uint64_t grain)
        : ForkLoop(begin, end, grain),
          first_(first),
          identity_(identity),
          combine_(combine),
          map_(map),
          value_(identity) {}
    Value& value() noexcept { return value_; }

  protected:
    void turns(std::uint64_t begin, std::uint64_t end, ForkScope&) override {
        Value value = std::move(value_); // in a register if it fits
        if constexpr (std::integral<Begin>) {
            const auto to = static_cast<Begin>(first_ + static_cast<Begin>(end));
            for (auto i = static_cast<Begin>(first_ + static_cast<Begin>(begin)); i != to; ++i)
                value = combine_(std::move(value), map_(i));
        } else {
            const auto to = first_ + static_cast<std::iter_difference_t<Begin>>(end);
            for (auto i = first_ + static_cast<std::iter_difference_t<Begin>>(begin); i != to; ++i)
                value = combine_(std::move(value), map_(*i));
        }
        value_ = std::move(value);
    }
    ForkLoop* like_this(std::uint64_t begin, std::uint64_t end, std::uint64_t grain) noexcept override {
        try {
            return new ReduceLoop(first_, identity_, combine_, map_, begin, end, grain);
        } catch (...) {
            return nullptr; // no memory, or no copy of the identity: the turns stay here
        }
    }
    void merge(ForkLoop& next_part) override {
        value_ = combine_(std::move(value_), std::move(static_cast<ReduceLoop&>(next_part).value_));
    }

  private:
    Begin first_;
    const Value& identity_;
    Combine& combine_;
    Map& map_;
    Value value_;
};

} // namespace detail

/// combine(... combine(combine(identity, map(first)), map(first + 1)) ..., map(last - 1)), with parts of the range done
/// by the calling thread and by idle workers, and their values combined in the order of the range.
/// Python: functools.reduce, but that combine must be associative (it need not be commutative), and
/// combine(identity, x) the same as x: each part begins with a copy of it.
///
///     double dot = parallel_reduce(pool, 0, n, 0.0, std::plus<>(), [&](int i) { return x[i] * y[i]; });
///
/// Where parts are split depends on who is idle, so a sum of floating-point numbers may differ in its last bits from call to
/// call. Blocks, Cancel, Errors: as parallel_for.
template <detail::ForkPlace Where, std::integral Index, class Value, class Combine, class Map = std::identity>
Value parallel_reduce(Where& where, Index first, std::type_identity_t<Index> last, Value identity, Combine&& combine,
                      Map&& map = {}, ForkOptions options = {}) {
    static_assert(std::is_invocable_v<Map&, Index>, "parallel_reduce: map is called with an index");
    static_assert(
        std::is_convertible_v<std::invoke_result_t<Combine&, Value, std::invoke_result_t<Map&, Index>>, Value> &&
            std::is_convertible_v<std::invoke_result_t<Combine&, Value, Value>, Value>,
        "parallel_reduce: combine(value, map(i)) and combine(value, value) give a value of identity's type");
    const std::uint64_t turns = detail::fork_distance(first, last);
    if (turns == 0) return identity;
    ForkEntry entry(where, options.stop);
    detail::ReduceLoop<Index, Value, std::remove_reference_t<Combine>, std::remove_reference_t<Map>> loop(
        first, identity, combine, map, 0, turns, options.grain);
    loop.run(entry.scope());
    return std::move(loop.value());
}

/// The same over the elements of a range with random access.
template <detail::ForkPlace Where, std::ranges::random_access_range Range, class Value, class Combine,
          class Map = std::identity>
requires std::ranges::sized_range<Range> Value parallel_reduce(Where& where, Range&& range, Value identity,
                                                               Combine&& combine, Map&& map = {},
                                                               ForkOptions options = {}) {
    using Element = std::ranges::range_reference_t<Range>;
    static_assert(std::is_invocable_v<Map&, Element>, "parallel_reduce: map is called with an element of the range");
    static_assert(
        std::is_convertible_v<std::invoke_result_t<Combine&, Value, std::invoke_result_t<Map&, Element>>, Value> &&
            std::is_convertible_v<std::invoke_result_t<Combine&, Value, Value>, Value>,
        "parallel_reduce: combine(value, map(element)) and combine(value, value) give a value of identity's type");
    const auto turns = static_cast<std::uint64_t>(std::ranges::size(range));
    if (turns == 0) return identity;
    ForkEntry entry(where, options.stop);
    detail::ReduceLoop<std::ranges::iterator_t<Range>, Value, std::remove_reference_t<Combine>,
                       std::remove_reference_t<Map>>
        loop(std::ranges::begin(range), identity, combine, map, 0, turns, options.grain);
    loop.run(entry.scope());
    return std::move(loop.value());
}

} // namespace sennit::futures
