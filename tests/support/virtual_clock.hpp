// A clock that stands still until the test moves it: deadlines of hours end at once, and none by accident.
#pragma once

#include <chrono>
#include <cstdint>

namespace sennit::testing {

/// While one lives, all deadlines of sennit are measured with it. Sleepers look again whenever it moves. One at a time;
/// installed before the agents that read it start, removed after they have ended.
///
///     VirtualClock clock;
///     auto& waiter = stage.start(...  event.wait(2h) ...);
///     wait_until_parked(waiter);
///     clock.advance(2h);
class VirtualClock {
  public:
    explicit VirtualClock(std::chrono::nanoseconds start = std::chrono::hours(1000)) noexcept;
    ~VirtualClock();
    VirtualClock(const VirtualClock&) = delete;
    VirtualClock& operator=(const VirtualClock&) = delete;

    void advance(std::chrono::nanoseconds by) noexcept;
    [[nodiscard]] std::chrono::nanoseconds now() const noexcept;
    /// Moves to the earliest deadline of an agent that waits; false, and nothing is moved, when there is none.
    bool advance_to_next_deadline();
};

} // namespace sennit::testing
