#include <sennit/os/mutex.hpp>

#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace sennit::os {
namespace {

TEST(Mutex, excludes) {
    Mutex mutex;
    long counter = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 50'000; ++i) {
                MutexGuard guard(mutex);
                ++counter;
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(counter, 200'000);
}

TEST(Mutex, try_lock_fails_while_held_and_works_after) {
    Mutex mutex;
    ASSERT_TRUE(mutex.try_lock());
    EXPECT_FALSE(mutex.try_lock());
    mutex.unlock();
    ASSERT_TRUE(mutex.try_lock());
    mutex.reset_after_fork();
    ASSERT_TRUE(mutex.try_lock()) << "free after the reset";
    mutex.unlock();
}

} // namespace
} // namespace sennit::os
