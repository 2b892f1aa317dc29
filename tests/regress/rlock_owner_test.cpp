// The owner of an RLock was known by its agent's address, which comes again: the next thread was taken for the one that had ended
// with the lock held.
#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>
#include <sennit/wait/registry.hpp>

#include <gtest/gtest.h>
#include <thread>

namespace sennit {
namespace {

TEST(RLockOwner, is_not_the_thread_that_has_the_place_of_one_that_ended) {
    sync::RLock lock;
    const void* owners_place = nullptr;
    std::thread([&] {
        lock.acquire();
        owners_place = &wait::current_agent();
    }).join();
    bool same_place = false;
    for (int i = 0; i < 20; ++i)
        std::thread([&] {
            same_place = same_place || &wait::current_agent() == owners_place;
            EXPECT_FALSE(lock.is_owned());
            EXPECT_FALSE(lock.acquire(false));
            EXPECT_THROW(lock.release(), UsageError);
        }).join();
    EXPECT_TRUE(lock.locked());
    if (!same_place) GTEST_SKIP() << "no thread was put where the first one was";
}

TEST(RLockOwner, that_has_ended_holds_up_no_agent_that_has_its_place) {
    sync::Lock lock;
    const void* owners_place = nullptr;
    std::thread([&] {
        lock.acquire();
        owners_place = &wait::current_agent();
    }).join();
    for (int i = 0; i < 20; ++i) {
        std::thread waiter([&] {
            // Waits for a lock that its own predecessor holds: no deadlock with itself, as another agent may release it.
            EXPECT_TRUE(lock.acquire());
        });
        while (!lock.locked()) std::this_thread::yield();
        const auto all = [&] {
            for (const auto& a : wait::Registry::snapshot())
                if (a.object == &lock && a.parked && !a.settled) return true;
            return false;
        };
        while (!all()) std::this_thread::yield();
        EXPECT_TRUE(wait::Registry::find_deadlock().empty());
        lock.release();
        waiter.join();
    }
    lock.release();
}

} // namespace
} // namespace sennit
