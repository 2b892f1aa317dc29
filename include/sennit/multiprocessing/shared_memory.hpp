#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/os/shared_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sennit::multiprocessing {
class CargoReader;
class CargoWriter;
} // namespace sennit::multiprocessing

namespace sennit::multiprocessing::shared_memory {

struct SharedMemoryOptions {
    bool create = false;
    /// Bytes, for a new block.
    std::int64_t size = 0;
    /// Whether the creator owns the name: see SharedMemory. Who attaches never does.
    bool track = true;
};

/// A block of memory with a name, which unrelated processes share.     Python: multiprocessing.shared_memory.SharedMemory
///
///     SharedMemory block("", {.create = true, .size = 4096});   // a name of its own: block.name()
///     SharedMemory same(block.name());                          // in this process or in another, C++ or Python
///     same.buf()[0] = std::byte{7};
///
/// It is the file /dev/shm/NAME, and byte for byte what CPython 3.13 makes and reads. For objects of sennit's own use Value
/// and Array, whose memory has no name that could be left behind.
///
/// The name has one owner: the SharedMemory that created it (with `track`). It goes with unlink(), with that object, or with
/// the process, even if that is killed; the memory stays for who has it mapped. Attaching and leaving never unlinks, and
/// neither does the copy of the owner in the child of a fork(). With `.track = false` the name stays till somebody calls
/// unlink(). Python 3.8 to 3.12 unlink what they merely attached to when they end, and 3.13 does unless it is told
/// track=False: see docs/guides/shared_memory.md.
///
/// Agents    One at a time. What is in the block is for its users to order: use a Lock.
/// Lifetime  The bytes of buf() are there till close(), or till this object dies.
/// Cost      A few system calls. The first tracked block of a process starts a small process (os::NameGuard), which ends with
///           the last one.
/// Errors    OSError: EEXIST, ENOENT, ENOSPC (the whole block is reserved when it is made; touching it never fails later).
///           UsageError: a size below 1, a name with a NUL or a slash, buf() after close().
class SharedMemory {
  public:
    /// Makes a block (`.create`; an empty name: a new one, "psm_" and eight hexadecimal digits), or attaches to the one that has
    /// this name. Names may begin with a slash, as in POSIX. Whatever fails, nothing is left behind.
    explicit SharedMemory(std::string_view name, SharedMemoryOptions options = {});
    SharedMemory(SharedMemory&& other) noexcept;
    SharedMemory& operator=(SharedMemory&& other) noexcept;
    ~SharedMemory();

    /// The whole block. Throws UsageError after close().
    [[nodiscard]] std::span<std::byte> buf() const;
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Bytes. The same after close().
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Leaves the block; the name stays. Twice is as once.
    void close() noexcept;
    /// Takes the name away: nobody can attach any more. Who has the block keeps it. Throws OSError (ENOENT) when the name is
    /// gone, or leads to another block by now.
    void unlink();
    /// Its name, by which another process attaches. Throws OSError (ENOENT) there when the name is gone by then.
    void pack(CargoWriter& to) const;
    static SharedMemory unpack(CargoReader& from);

  private:
    friend class ShareableList;
    class Care;
    // A new block that is filled before it has a name. `fill` throws nothing.
    SharedMemory(std::string_view name, SharedMemoryOptions options, void (*fill)(std::span<std::byte>, const void*),
                 const void* from);
    void disown() noexcept;
    void map(int fd);

    std::string name_;
    std::size_t size_ = 0;
    void* address_ = nullptr;
    os::FileId id_;
    std::unique_ptr<Care> care_; // of the owner, until the name is gone
};

} // namespace sennit::multiprocessing::shared_memory
