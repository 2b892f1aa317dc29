// The futex system call, with deadlines of CLOCK_MONOTONIC; private to this process but for what has `shared` in its name.
// Source: futex(2), FUTEX_WAIT_BITSET.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>

#include <cstddef>
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

/// Sleeps while `word`, in memory that processes share, holds `expected`. As futex_wait.
bool futex_wait_shared(FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept;
/// Wakes up to `n` sleepers of such a word, in all processes. Gives how many those were.
int futex_wake_shared(FutexWord& word, int n) noexcept;
/// Sleeps while `own`, of this process, and `shared` hold these values. As futex_wait. Where the kernel can't wait for two
/// words (before Linux 5.16) it looks again each millisecond.      Source: futex_waitv in futex(2)
bool futex_wait_either(FutexWord& own, std::uint32_t own_expected, FutexWord& shared, std::uint32_t shared_expected,
                       Deadline deadline) noexcept;
/// One of many words to wait for.
struct FutexWatch {
    FutexWord* word;
    std::uint32_t expected;
    bool shared;
};
inline constexpr std::size_t most_futex_watches = 128;
/// The same for up to most_futex_watches words.
bool futex_wait_any(const FutexWatch* watches, std::size_t n, Deadline deadline) noexcept;

/// After a test clock was installed, moved or removed: everybody who sleeps with a deadline compares again.
void futex_recheck_for_test() noexcept;

} // namespace sennit::os
