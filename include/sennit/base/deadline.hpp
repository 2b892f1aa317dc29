#pragma once

#include <sennit/base/chrono.hpp>

#include <cstdint>
#include <limits>
#include <type_traits>

namespace sennit {

/// When a wait ends at the latest.              Python: the `timeout` argument
///
/// Every call of sennit that can wait takes one as its last argument. It is made from any std::chrono duration (counted
/// from the moment the Deadline is made), from a std::chrono::steady_clock time_point, or is `sennit::forever`, the
/// default. Zero, negative and past ones poll: the call looks once and returns.
///
///     lock.acquire(true, 250ms);
///     queue.get(true, std::chrono::steady_clock::now() + 2s);
///
/// Agents    A value type; share copies at will.
/// Order     Monotonic: CLOCK_MONOTONIC only, so a change of the wall clock neither ends nor prolongs a wait.
/// Errors    A floating-point duration that is NaN throws UsageError. Nothing overflows: what lies beyond the
///           representable 292 years saturates and is as good as forever.
/// Cost      Reading the monotonic clock once when made from a positive duration; forever and polls read nothing.
class Deadline {
  public:
    /// Never ends by itself.
    constexpr Deadline() noexcept = default;

    template <class Rep, class Period>
    Deadline(std::chrono::duration<Rep, Period> from_now) // NOLINT(google-explicit-constructor): api
        : at_(after(to_ns(from_now))) {}

    template <class Duration>
    Deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> at) // NOLINT(google-explicit-constructor)
        : at_(absolute(to_ns(at.time_since_epoch()))) {}

    /// A deadline at `ns` nanoseconds of CLOCK_MONOTONIC.
    static constexpr Deadline at_monotonic_ns(std::int64_t ns) noexcept {
        Deadline d;
        d.at_ = absolute(ns);
        return d;
    }
    /// The deadline that polls: look once, never wait.
    static constexpr Deadline poll() noexcept { return at_monotonic_ns(poll_at); }

    [[nodiscard]] constexpr bool is_forever() const noexcept { return at_ == forever_at; }
    /// True for zero, negative and epoch-or-earlier ones. (One that has merely passed since is not a poll, but expires
    /// at once all the same.)
    [[nodiscard]] constexpr bool is_poll() const noexcept { return at_ == poll_at; }
    /// Nanoseconds of CLOCK_MONOTONIC; INT64_MAX for forever, 0 for a poll.
    [[nodiscard]] constexpr std::int64_t monotonic_ns() const noexcept { return at_; }
    /// True once the moment has come. Reads the clock unless forever or poll.
    [[nodiscard]] bool has_passed() const noexcept;
    /// Nanoseconds until the moment; 0 when it has passed; INT64_MAX for forever.
    [[nodiscard]] std::int64_t remaining_ns() const noexcept;

    friend constexpr bool operator==(Deadline a, Deadline b) noexcept = default;
    friend constexpr auto operator<=>(Deadline a, Deadline b) noexcept { return a.at_ <=> b.at_; }

  private:
    static constexpr std::int64_t forever_at = std::numeric_limits<std::int64_t>::max();
    static constexpr std::int64_t poll_at = 0;

    static constexpr std::int64_t absolute(std::int64_t ns) noexcept { return ns <= 0 ? poll_at : ns; }
    static std::int64_t after(std::int64_t ns) noexcept;
    [[noreturn]] static void throw_nan();

    // Any duration to nanoseconds, saturating at both ends.
    template <class Rep, class Period>
    static constexpr std::int64_t to_ns(std::chrono::duration<Rep, Period> d) {
        using Wide = std::chrono::duration<long double, std::nano>;
        if constexpr (std::is_floating_point_v<Rep>) {
            if (d.count() != d.count()) throw_nan();
        } else if constexpr (std::is_same_v<Period, std::nano> && sizeof(Rep) <= sizeof(std::int64_t)) {
            return static_cast<std::int64_t>(d.count());
        }
        // A long double holds every int64 exactly; 9.2e18 ns is 292 years.
        const long double ns = std::chrono::duration_cast<Wide>(d).count();
        if (ns >= 9.2e18L) return forever_at;
        if (ns <= 0) return ns <= -9.2e18L ? std::numeric_limits<std::int64_t>::min() : static_cast<std::int64_t>(ns);
        const auto whole = static_cast<std::int64_t>(ns);
        return whole < ns ? whole + 1 : whole; // rounds up: no wait ends early
    }

    std::int64_t at_ = forever_at;
};

/// No deadline.
inline constexpr Deadline forever{};

namespace base {

/// Nanoseconds of CLOCK_MONOTONIC, or of the test clock where one is installed.
/// Cost: about 20 ns. Thread-safe.
std::int64_t monotonic_ns() noexcept;

/// Replaces the clock that deadlines are measured with (nullptr: the kernel's again). For tests; the replacement must be
/// monotonic and thread-safe.
using ClockForTest = std::int64_t (*)() noexcept;
void set_clock_for_test(ClockForTest clock) noexcept;
/// True while a test clock is installed.
bool clock_is_for_test() noexcept;

} // namespace base
} // namespace sennit
