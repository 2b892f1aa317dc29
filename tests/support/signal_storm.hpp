// Signals at a rate, to every thread of this process, with a handler that was installed without SA_RESTART.
#pragma once

#include <cstdint>

namespace sennit::testing {

/// While one lives, each thread but the test's helpers gets `per_second` signals (SIGRTMIN + 3).
class SignalStorm {
  public:
    explicit SignalStorm(unsigned per_second);
    ~SignalStorm();
    SignalStorm(const SignalStorm&) = delete;
    SignalStorm& operator=(const SignalStorm&) = delete;
    /// How many were handled so far, in all threads.
    [[nodiscard]] static std::uint64_t handled() noexcept;

  private:
    unsigned long thread_ = 0;
};

/// SENNIT_SIGNAL_STORM=HZ: one for the whole program.
void start_signal_storm_from_environment();

} // namespace sennit::testing
