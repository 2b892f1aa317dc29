#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>

#include <cstdint>

namespace sennit::subprocess {

/// The `.timeout` of an options aggregate. A duration counts from the call that the options are given to, so that one set of
/// options serves many calls; a time_point or a Deadline is that moment.
class TimeLimit {
  public:
    constexpr TimeLimit() noexcept = default;
    template <class Rep, class Period>
    constexpr TimeLimit(std::chrono::duration<Rep, Period> d) // NOLINT(google-explicit-constructor)
        : relative_(true), duration_(d) {
        if (!(duration_ == duration_)) static_cast<void>(Deadline(d)); // NaN: throws
    }
    template <class Duration>
    TimeLimit(std::chrono::time_point<std::chrono::steady_clock, Duration> at) // NOLINT(google-explicit-constructor)
        : deadline_(at) {}
    constexpr TimeLimit(Deadline deadline) noexcept : deadline_(deadline) {} // NOLINT(google-explicit-constructor)

    /// The moment, for a call that begins now.
    [[nodiscard]] Deadline begin() const { return relative_ ? Deadline(duration_) : deadline_; }

    /// How much time that is, in seconds.
    [[nodiscard]] double seconds() const noexcept {
        return relative_ ? static_cast<double>(duration_.count())
                         : static_cast<double>(deadline_.remaining_ns()) * 1e-9;
    }

  private:
    bool relative_ = false;
    std::chrono::duration<long double> duration_{};
    Deadline deadline_ = forever;
};

} // namespace sennit::subprocess
