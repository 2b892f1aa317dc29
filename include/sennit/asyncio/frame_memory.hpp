#pragma once

#include <cstddef>

namespace sennit::asyncio {

/// Memory for coroutine frames and tasks. Thread-safe; the same as sync::TaskMemory.
class FrameMemory {
  public:
    /// Throws std::bad_alloc. Aligned as operator new does.
    static void* take(std::size_t bytes);
    /// `bytes` as it was taken.
    static void give_back(void* block, std::size_t bytes) noexcept;
    /// How many were taken and not given back. Counted only in a library built with SENNIT_DEBUG; else 0.
    static long blocks_in_use() noexcept;
};

} // namespace sennit::asyncio
