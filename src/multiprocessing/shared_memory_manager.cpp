#include <sennit/multiprocessing/shared_memory_manager.hpp>

#include <sennit/base/errors.hpp>

#include <string>
#include <utility>

namespace sennit::multiprocessing::managers {

void SharedMemoryManager::require_running(const char* call) const {
    if (over_) throw UsageError(std::string("SharedMemoryManager.") + call + ": it was shut down; make another one");
}

void SharedMemoryManager::start() { require_running("start"); }

void SharedMemoryManager::shutdown() noexcept {
    over_ = true;
    blocks_.clear();
    lists_.clear();
}

shared_memory::SharedMemory SharedMemoryManager::SharedMemory(std::int64_t size) {
    require_running("SharedMemory");
    blocks_.reserve(blocks_.size() + 1);
    shared_memory::SharedMemory owner("", {.create = true, .size = size});
    shared_memory::SharedMemory block(owner.name());
    owner.close();
    blocks_.push_back(std::move(owner));
    return block;
}

shared_memory::ShareableList SharedMemoryManager::ShareableList(std::span<const shared_memory::Item> items) {
    require_running("ShareableList");
    lists_.reserve(lists_.size() + 1);
    shared_memory::ShareableList owner(items);
    shared_memory::ShareableListOptions same;
    same.name = owner.shm().name();
    shared_memory::ShareableList list(same);
    lists_.push_back(std::move(owner));
    return list;
}

} // namespace sennit::multiprocessing::managers
