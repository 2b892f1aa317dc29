#include <sennit/os/brief_mutex.hpp>

#include <gtest/gtest.h>
#include <thread>

namespace sennit::os {
namespace {

TEST(BriefMutex, lets_one_at_a_time_count) {
    constexpr int rounds = 20'000;
    BriefMutex mutex;
    long count = 0;
    const auto work = [&] {
        for (int i = 0; i < rounds; ++i) {
            const BriefGuard guard(mutex);
            ++count;
        }
    };
    std::thread a(work), b(work), c(work);
    a.join();
    b.join();
    c.join();
    EXPECT_EQ(count, 3L * rounds);
}

TEST(BriefMutex, is_free_in_the_child_that_resets_it) {
    BriefMutex mutex;
    mutex.lock();
    mutex.reset_after_fork();
    const BriefGuard guard(mutex); // would not come back
}

} // namespace
} // namespace sennit::os
