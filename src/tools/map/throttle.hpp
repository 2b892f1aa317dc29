#pragma once

#include <cstdint>
#include <functional>

namespace sennit::tools {

/// Holds the next job back: --delay, --load, --memfree.
class Throttle {
  public:
    std::int64_t delay_ns = 0;     // between two starts
    double load = 0;               // 0: any. Else as many threads may run or want to
    std::int64_t memory_bytes = 0; // 0: any. Else so much must be free

    /// Where the state of the machine comes from; tests have their own.
    std::function<int()> runnable;
    std::function<std::int64_t()> memory;

    Throttle();

    /// 0: a job may start now. Else when to ask again, in nanoseconds of the monotonic clock.
    std::int64_t ask(std::int64_t now);
    void started(std::int64_t now) noexcept { last_start_ = now; }
    /// Why the last ask() said no: "load", "memory", or nullptr when it did not or the reason was the delay.
    [[nodiscard]] const char* reason() const noexcept { return reason_; }

  private:
    std::int64_t last_start_ = INT64_MIN;
    const char* reason_ = nullptr;
};

} // namespace sennit::tools
