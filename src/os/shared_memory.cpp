#include <sennit/os/shared_memory.hpp>

#include <sennit/base/fault_point.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sennit::os {
namespace {

constexpr const char* directory = "/dev/shm";

// "/dev/shm/NAME". NAME_MAX is 255 bytes, and the kernel says so by itself.
struct Path {
    char text[320];
    explicit Path(const char* name) noexcept { std::snprintf(text, sizeof text, "%s/%s", directory, name); }
};

int reserve(int fd, std::uint64_t bytes) noexcept {
    int error = 0;
    do {
        error = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    } while (error == EINTR);
    return error;
}

} // namespace

Fd make_nameless_segment(std::uint64_t bytes, int& error) noexcept {
    Fd file(::open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file) {
        error = errno;
        return file;
    }
    FAULT_POINT("segment.created");
    error = reserve(file.get(), bytes);
    FAULT_POINT("segment.sized");
    if (error != 0) file.reset();
    return file;
}

int name_segment(int fd, const char* name) noexcept {
    const Path path(name);
    char self[32];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    const int error = ::linkat(AT_FDCWD, self, AT_FDCWD, path.text, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
    FAULT_POINT("segment.named");
    return error;
}

Fd open_shared_memory(const char* name, int& error) noexcept {
    const Path path(name);
    Fd file(::open(path.text, O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    error = file ? 0 : errno;
    return file;
}

int unlink_shared_memory(const char* name, const FileId& id) noexcept {
    const Path path(name);
    struct stat now {};
    if (::lstat(path.text, &now) != 0) return -errno;
    if (FileId{now.st_dev, now.st_ino} != id) return -ENOENT;
    return ::unlink(path.text) == 0 ? 0 : -errno;
}

Fd make_memfd(const char* label, std::uint64_t bytes, int& error) noexcept {
    Fd file(static_cast<int>(::syscall(SYS_memfd_create, label, MFD_CLOEXEC)));
    error = file ? 0 : errno;
    if (file && ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
        error = errno;
        file.reset();
    }
    return file;
}

std::int64_t file_bytes(int fd) noexcept {
    struct stat now {};
    return ::fstat(fd, &now) == 0 ? now.st_size : -errno;
}

FileId file_id(int fd) noexcept {
    struct stat now {};
    if (::fstat(fd, &now) != 0) return {};
    return {now.st_dev, now.st_ino};
}

void* map_shared(int fd, std::size_t bytes, int& error) noexcept {
    void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    error = address == MAP_FAILED ? errno : 0;
    return address == MAP_FAILED ? nullptr : address;
}

void unmap(void* address, std::size_t bytes) noexcept { ::munmap(address, bytes); }

std::size_t page_bytes() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

int process_id() noexcept { return ::getpid(); }

void random_bytes(void* to, std::size_t bytes) noexcept {
    auto* at = static_cast<unsigned char*>(to);
    while (bytes > 0) {
        const ssize_t n = ::getrandom(at, bytes, 0);
        if (n <= 0) continue; // EINTR: asked again
        at += n;
        bytes -= static_cast<std::size_t>(n);
    }
}

} // namespace sennit::os
