#include <sennit/os/fd.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <sys/eventfd.h>
#include <unistd.h>

namespace sennit::os {

namespace {

// Descriptors whose numbers differ by a multiple of this share a count.
constexpr std::size_t count_of_counts = 4096;
// relaxed: who uses a descriptor is ordered after who closed its number by what gave it the descriptor.
constinit atomic<std::uint32_t> closings[count_of_counts]{};

} // namespace

std::uint32_t closings_of(int fd) noexcept {
    return closings[static_cast<unsigned>(fd) % count_of_counts].load(memory_order_relaxed);
}

void Fd::reset(int fd) noexcept {
    if (fd_ >= 0) {
        const int saved = errno;
        closings[static_cast<unsigned>(fd_) % count_of_counts].fetch_add(1, memory_order_relaxed);
        ::close(fd_); // on Linux the descriptor is gone even after EINTR: never repeat it
        errno = saved;
    }
    fd_ = fd;
}

Pipe make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw OSError(errno, "pipe2: cannot make a pipe");
    return {Fd(ends[0]), Fd(ends[1])};
}

Fd duplicate(int fd, int at_least) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, at_least);
    if (copy < 0) throw OSError(errno, "fcntl(F_DUPFD_CLOEXEC): cannot duplicate descriptor " + std::to_string(fd));
    return Fd(copy);
}

void set_nonblocking(int fd, bool on) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
        throw OSError(errno, "fcntl(F_SETFL): cannot change O_NONBLOCK of descriptor " + std::to_string(fd));
}

Fd make_eventfd() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw OSError(errno, "eventfd: cannot make one");
    return Fd(fd);
}

} // namespace sennit::os
