// Parts of a file in memory that grows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sennit::os {

/// Maps `bytes` of a file from `offset` on (a multiple of the page's size) for reading and writing, shared. nullptr on failure; `error`
/// then has the errno. To be ended with unmap() of os/shared_memory.hpp.
void* map_part(int fd, std::uint64_t offset, std::size_t bytes, int& error) noexcept;
/// Makes the file that long, if it is shorter. 0 or -errno.
int grow_file(int fd, std::uint64_t bytes) noexcept;
/// Gives the memory of a part back: it reads as zeroes then.      Source: fallocate(2), FALLOC_FL_PUNCH_HOLE
void give_back_part(int fd, std::uint64_t offset, std::size_t bytes) noexcept;

/// Makes the memory of mapped pages now, in one go, rather than each page when it is written first. Best effort.
/// Source: madvise(2), MADV_POPULATE_WRITE
void prepare_part(void* address, std::size_t bytes) noexcept;

} // namespace sennit::os
