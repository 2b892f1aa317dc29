// Ends a test that hangs, and tells why: who waits for what, who holds that, since when.
#pragma once

#include <chrono>

namespace sennit::testing {

/// H: how long a test may make no progress. 5 s within one process, 10 s where it has started others; five times that under a
/// sanitizer.
std::chrono::milliseconds hang_limit(bool with_processes = false) noexcept;

/// Watches the running test, from a thread that is no agent. A test hangs when it has not ended, has not called kick(), and
/// its process has used hardly any CPU for H (twice that while it has children), nor waits for a core: so a slow machine is no hang. 24 times H is
/// too long in any case (more at higher tiers). Then all agents are printed, and the process aborts.
class Watchdog {
  public:
    /// Once, by main().
    static void start() noexcept;
    /// By main(), around each test.
    static void begin(const char* test_name) noexcept;
    static void end() noexcept;

    /// "I am well": begins the time anew. For loops that take long by design.
    static void kick() noexcept;
    /// For the test of the watchdog itself: another H from now on till the test ends.
    static void set_limit(std::chrono::milliseconds h) noexcept;
};

} // namespace sennit::testing
