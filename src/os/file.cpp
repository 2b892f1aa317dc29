#include <sennit/os/file.hpp>

#include <sennit/os/io.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace sennit::os {

ssize_t read_at(int fd, void* to, std::size_t bytes, std::int64_t at) noexcept {
    for (;;) {
        const ssize_t n = ::pread(fd, to, bytes, at);
        if (n >= 0) return n;
        if (errno != EINTR) return -errno;
    }
}

int write_all(int fd, const void* from, std::size_t bytes) noexcept {
    const char* at = static_cast<const char*>(from);
    while (bytes > 0) {
        const ssize_t n = write_some(fd, at, bytes);
        if (n < 0) return static_cast<int>(n);
        at += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return 0;
}

int write_all_at(int fd, const void* from, std::size_t bytes, std::int64_t at) noexcept {
    const char* data = static_cast<const char*>(from);
    while (bytes > 0) {
        const ssize_t n = ::pwrite(fd, data, bytes, at);
        if (n < 0) {
            if (errno == EINTR) continue;
            return -errno;
        }
        data += n;
        at += n;
        bytes -= static_cast<std::size_t>(n);
    }
    return 0;
}

Fd open_file(const char* path, int flags, int& error, unsigned mode) noexcept {
    for (;;) {
        Fd fd(::open(path, flags | O_CLOEXEC, mode));
        if (fd || errno != EINTR) {
            error = fd ? 0 : errno;
            return fd;
        }
    }
}

std::string read_small_file(const char* path, std::size_t limit) {
    std::string text;
    int error = 0;
    const Fd fd = open_file(path, O_RDONLY, error);
    if (!fd) return text;
    char buffer[4096];
    while (text.size() < limit) {
        const ssize_t n = read_some(fd.get(), buffer, std::min(sizeof buffer, limit - text.size()));
        if (n <= 0) break;
        text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
}

Fd make_unnamed_file(const char* directory, int& error) noexcept {
    Fd fd = open_file(directory, O_TMPFILE | O_RDWR | O_EXCL, error, 0600);
    if (fd || (error != EOPNOTSUPP && error != EISDIR && error != EINVAL)) return fd;
    // A file system without O_TMPFILE: a random name, which goes at once.
    char name[4096];
    const char pattern[] = "/.sennit-XXXXXX";
    std::size_t length = 0;
    while (directory[length] != '\0' && length < sizeof name - sizeof pattern) {
        name[length] = directory[length];
        ++length;
    }
    if (directory[length] != '\0') {
        error = ENAMETOOLONG;
        return fd;
    }
    for (std::size_t i = 0; i < sizeof pattern; ++i) name[length + i] = pattern[i];
    fd.reset(::mkostemp(name, O_CLOEXEC));
    error = fd ? 0 : errno;
    if (fd) ::unlink(name);
    return fd;
}

void fill_standard_fds() noexcept {
    for (int fd = 0; fd < 3; ++fd) {
        if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest free number is this one. Not close-on-exec, as the standard streams are not.
        static_cast<void>(::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY));
    }
}

} // namespace sennit::os
