#include <sennit/asyncio/frame_memory.hpp>

#include <sennit/sync/task_memory.hpp>

namespace sennit::asyncio {

void* FrameMemory::take(std::size_t bytes) { return sync::TaskMemory::take(bytes); }
void FrameMemory::give_back(void* block, std::size_t bytes) noexcept { sync::TaskMemory::give_back(block, bytes); }

} // namespace sennit::asyncio
