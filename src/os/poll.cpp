#include <sennit/os/poll.hpp>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace sennit::os {

int poll_fds(std::span<pollfd> fds, Deadline deadline) noexcept {
    constexpr std::int64_t test_slice_ns = 1'000'000;
    const int saved = errno;
    for (;;) {
        timespec left{};
        timespec* limit = nullptr;
        bool sliced = false;
        if (!deadline.is_forever()) {
            std::int64_t ns = deadline.remaining_ns();
            sliced = ns > test_slice_ns && base::clock_is_for_test(); // the kernel does not know that clock
            if (sliced) ns = test_slice_ns;
            left.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
            left.tv_nsec = static_cast<long>(ns % 1'000'000'000);
            limit = &left;
        }
        const int ready = ::ppoll(fds.data(), fds.size(), limit, nullptr);
        const int error = errno;
        errno = saved;
        if (ready > 0 || (ready == 0 && !sliced)) return ready;
        if (ready < 0 && error != EINTR) return -error;
    }
}

} // namespace sennit::os
