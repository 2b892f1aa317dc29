#include <sennit/os/file_part.hpp>

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sennit::os {

void* map_part(int fd, std::uint64_t offset, std::size_t bytes, int& error) noexcept {
    void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
    error = address == MAP_FAILED ? errno : 0;
    return address == MAP_FAILED ? nullptr : address;
}

int grow_file(int fd, std::uint64_t bytes) noexcept {
    struct stat now {};
    if (::fstat(fd, &now) != 0) return -errno;
    if (static_cast<std::uint64_t>(now.st_size) >= bytes) return 0;
    return ::ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : -errno;
}

void give_back_part(int fd, std::uint64_t offset, std::size_t bytes) noexcept {
    const int saved = errno;
    ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(bytes));
    errno = saved; // refused: then it stays
}

void prepare_part(void* address, std::size_t bytes) noexcept {
    constexpr int populate_write = 23; // MADV_POPULATE_WRITE, Linux 5.14
    const int saved = errno;
    ::madvise(address, bytes, populate_write);
    errno = saved;
}

} // namespace sennit::os
