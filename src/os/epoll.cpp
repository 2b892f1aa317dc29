#include <sennit/os/epoll.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>

#include <cerrno>
#include <climits>
#include <ctime>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// relaxed everywhere: a hint about the kernel that any thread may find out again.
constinit atomic<bool> pwait2_works{true};

int control(int epoll, int operation, int fd, std::uint32_t events, std::uint64_t tag) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.u64 = tag;
    return ::epoll_ctl(epoll, operation, fd, &event) == 0 ? 0 : errno;
}

} // namespace

Epoll::Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!fd_) throw OSError(errno, "epoll_create1: cannot make an epoll instance");
}

int Epoll::add(int fd, std::uint32_t events, std::uint64_t tag) const noexcept {
    return control(fd_.get(), EPOLL_CTL_ADD, fd, events, tag);
}
int Epoll::modify(int fd, std::uint32_t events, std::uint64_t tag) const noexcept {
    return control(fd_.get(), EPOLL_CTL_MOD, fd, events, tag);
}
int Epoll::remove(int fd) const noexcept { return control(fd_.get(), EPOLL_CTL_DEL, fd, 0, 0); }

int Epoll::wait(std::span<epoll_event> events, Deadline deadline) const noexcept {
    const int room = static_cast<int>(events.size());
    for (;;) {
        int n = 0;
        std::int64_t ns = -1;
        if (!deadline.is_forever()) ns = deadline.is_poll() ? 0 : deadline.remaining_ns();
        if (ns > 0 && pwait2_works.load(memory_order_relaxed)) {
            timespec left{};
            left.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
            left.tv_nsec = static_cast<long>(ns % 1'000'000'000);
            n = static_cast<int>(::syscall(SYS_epoll_pwait2, fd_.get(), events.data(), room, &left, nullptr, 0));
            if (n < 0 && (errno == ENOSYS || errno == EPERM)) { // EPERM: a sandbox that does not know the call
                pwait2_works.store(false, memory_order_relaxed);
                continue;
            }
        } else {
            constexpr std::int64_t ms = 1'000'000;
            const std::int64_t rounded = ns <= 0 ? ns : (ns + ms - 1) / ms;
            n = ::epoll_wait(fd_.get(), events.data(), room, static_cast<int>(rounded > INT_MAX ? INT_MAX : rounded));
            if (n == 0 && rounded > INT_MAX) continue;
        }
        if (n >= 0) return n;
        if (errno != EINTR) return -errno;
    }
}

} // namespace sennit::os
