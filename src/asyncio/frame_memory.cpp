#include <sennit/asyncio/frame_memory.hpp>

#include <sennit/base/atomic.hpp>
#include <sennit/sync/task_memory.hpp>

namespace sennit::asyncio {
namespace {

#if defined(SENNIT_DEBUG)
constinit atomic<long> in_use{0}; // relaxed: a count
void count(long n) noexcept { in_use.fetch_add(n, memory_order_relaxed); }
#else
void count(long) noexcept {}
#endif

} // namespace

void* FrameMemory::take(std::size_t bytes) {
    void* const block = sync::TaskMemory::take(bytes);
    count(1);
    return block;
}

void FrameMemory::give_back(void* block, std::size_t bytes) noexcept {
    count(-1);
    sync::TaskMemory::give_back(block, bytes);
}

long FrameMemory::blocks_in_use() noexcept {
#if defined(SENNIT_DEBUG)
    return in_use.load(memory_order_relaxed);
#else
    return 0;
#endif
}

} // namespace sennit::asyncio
