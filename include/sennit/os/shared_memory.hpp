// Memory that processes share: POSIX names (files of /dev/shm), files without a name (memfd), and their mappings.
// An error is a negative errno, or an errno by reference, instead of a global.
#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::os {

/// Which file a name led to: tells whether it still leads there.
struct FileId {
    std::uint64_t device = 0, inode = 0;
    friend bool operator==(const FileId&, const FileId&) = default;
};

/// A new file in /dev/shm, still without a name, of `bytes` bytes, mode 0600, reserved to the last: ENOSPC here, and no bus error
/// later. Who dies before name_segment leaves nothing behind.     Source: open(2), O_TMPFILE; posix_fallocate(3)
Fd make_nameless_segment(std::uint64_t bytes, int& error) noexcept;
/// Gives it the name /dev/shm/NAME, under which it is there as a whole at once. 0 or -errno; -EEXIST when the name is taken.
/// Source: linkat(2).
int name_segment(int fd, const char* name) noexcept;
/// Opens /dev/shm/NAME for reading and writing; ENOENT when there is none.
Fd open_shared_memory(const char* name, int& error) noexcept;
/// Takes the name away, if it still leads to `id`; the memory lives on in who has it. 0 or -errno; -ENOENT also when the name
/// leads to something else by now.
int unlink_shared_memory(const char* name, const FileId& id) noexcept;

/// A file without a name in memory, of `bytes` bytes, close-on-exec. `label` is for /proc/PID/maps.
Fd make_memfd(const char* label, std::uint64_t bytes, int& error) noexcept;

/// Bytes of an open file, or -errno.
std::int64_t file_bytes(int fd) noexcept;
FileId file_id(int fd) noexcept;

/// Maps `bytes` of a file for reading and writing, shared. nullptr on failure; `error` then has the errno.
void* map_shared(int fd, std::size_t bytes, int& error) noexcept;
void unmap(void* address, std::size_t bytes) noexcept;
/// The size of a page.
std::size_t page_bytes() noexcept;

/// This process's number, from the kernel.
int process_id() noexcept;
/// Bytes that nobody can guess (getrandom).
void random_bytes(void* to, std::size_t bytes) noexcept;

} // namespace sennit::os
