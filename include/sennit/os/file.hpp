// Files: opening, reading and writing them; what io.hpp has not. An error is a negative errno instead of a global.
#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <sys/types.h>

namespace sennit::os {

/// Bytes read at a place in a file, 0 at its end, or -errno. The file's own position is neither used nor moved.
ssize_t read_at(int fd, void* to, std::size_t bytes, std::int64_t at) noexcept;
/// Writes all. 0, or -errno: some of it may be written then.
int write_all(int fd, const void* from, std::size_t bytes) noexcept;
/// Writes all at a place in a file. 0, or -errno.
int write_all_at(int fd, const void* from, std::size_t bytes, std::int64_t at) noexcept;

/// Opens a file, close-on-exec. An empty Fd on failure; `error` then has the errno.
Fd open_file(const char* path, int flags, int& error, unsigned mode = 0666) noexcept;
/// The whole of a small file (/proc, /sys), at most `limit` bytes; empty when it cannot be read.
std::string read_small_file(const char* path, std::size_t limit = 64 * 1024);

/// A file without a name in `directory`, for reading and writing: it goes when the last descriptor does, however the process
/// ends. An empty Fd on failure; `error` then has the errno.
Fd make_unnamed_file(const char* directory, int& error) noexcept;

/// Opens /dev/null on those of the descriptors 0-2 that are closed, so that nothing else gets their numbers.
void fill_standard_fds() noexcept;

} // namespace sennit::os
