#include <sennit/asyncio/frame_memory.hpp>

#include <sennit/base/atomic.hpp>

namespace sennit::asyncio {

#if defined(SENNIT_DEBUG)

namespace {
constinit atomic<long> in_use{0}; // relaxed: a count
}

void FrameMemory::count(long n) noexcept { in_use.fetch_add(n, memory_order_relaxed); }

long FrameMemory::blocks_in_use() noexcept { return in_use.load(memory_order_relaxed); }

#else

long FrameMemory::blocks_in_use() noexcept { return 0; }

#endif

} // namespace sennit::asyncio
