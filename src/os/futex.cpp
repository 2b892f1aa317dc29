#include <sennit/os/futex.hpp>

#include <cerrno>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(SENNIT_MODEL)
#include <sennit/impl/model_scheduler.hpp>
#endif

namespace sennit::os {
namespace {

// With a test clock the kernel can't know the time: sleep in short slices and compare by hand.
constexpr std::int64_t test_slice_ns = 1'000'000;

} // namespace

bool futex_wait(FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::detail::futex_wait(word, expected, deadline);
#endif
    timespec at{};
    timespec* until = nullptr;
    const bool test_clock = !deadline.is_forever() && base::clock_is_for_test();
    if (!deadline.is_forever()) {
        if (deadline.has_passed()) return false;
        std::int64_t ns = deadline.monotonic_ns();
        if (test_clock) {
            timespec now{};
            ::clock_gettime(CLOCK_MONOTONIC, &now);
            ns = now.tv_sec * 1'000'000'000LL + now.tv_nsec + test_slice_ns;
        }
        at.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
        at.tv_nsec = static_cast<long>(ns % 1'000'000'000);
        until = &at;
    }
    const int saved = errno; // a wait must not disturb errno of the code around it
    const long r = ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
                             expected, until, nullptr, FUTEX_BITSET_MATCH_ANY);
    const bool timed_out = r != 0 && errno == ETIMEDOUT;
    errno = saved;
    if (timed_out && test_clock) return !deadline.has_passed();
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

} // namespace sennit::os
