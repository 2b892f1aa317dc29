#include <sennit/os/futex.hpp>

#include <cerrno>
#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(SENNIT_MODEL)
#include <sennit/impl/model_scheduler.hpp>
#endif

namespace sennit::os {
namespace {

// Under a test clock the kernel can't know the time: whoever sleeps with a deadline sleeps on its word and on this one,
// which changes when the clock is moved. A clock that moves without saying so is looked at now and then.
FutexWord test_clock_moved{0};

constexpr std::int64_t look_ns = 20'000'000;
constexpr std::int64_t look_without_waitv_ns = 1'000'000; // Linux before 5.16 can't wait for two words

timespec to_timespec(std::int64_t ns) noexcept {
    return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

bool wait_with_test_clock(FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept {
    // acquire: meets futex_recheck_for_test: a move that this load sees is seen by has_passed, any other ends the sleep.
    const std::uint32_t moved = test_clock_moved.load(memory_order_acquire);
    if (deadline.has_passed()) return false;
    const auto entry = [](FutexWord& w, std::uint32_t value) {
        futex_waitv v{};
        v.val = value;
        v.uaddr = reinterpret_cast<std::uintptr_t>(&w);
        v.flags = FUTEX_32 | FUTEX_PRIVATE_FLAG;
        return v;
    };
    futex_waitv both[2] = {entry(word, expected), entry(test_clock_moved, moved)};
    timespec look{};
    ::clock_gettime(CLOCK_MONOTONIC, &look);
    look = to_timespec(look.tv_sec * 1'000'000'000LL + look.tv_nsec + look_ns);
    if (::syscall(SYS_futex_waitv, both, 2, 0, &look, CLOCK_MONOTONIC) == -1 && (errno == ENOSYS || errno == EPERM)) {
        look = to_timespec(look_without_waitv_ns);
        ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT | FUTEX_PRIVATE_FLAG, expected, &look,
                  nullptr, 0);
    }
    return true; // look again
}

} // namespace

bool futex_wait(FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::detail::futex_wait(word, expected, deadline);
#endif
    const int saved = errno; // a wait must not disturb errno of the code around it
    timespec at{};
    timespec* until = nullptr;
    if (!deadline.is_forever()) {
        if (deadline.has_passed()) return false;
        if (base::clock_is_for_test()) {
            const bool look_again = wait_with_test_clock(word, expected, deadline);
            errno = saved;
            return look_again;
        }
        at = to_timespec(deadline.monotonic_ns());
        until = &at;
    }
    const long r = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
                             expected, until, nullptr, FUTEX_BITSET_MATCH_ANY);
    const bool timed_out = r != 0 && errno == ETIMEDOUT;
    errno = saved;
    return !timed_out;
}

void futex_wake(FutexWord& word, int n) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::detail::futex_wake(word, n);
#endif
    const int saved = errno;
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, nullptr, nullptr,
              0);
    errno = saved;
}

void futex_recheck_for_test() noexcept {
    // release: meets the acquire in wait_with_test_clock.
    test_clock_moved.fetch_add(1, memory_order_release);
    futex_wake(test_clock_moved, INT_MAX);
}

} // namespace sennit::os
