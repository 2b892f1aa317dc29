#pragma once

#include <sennit/futures/fork_scope.hpp>

#include <cstdint>

namespace sennit::futures::detail {

/// The heart of loops: a range of turns, from which the upper half is split off whenever a beat comes.
class ForkLoop : public ForkJob, public ForkFrame {
  public:
    ForkLoop(std::uint64_t begin, std::uint64_t end, std::uint64_t grain) noexcept
        : ForkFrame{give_half}, next_(begin), end_(end), grain_(grain < 1 ? 1 : grain), block_(grain_) {}
    /// Does all turns, together with who takes parts; throws what a turn threw.
    void run(ForkScope& scope) final;

  protected:
    virtual void turns(std::uint64_t begin, std::uint64_t end, ForkScope& scope) = 0;
    /// A loop like this over another range; nullptr: no memory.
    virtual ForkLoop* like_this(std::uint64_t begin, std::uint64_t end, std::uint64_t grain) noexcept = 0;
    /// Takes over the result of the part behind this one.
    virtual void merge(ForkLoop& next_part) = 0;

  private:
    static ForkJob* give_half(ForkFrame& self, bool& more) noexcept;
    void join_parts(ForkScope& scope);
    // Ends all parts; gives what one of them threw before, if any did.
    std::exception_ptr abandon_parts(ForkScope& scope) noexcept;
    std::uint64_t next_, end_; // what has not begun
    std::uint64_t grain_, block_;
    bool in_turn_ = true;           // false while the loop looks for signals itself
    ForkLoop* last_part_ = nullptr; // split off, the latest (which is the nearest in the range) first
    ForkLoop* former_part_ = nullptr;
};

} // namespace sennit::futures::detail
