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

bool futex_wait_any(const FutexWatch* watches, std::size_t n, Deadline deadline) noexcept {
    const int saved = errno;
    futex_waitv all[most_futex_watches]{};
    for (std::size_t i = 0; i < n; ++i) {
        all[i].val = watches[i].expected;
        all[i].uaddr = reinterpret_cast<std::uintptr_t>(watches[i].word);
        all[i].flags = FUTEX_32 | (watches[i].shared ? 0U : FUTEX_PRIVATE_FLAG);
    }
    // A test clock tells nothing to the kernel: look now and then.
    const bool real = !base::clock_is_for_test();
    if (deadline.has_passed()) return false;
    timespec at{};
    if (!deadline.is_forever() && real) {
        at = to_timespec(deadline.monotonic_ns());
    } else {
        ::clock_gettime(CLOCK_MONOTONIC, &at);
        at = to_timespec(at.tv_sec * 1'000'000'000LL + at.tv_nsec + (real ? 3'600'000'000'000 : look_ns));
    }
    bool timed_out = false;
    if (::syscall(SYS_futex_waitv, all, static_cast<unsigned>(n), 0, &at, CLOCK_MONOTONIC) == -1) {
        timed_out = errno == ETIMEDOUT && real && !deadline.is_forever();
        if (errno == ENOSYS || errno == EPERM) {
            at = to_timespec(look_without_waitv_ns);
            ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(watches[0].word),
                      watches[0].shared ? FUTEX_WAIT : FUTEX_WAIT | FUTEX_PRIVATE_FLAG, watches[0].expected, &at,
                      nullptr, 0);
        }
    }
    errno = saved;
    return !timed_out;
}

bool futex_wait_either(FutexWord& own, std::uint32_t own_expected, FutexWord& shared, std::uint32_t shared_expected,
                       Deadline deadline) noexcept {
    const FutexWatch both[2] = {{&own, own_expected, false}, {&shared, shared_expected, true}};
    return futex_wait_any(both, 2, deadline);
}

bool futex_wait_shared(FutexWord& word, std::uint32_t expected, Deadline deadline) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) return model::detail::futex_wait(word, expected, deadline);
#endif
    const FutexWatch one[1] = {{&word, expected, true}};
    return futex_wait_any(one, 1, deadline);
}

int futex_wake_shared(FutexWord& word, int n) noexcept {
#if defined(SENNIT_MODEL)
    if (model::controlled()) {
        model::detail::futex_wake(word, n);
        return 0; // how many, the model does not say; what asks for that runs in no scenario
    }
#endif
    const int saved = errno;
    const long woken =
        ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, n, nullptr, nullptr, 0);
    errno = saved;
    return woken > 0 ? static_cast<int>(woken) : 0;
}

void futex_recheck_for_test() noexcept {
    // release: meets the acquire in wait_with_test_clock.
    test_clock_moved.fetch_add(1, memory_order_release);
    futex_wake(test_clock_moved, INT_MAX);
}

} // namespace sennit::os
