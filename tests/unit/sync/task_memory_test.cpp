#include <sennit/sync/task_memory.hpp>

#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using sync::TaskMemory;

TEST(TaskMemory, gives_blocks_of_every_size_that_do_not_overlap) {
    for (std::size_t bytes : {1U, 40U, 64U, 65U, 96U, 100U, 128U, 192U, 256U, 257U, 5000U}) {
        std::vector<unsigned char*> blocks;
        for (int i = 0; i < 1000; ++i) {
            auto* block = static_cast<unsigned char*>(TaskMemory::take(bytes));
            ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t), 0U);
            std::memset(block, i, bytes);
            blocks.push_back(block);
        }
        for (int i = 0; i < 1000; ++i)
            for (std::size_t k = 0; k < bytes; ++k)
                ASSERT_EQ(blocks[static_cast<std::size_t>(i)][k], static_cast<unsigned char>(i));
        for (auto* b : blocks) TaskMemory::give_back(b, bytes);
    }
}

TEST(TaskMemory, uses_again_what_another_thread_gave_back) {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "AddressSanitizer sees every block: none is kept";
#endif
    constexpr std::size_t n = 1280, bytes = 200; // whole batches
    std::set<void*> first;
    for (std::size_t i = 0; i < n; ++i) first.insert(TaskMemory::take(bytes));
    std::thread([&] {
        for (void* b : first) TaskMemory::give_back(b, bytes);
    }).join();
    std::size_t again = 0;
    std::vector<void*> second;
    for (std::size_t i = 0; i < n; ++i) {
        second.push_back(TaskMemory::take(bytes));
        again += first.count(second.back());
    }
    EXPECT_GE(again, n - 128); // but for what this thread had left of a batch
    for (void* b : second) TaskMemory::give_back(b, bytes);
}

TEST(TaskMemory, works_in_destructors_of_thread_locals) {
    struct Late {
        void* block = nullptr;
        ~Late() {
            TaskMemory::give_back(block, 64);
            TaskMemory::give_back(TaskMemory::take(64), 64);
        }
    };
    for (int i = 0; i < 3; ++i)
        std::thread([] {
            static thread_local Late late; // made first, so it dies last
            late.block = TaskMemory::take(64);
        }).join();
}

} // namespace
} // namespace sennit
