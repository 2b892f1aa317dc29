// What Python's RLockTests and BaseLockTests know, for every pair of who waits and who wakes. The table of cases is
// docs/conformance/sync.md.
#include "base_lock.hpp"

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;

class RLock : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(RLock);

BASE_LOCK_TESTS(RLock, sync::RLock)

TEST_P(RLock, its_owner_takes_it_again_at_once_and_releases_it_as_often) {
    sync::RLock lock;
    Sequencer steps;
    stage.waiter([&](Actor& me) -> Co<> {
        for (int i = 0; i < 3; ++i) {
            const bool got = co_await me.acquire(lock);
            EXPECT_TRUE(got);
        }
        lock.release();
        const bool at_once = co_await me.acquire(lock, false);
        EXPECT_TRUE(at_once);
        const bool timed = co_await me.acquire(lock, 1s);
        EXPECT_TRUE(timed);
        for (int i = 0; i < 3; ++i) lock.release();
        steps.done(1); // one is left
        co_await steps.at(me, 3);
        lock.release();
        steps.done(3);
        EXPECT_THROW(lock.release(), UsageError);
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await steps.at(me, 2);
        const bool too_early = co_await me.acquire(lock, false);
        EXPECT_FALSE(too_early);
        steps.done(2);
        co_await steps.at(me, 4);
        const bool free = co_await me.acquire(lock, false);
        EXPECT_TRUE(free);
        lock.release();
    });
    stage.join();
}

TEST_P(RLock, release_by_who_does_not_hold_it_is_refused_and_changes_nothing) {
    sync::RLock lock;
    Sequencer steps;
    stage.waiter([&](Actor& me) -> Co<> {
        EXPECT_THROW(lock.release(), UsageError);
        co_await me.acquire(lock);
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        EXPECT_TRUE(lock.is_owned());
        lock.release();
        EXPECT_TRUE(lock.is_owned());
        lock.release();
        EXPECT_THROW(lock.release(), UsageError);
        EXPECT_FALSE(lock.locked());
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await steps.at(me, 2);
        EXPECT_THROW(lock.release(), UsageError);
        EXPECT_TRUE(lock.locked());
        steps.done(2);
    });
    stage.join();
}

TEST_P(RLock, is_owned_by_the_agent_that_took_it_alone) {
    sync::RLock lock;
    Sequencer steps;
    stage.waiter([&](Actor& me) -> Co<> {
        EXPECT_FALSE(lock.is_owned());
        co_await me.acquire(lock);
        EXPECT_TRUE(lock.is_owned());
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        EXPECT_TRUE(lock.is_owned());
        lock.release();
        EXPECT_TRUE(lock.is_owned());
        lock.release();
        EXPECT_FALSE(lock.is_owned());
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await steps.at(me, 2);
        EXPECT_FALSE(lock.is_owned());
        EXPECT_TRUE(lock.locked());
        steps.done(2);
    });
    stage.join();
}

TEST_P(RLock, who_was_handed_it_owns_it_once) {
    sync::RLock lock;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
        EXPECT_TRUE(lock.is_owned()) << "the waiter must not have it yet";
        lock.release();
        EXPECT_FALSE(lock.is_owned());
    });
    steps.at(2);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        EXPECT_TRUE(lock.is_owned());
        lock.release();
        EXPECT_FALSE(lock.is_owned());
        EXPECT_THROW(lock.release(), UsageError);
    });
    wait_until_waited(waiter.agent(), &lock, 1'000'000);
    steps.done(2);
    stage.join();
    EXPECT_FALSE(lock.locked());
}

} // namespace
} // namespace sennit
