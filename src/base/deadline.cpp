#include <sennit/base/deadline.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>

#include <chrono>

#if defined(SENNIT_MODEL)
#include <sennit/impl/model_scheduler.hpp>
#endif

namespace sennit {
namespace {

// Relaxed everywhere: a test installs its clock before it starts the agents that read it, and their creation orders it.
constinit atomic<base::ClockForTest> test_clock{nullptr};

} // namespace

namespace base {

std::int64_t monotonic_ns() noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::now_ns();
#endif
    if (auto* clock = test_clock.load(memory_order_relaxed)) return clock();
    // steady_clock is CLOCK_MONOTONIC through the vDSO in libstdc++ and libc++: no system call.
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

void set_clock_for_test(ClockForTest clock) noexcept { test_clock.store(clock, memory_order_relaxed); }

bool clock_is_for_test() noexcept { return test_clock.load(memory_order_relaxed) != nullptr; }

} // namespace base

bool Deadline::has_passed() const noexcept {
    if (is_forever()) return false;
    return is_poll() || base::monotonic_ns() >= at_;
}

std::int64_t Deadline::remaining_ns() const noexcept {
    if (is_forever()) return forever_at;
    if (is_poll()) return 0;
    const std::int64_t now = base::monotonic_ns();
    return now >= at_ ? 0 : at_ - now;
}

std::int64_t Deadline::after(std::int64_t ns) noexcept {
    if (ns <= 0) return poll_at;
    const std::int64_t now = base::monotonic_ns();
    return ns >= forever_at - now ? forever_at : now + ns;
}

void Deadline::throw_nan() {
    throw UsageError("a time-out is NaN; pass a duration that is a number, or sennit::forever to wait without limit");
}

} // namespace sennit
