#pragma once

#include <sennit/os/fd.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace sennit::multiprocessing {

class CargoReader;
class CargoWriter;
namespace detail { // for headers that need no more of cargo.hpp
void pack_number(CargoWriter& to, std::uint64_t number);
std::uint64_t unpack_number(CargoReader& from);
} // namespace detail

/// A piece of memory without a name, which goes with the last process that has it: where locks, Values and Arrays live. Copies
/// are handles of the same piece. The child of a fork has it; to another process it is sent as a descriptor and a place.
///
/// Agents    Handles are values: each one at a time.
/// Lifetime  The memory stays mapped here as long as a handle of anything in the same segment does. A piece is never given to
///           another object: some process may still have it.
/// Cost      Small pieces share segments of a mebibyte, of which only what was touched takes memory: a descriptor and a mapping
///           each.
/// Source    memfd_create(2). Python's heap.Arena is a file, unlinked at once.
class SharedBlock {
  public:
    /// Nothing.
    SharedBlock() noexcept = default;
    /// `bytes` zeroes, aligned to 64. Throws OSError.
    explicit SharedBlock(std::size_t bytes);
    /// A piece of another process's segment. Throws OSError, and InvalidStateError when the piece lies outside of the segment.
    SharedBlock(os::Fd segment, std::uint64_t offset, std::size_t bytes);

    [[nodiscard]] void* data() const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// The segment, as long as this handle lives, and where in it the piece is.
    [[nodiscard]] int fd() const noexcept;
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    [[nodiscard]] explicit operator bool() const noexcept { return segment_ != nullptr; }
    /// Whether both are the same piece of this process's memory.
    friend bool operator==(const SharedBlock& a, const SharedBlock& b) noexcept { return a.data() == b.data(); }

    /// The piece as a descriptor and a place. Throws UsageError for an empty handle.
    void pack(CargoWriter& to) const;
    /// The piece of another process, or of this one: then the same memory. Throws OSError, CargoError, InvalidStateError.
    static SharedBlock unpack(CargoReader& from);

    /// Never unmaps it here: somebody in this process holds a lock in it.
    void keep_for_ever() const;

  private:
    struct Segment;
    struct Heap;
    std::shared_ptr<Segment> segment_;
    std::uint64_t offset_ = 0;
    std::size_t size_ = 0;
};

} // namespace sennit::multiprocessing
