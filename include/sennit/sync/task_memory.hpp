#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace sennit::sync {

namespace detail {

struct MemoryBlock {
    MemoryBlock* next;       // in its batch
    MemoryBlock* next_batch; // of the first one of a batch, in the store
};

/// A thread's blocks of one size: those it takes and gives, and one full batch, so that no batch goes to and fro.
struct Magazine {
    MemoryBlock* now = nullptr;
    std::uint32_t room = 0;      // for more of them in `now`. 0 where nothing is to be kept, too: give_slow() knows
    MemoryBlock* full = nullptr; // a whole batch, or none
};

inline constexpr std::size_t memory_kinds = 13; // 64, 80, 96 … 256 bytes
constexpr std::size_t memory_kind_of(std::size_t bytes) noexcept {
    return bytes <= 64 ? 0 : bytes > 256 ? memory_kinds : (bytes - 49) / 16;
}

extern constinit thread_local Magazine magazines[memory_kinds];

} // namespace detail

/// Memory for futures and tasks: small blocks that one thread takes and another gives back, at a rate of millions a second.
///
/// Each thread keeps up to two batches of blocks of each size; whole batches go to and come from a common store, so the lock
/// around that is taken once in 128 times. What was used once is kept for later futures, never given back to the system. Larger
/// objects, and all under AddressSanitizer, which would not see them, come from operator new.
///
/// Agents    Both, at the same time, from anywhere, thread_local destructors included.
/// Cost      Some six instructions where the number of bytes is a constant.
/// Source    J. Bonwick, J. Adams, "Magazines and Vmem" (USENIX 2001): the two batches.
class TaskMemory {
  public:
    /// Throws std::bad_alloc. Aligned for any object that asks for no more than operator new gives.
    static void* take(std::size_t bytes) {
        const std::size_t kind = detail::memory_kind_of(bytes);
        if (kind == detail::memory_kinds) return ::operator new(bytes);
        detail::Magazine& m = detail::magazines[kind];
        detail::MemoryBlock* const block = m.now;
        if (!block) [[unlikely]]
            return take_slow(kind, bytes);
        m.now = block->next;
        ++m.room;
        return block;
    }
    /// `bytes` as it was taken.
    static void give_back(void* memory, std::size_t bytes) noexcept {
        const std::size_t kind = detail::memory_kind_of(bytes);
        if (kind == detail::memory_kinds) return ::operator delete(memory);
        detail::Magazine& m = detail::magazines[kind];
        if (m.room == 0) [[unlikely]]
            return give_slow(kind, memory);
        auto* const block = ::new (memory) detail::MemoryBlock;
        block->next = m.now;
        m.now = block;
        --m.room;
    }

  private:
    // Whether anything is kept is the library's to say, not that of who includes this: one may be built with a sanitizer, and the
    // other without.
    static void* take_slow(std::size_t kind, std::size_t bytes);
    static void give_slow(std::size_t kind, void* memory) noexcept;
};

} // namespace sennit::sync
