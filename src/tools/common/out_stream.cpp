#include "tools/common/out_stream.hpp"

#include <sennit/os/file.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/system_state.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace sennit::tools {

OutStream::OutStream(int fd) noexcept : fd_(fd), terminal_(os::is_terminal(fd)) {
    struct stat info {};
    if (::fstat(fd, &info) != 0 || S_ISREG(info.st_mode)) return;
    if (S_ISSOCK(info.st_mode)) {
        kind_ = Kind::socket;
        return;
    }
    if (!S_ISFIFO(info.st_mode) && !terminal_) return; // /dev/null and other devices
    char path[48];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int error = 0;
    reopened_ = os::open_file(path, O_WRONLY | O_NONBLOCK | O_NOCTTY, error);
    kind_ = reopened_ ? Kind::reopened : Kind::polled;
}

ssize_t OutStream::write(const char* from, std::size_t bytes) noexcept {
    ssize_t n = 0;
    switch (kind_) {
    case Kind::file:
        n = os::write_some(fd_, from, bytes);
        break;
    case Kind::reopened:
        n = os::write_some(reopened_.get(), from, bytes);
        break;
    case Kind::socket:
        do n = ::send(fd_, from, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0) n = -errno;
        break;
    case Kind::polled: {
        pollfd ready{fd_, POLLOUT, 0};
        if (os::poll_fds({&ready, 1}, Deadline::poll()) <= 0) return 0;
        n = os::write_some(fd_, from, std::min<std::size_t>(bytes, PIPE_BUF));
        break;
    }
    }
    return n == -EAGAIN ? 0 : n;
}

} // namespace sennit::tools
