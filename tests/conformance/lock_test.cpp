// What Python's LockTests, BaseLockTests and asyncio's LockTests know, for every pair of who waits and who wakes. The table of
// cases is docs/conformance/sync.md.
#include "base_lock.hpp"

#include <sys/wait.h>
#include <unistd.h>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;

class Lock : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(Lock);

BASE_LOCK_TESTS(Lock, sync::Lock)

TEST_P(Lock, a_second_acquire_of_one_agent_waits_for_a_release) {
    sync::Lock lock;
    Actor& twice = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        co_await me.acquire(lock);
    });
    stage.parked(twice, lock);
    stage.wake([&](Actor&) -> Co<> {
        lock.release();
        co_return;
    });
    stage.join();
    EXPECT_TRUE(lock.locked());
    lock.release();
}

TEST_P(Lock, any_agent_may_release_it) {
    sync::Lock lock;
    stage.join(stage.waiter([&](Actor& me) -> Co<> { co_await me.acquire(lock); }));
    stage.wake([&](Actor&) -> Co<> {
        lock.release();
        co_return;
    });
    EXPECT_FALSE(lock.locked());
    EXPECT_TRUE(lock.acquire(false));
    lock.release();
}

TEST_P(Lock, a_timed_out_acquire_leaves_it_as_it_was) {
    sync::Lock lock;
    lock.acquire();
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        const bool got = co_await me.acquire(lock, 5ms);
        EXPECT_FALSE(got);
    }));
    stage.wake([&](Actor& me) -> Co<> {
        lock.release();
        EXPECT_FALSE(lock.locked());
        const bool got = co_await me.acquire(lock, false);
        EXPECT_TRUE(got);
    });
    lock.release();
}

TEST_P(Lock, release_of_a_free_one_is_refused_and_changes_nothing) {
    sync::Lock lock;
    stage.join(stage.waiter([&](Actor& me) -> Co<> {
        EXPECT_THROW(lock.release(), UsageError);
        EXPECT_FALSE(lock.locked());
        const bool got = co_await me.acquire(lock, false);
        EXPECT_TRUE(got);
        lock.release();
        EXPECT_FALSE(lock.locked());
    }));
    stage.wake([&](Actor&) -> Co<> {
        EXPECT_THROW(lock.release(), UsageError);
        co_return;
    });
}

TEST_P(Lock, what_was_done_before_a_release_is_visible_after_the_acquire) {
    sync::Lock lock;
    long counter = 0; // plain: ThreadSanitizer sees an order that is missing
    const auto count = [&](Actor& me) -> Co<> {
        for (int i = 0; i < 1'000; ++i) {
            co_await me.acquire(lock);
            ++counter;
            lock.release();
        }
    };
    for (int i = 0; i < 2; ++i) {
        stage.waiter(count);
        stage.waker(count);
    }
    stage.join();
    EXPECT_EQ(counter, 4'000);
}

TEST(LockAfterFork, works_in_the_child_though_a_thread_of_the_parent_held_it) {
    sync::Lock lock;
    lock.acquire();
    const pid_t child = ::fork();
    if (child == 0) {
        lock.reset_after_fork();
        const bool good = !lock.locked() && lock.acquire(true, 10s) && !lock.acquire(false);
        ::_exit(good ? 0 : 1);
    }
    ASSERT_GT(child, 0);
    int status = -1;
    pid_t ended = -1;
    while ((ended = ::waitpid(child, &status, 0)) < 0 && errno == EINTR) {} // in a storm of signals
    ASSERT_EQ(ended, child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(lock.locked()) << "the parent's is as before";
    lock.release();
}

} // namespace
} // namespace sennit
