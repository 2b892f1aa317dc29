#pragma once

#include <sennit/multiprocessing/shareable_list.hpp>
#include <sennit/multiprocessing/shared_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

namespace sennit::multiprocessing::managers {

/// The owner of many blocks of shared memory, which all go with it.      Python: multiprocessing.managers.SharedMemoryManager
///
///     SharedMemoryManager manager;
///     auto block = manager.SharedMemory(4096);               // to be closed, never to be unlinked
///     auto list = manager.ShareableList({1, "two", 3.0});
///
/// For one block an object of shared_memory::SharedMemory does. There is no server here: the names are the manager's own, and go with
/// shutdown(), with the manager, or with its process, even if that is killed.
///
/// Agents    One at a time.
/// Lifetime  Who has a block keeps its memory after the end; nobody can attach any more.
/// Errors    As SharedMemory's; UsageError after shutdown().
class SharedMemoryManager {
  public:
    SharedMemoryManager() = default;
    SharedMemoryManager(SharedMemoryManager&&) noexcept = default;
    SharedMemoryManager& operator=(SharedMemoryManager&&) noexcept = default;
    ~SharedMemoryManager() = default;

    /// As Python's: it has begun already. Throws UsageError after shutdown().
    void start();
    /// Takes all names away. Twice is as once.
    void shutdown() noexcept;

    /// A new block, of which the manager owns the name.
    shared_memory::SharedMemory SharedMemory(std::int64_t size);
    shared_memory::ShareableList ShareableList(std::span<const shared_memory::Item> items);
    shared_memory::ShareableList ShareableList(std::initializer_list<shared_memory::Item> items) {
        return ShareableList(std::span<const shared_memory::Item>(items.begin(), items.size()));
    }
    /// How many blocks it owns.
    [[nodiscard]] std::size_t size() const noexcept { return blocks_.size() + lists_.size(); }

  private:
    void require_running(const char* call) const;
    std::vector<shared_memory::SharedMemory> blocks_; // the names' owners
    std::vector<shared_memory::ShareableList> lists_;
    bool over_ = false;
};

} // namespace sennit::multiprocessing::managers
