#include <sennit/os/io.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <pthread.h>
#include <string>
#include <sys/uio.h>
#include <unistd.h>

namespace sennit::os {
namespace {

// Runs a system call again after EINTR; turns errno into a negative result and leaves errno alone.
template <class Call>
ssize_t settled(Call call) noexcept {
    const int saved = errno;
    ssize_t n = 0;
    do n = call();
    while (n < 0 && errno == EINTR);
    if (n < 0) n = -errno;
    errno = saved;
    return n;
}

// relaxed: a hint about the kernel that any thread may find out again.
constinit atomic<bool> pipes_take_nowait{true};

constexpr int first_free_fd = 3;

} // namespace

ssize_t read_some(int fd, void* buffer, std::size_t bytes) noexcept {
    return settled([&] { return ::read(fd, buffer, bytes); });
}

ssize_t write_some(int fd, const void* data, std::size_t bytes) noexcept {
    return settled([&] { return ::write(fd, data, bytes); });
}

ssize_t write_nowait(int fd, const void* data, std::size_t bytes) noexcept {
    if (pipes_take_nowait.load(memory_order_relaxed)) {
        iovec part{const_cast<void*>(data), bytes};
        const ssize_t n = settled([&] { return ::pwritev2(fd, &part, 1, -1, RWF_NOWAIT); });
        if (n != -EOPNOTSUPP && n != -ENOSYS && n != -EINVAL) return n;
        pipes_take_nowait.store(false, memory_order_relaxed);
    }
    return write_some(fd, data, std::min<std::size_t>(bytes, PIPE_BUF));
}

ssize_t pread_some(int fd, void* buffer, std::size_t bytes, std::int64_t offset) noexcept {
    return settled([&] { return ::pread(fd, buffer, bytes, offset); });
}

ssize_t pread_nowait(int fd, void* buffer, std::size_t bytes, std::int64_t offset) noexcept {
    iovec part{buffer, bytes};
    const ssize_t n = settled([&] { return ::preadv2(fd, &part, 1, offset, RWF_NOWAIT); });
    return n == -EOPNOTSUPP || n == -ENOSYS || n == -EINVAL ? -EAGAIN : n;
}

ssize_t pwrite_some(int fd, const void* data, std::size_t bytes, std::int64_t offset) noexcept {
    return settled([&] { return ::pwrite(fd, data, bytes, offset); });
}

Fd open_null() {
    const ssize_t fd = settled([] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); });
    if (fd < 0) throw OSError(static_cast<int>(-fd), "open: cannot open /dev/null");
    return Fd(static_cast<int>(fd));
}

Pipe make_pipe_above_standard_streams() {
    Pipe pipe = make_pipe();
    if (pipe.read_end.get() < first_free_fd) pipe.read_end = duplicate(pipe.read_end.get(), first_free_fd);
    if (pipe.write_end.get() < first_free_fd) pipe.write_end = duplicate(pipe.write_end.get(), first_free_fd);
    return pipe;
}

void set_pipe_bytes(int fd, int bytes) {
    const ssize_t size = settled([&] { return ::fcntl(fd, F_SETPIPE_SZ, bytes); });
    if (size < 0) {
        throw OSError(static_cast<int>(-size), "fcntl(F_SETPIPE_SZ): cannot set the capacity of a pipe to " +
                                                   std::to_string(bytes) +
                                                   " bytes (limit: /proc/sys/fs/pipe-max-size)");
    }
}

SigpipeGuard::SigpipeGuard() noexcept {
    sigset_t pending, pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigemptyset(&pending);
    ::pthread_sigmask(SIG_BLOCK, &pipe, &before_);
    ::sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1; // blocked and sent before us: that one is not ours to take
}

SigpipeGuard::~SigpipeGuard() {
    const int saved = errno;
    if (!was_pending_) {
        sigset_t pipe;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        const timespec now{};
        static_cast<void>(settled([&] { return ::sigtimedwait(&pipe, nullptr, &now); }));
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = saved;
}

} // namespace sennit::os
