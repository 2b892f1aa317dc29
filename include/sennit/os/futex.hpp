// The futex system call, private to this process, with deadlines of CLOCK_MONOTONIC.
// Source: futex(2), FUTEX_WAIT_BITSET.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>

#include <cstdint>

namespace sennit::os {

using FutexWord = atomic<std::uint32_t>;

/// Sleeps while `word` holds `expected`, until woken or the deadline passes.
/// False only when the deadline has passed; true otherwise, also spuriously (signals, a changed word): look again.
/// Blocks the OS thread. Under a test clock, who moves that clock calls futex_recheck_for_test, which ends the sleep.
bool futex_wait(FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept;

/// Wakes up to `n` sleepers of `word`. The word may be gone already: then nothing, or a spurious wake-up elsewhere.
/// Never waits. Cost: a system call.
void futex_wake(FutexWord& word, int n) noexcept;

/// After a test clock was installed, moved or removed: everybody who sleeps with a deadline compares again.
void futex_recheck_for_test() noexcept;

} // namespace sennit::os
