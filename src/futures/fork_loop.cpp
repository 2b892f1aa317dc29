// A loop does its turns in blocks, and looks for signals between them. How long a block is follows from how long the last
// one took: some microseconds, so that neither the look nor who waits for a part is felt; where one turn takes longer, a
// block is one turn.
//
// next_ .. end_ is what has not begun. Only the loop's own thread changes it, also when it gives the upper half away
// (give_half, called in look_at_signals). Parts are split off from the end, so the latest part is the nearest: joined
// latest first, results are merged in the order of the range.
#include <sennit/futures/fork_loop.hpp>

#include <sennit/base/deadline.hpp>
#include <sennit/wait/agent.hpp>

#include "futures/fork_team.hpp"

#include <algorithm>

namespace sennit::futures::detail {
namespace {

constexpr std::int64_t short_block_ns = 2'000, long_block_ns = 16'000;

} // namespace

ForkJob* ForkLoop::give_half(ForkFrame& self, bool& more) noexcept {
    auto& loop = static_cast<ForkLoop&>(self);
    const std::uint64_t left = loop.end_ - loop.next_;
    if (left < loop.grain_ || left == 0) return nullptr; // what is left would be too small, and gets no larger
    more = true;
    // In the middle of a turn all that is left may go; between two turns the next one is the loop's own.
    const std::uint64_t half = left - left / 2;
    const std::uint64_t kept = half >= loop.grain_ && left / 2 >= loop.grain_ ? half : loop.in_turn_ ? 0 : left;
    if (kept == left) return nullptr;
    ForkLoop* const part = loop.like_this(loop.next_ + kept, loop.end_, loop.grain_);
    if (!part) return nullptr;
    part->block_ = loop.block_;
    part->former_part_ = loop.last_part_;
    loop.last_part_ = part;
    loop.end_ = loop.next_ + kept;
    return part;
}

void ForkLoop::run(ForkScope& scope) {
    const std::size_t at = scope.tail_;
    if (at == scope.capacity_) scope.grow();
    scope.frames_[scope.tail_++] = this;
    const auto pop = [&]() noexcept {
        scope.tail_ = at;
        scope.head_ = std::min(scope.head_, at);
    };
    try {
        std::int64_t before = 0;
        while (next_ < end_) {
            // relaxed: as in ForkScope::push().
            if (scope.signals_.load(memory_order_relaxed) != 0) {
                in_turn_ = false;
                if (scope.look_at_signals()) throw_fork_cancelled();
                in_turn_ = true;
            }
            const std::uint64_t begin = next_;
            next_ = std::min(end_, end_ - begin < block_ ? end_ : begin + block_);
            if (next_ < end_ && before == 0) before = base::monotonic_ns();
            turns(begin, next_, scope);
            if (next_ >= end_) continue;
            const std::int64_t now = base::monotonic_ns();
            const std::int64_t took = now - before;
            before = now;
            if (took < short_block_ns)
                block_ = std::min(block_ * 4, std::uint64_t{1} << 40);
            else if (took > long_block_ns)
                block_ = std::max(grain_, block_ / 2);
        }
    } catch (...) {
        pop();
        if (std::exception_ptr first = abandon_parts(scope)) std::rethrow_exception(std::move(first));
        throw;
    }
    pop();
    join_parts(scope);
}

void ForkLoop::join_parts(ForkScope& scope) {
    try {
        while (ForkLoop* const part = last_part_) {
            last_part_ = part->former_part_;
            part->former_part_ = nullptr;
            const std::unique_ptr<ForkLoop> owner(part);
            bool agent_cancelled = false;
            if (scope.team_.join(*part, agent_cancelled)) {
                part->run(scope);
            } else {
                std::exception_ptr error = scope.team_.take_error(scope, *part);
                if (agent_cancelled) wait::current_agent().throw_cancelled();
                if (error) std::rethrow_exception(std::move(error));
            }
            merge(*part);
        }
    } catch (...) {
        if (std::exception_ptr first = abandon_parts(scope)) std::rethrow_exception(std::move(first));
        throw;
    }
}

std::exception_ptr ForkLoop::abandon_parts(ForkScope& scope) noexcept {
    std::exception_ptr first;
    for (ForkLoop* part = last_part_; part; part = part->former_part_) {
        std::exception_ptr error = scope.team_.take_error(scope, *part);
        if (error && !first) first = std::move(error);
        scope.team_.cancel(*part);
    }
    while (ForkLoop* const part = last_part_) {
        last_part_ = part->former_part_;
        part->former_part_ = nullptr;
        const std::unique_ptr<ForkLoop> owner(part);
        bool agent_cancelled = false; // stays with the agent, for its next wait
        if (!scope.team_.join(*part, agent_cancelled)) scope.team_.take_error(scope, *part);
    }
    return first;
}

} // namespace sennit::futures::detail
