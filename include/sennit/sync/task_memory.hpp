#pragma once

#include <cstddef>

namespace sennit::sync {

/// Memory for futures and tasks: small blocks that one thread takes and another gives back, at a rate of millions a second.
///
/// Each thread keeps up to two batches of blocks of each size; whole batches go to and come from a common store, so the lock
/// around that is taken once in 128 times. What was used once is kept for later futures, never given back to the system. Larger
/// objects, and all under AddressSanitizer, which would not see them, come from operator new.
///
/// Agents    Both, at the same time, from anywhere, thread_local destructors included.
/// Source    J. Bonwick, J. Adams, "Magazines and Vmem" (USENIX 2001): the two batches.
class TaskMemory {
  public:
    /// Throws std::bad_alloc. Aligned for any object that asks for no more than operator new gives.
    static void* take(std::size_t bytes);
    /// `bytes` as it was taken.
    static void give_back(void* block, std::size_t bytes) noexcept;
};

} // namespace sennit::sync
