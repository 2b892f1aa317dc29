#pragma once

#include <sennit/sync/task_memory.hpp>

#include <cstddef>

namespace sennit::asyncio {

/// Memory for coroutine frames and tasks. Thread-safe; the same as sync::TaskMemory.
class FrameMemory {
  public:
    /// Throws std::bad_alloc. Aligned as operator new does.
    static void* take(std::size_t bytes) {
        void* const block = sync::TaskMemory::take(bytes);
        count(1);
        return block;
    }
    /// `bytes` as it was taken.
    static void give_back(void* block, std::size_t bytes) noexcept {
        count(-1);
        sync::TaskMemory::give_back(block, bytes);
    }
    /// How many were taken and not given back. Counted only in a library built with SENNIT_DEBUG; else 0.
    static long blocks_in_use() noexcept;

  private:
#if defined(SENNIT_DEBUG)
    static void count(long n) noexcept;
#else
    static void count(long) noexcept {}
#endif
};

} // namespace sennit::asyncio
