#include <sennit/multiprocessing.hpp>

#include "support/snapshot.hpp"

#include <gtest/gtest.h>

namespace sennit::multiprocessing::managers {
namespace {

class ManagerOfMemory : public sennit::testing::SnapshotTest {};

TEST_F(ManagerOfMemory,
       all_names_go_with_it_and_the_memory_stays_for_who_has_it) { // _TestSharedMemory.SharedMemoryManager_*
    SharedMemoryManager manager;
    manager.start();
    auto block = manager.SharedMemory(100);
    auto list = manager.ShareableList({1, "two"});
    EXPECT_EQ(manager.size(), 2u);
    block.buf()[3] = std::byte{7};
    {
        shared_memory::SharedMemory same(block.name());
        EXPECT_EQ(same.buf()[3], std::byte{7});
        shared_memory::ShareableList other({.name = list.shm().name()});
        EXPECT_EQ(other[1], shared_memory::Item("two"));
    }
    EXPECT_NO_THROW(shared_memory::SharedMemory{block.name()}) << "leaving takes no name away";
    manager.shutdown();
    manager.shutdown();
    EXPECT_THROW(shared_memory::SharedMemory{block.name()}, OSError);
    EXPECT_THROW(shared_memory::ShareableList({.name = list.shm().name()}), OSError);
    EXPECT_EQ(block.buf()[3], std::byte{7});
    EXPECT_THROW(manager.SharedMemory(1), UsageError);
    EXPECT_THROW(manager.start(), UsageError);
    std::string name;
    {
        SharedMemoryManager scoped;
        EXPECT_THROW(scoped.SharedMemory(0), UsageError);
        name = scoped.SharedMemory(10).name();
        SharedMemoryManager moved = std::move(scoped);
        EXPECT_NO_THROW(shared_memory::SharedMemory{name});
    }
    EXPECT_THROW(shared_memory::SharedMemory{name}, OSError);
}

} // namespace
} // namespace sennit::multiprocessing::managers
