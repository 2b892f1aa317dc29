// The suites of Lock and RLock for those between processes, where they make sense: within one process, and across fork(). Left out
// is what needs hand-over (order, starvation), release by another thread, and one handle that two threads use to the last.
// CPython's _TestLock and _TestRLock; the table of cases is docs/conformance/multiprocessing.md.
#include "base_lock.hpp"

#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/rlock.hpp>

#include <csignal>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using namespace testing;
namespace mp = multiprocessing;

class SharedLock : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(SharedLock);

template <class Body>
int in_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
        body();
        ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

#define FOR_BOTH(name)                              \
    TEST_P(SharedLock, name) {                      \
        testing::base_lock::name<mp::Lock>(stage);  \
        testing::base_lock::name<mp::RLock>(stage); \
    }
FOR_BOTH(acquire_takes_it_and_release_frees_it)
FOR_BOTH(acquire_without_blocking_gives_false_while_another_agent_holds_it)
FOR_BOTH(all_contenders_get_in)
FOR_BOTH(a_guard_releases_it_also_when_an_exception_passes)
FOR_BOTH(a_deadline_without_blocking_or_that_is_nan_is_refused)
FOR_BOTH(a_time_out_is_not_early_and_a_huge_one_is_forever)
FOR_BOTH(a_cancelled_waiter_leaves_and_the_next_gets_it)
FOR_BOTH(a_signal_neither_ends_nor_prolongs_an_acquire)

TEST_P(SharedLock, of_the_recursive_kind_is_taken_again_by_its_owner_alone) {
    mp::RLock lock;
    Sequencer steps;
    stage.waiter([&](Actor& me) -> Co<> {
        for (int i = 0; i < 3; ++i) {
            const bool got = co_await me.acquire(lock);
            EXPECT_TRUE(got);
        }
        lock.release();
        lock.release();
        EXPECT_TRUE(lock.is_owned());
        steps.done(1);
        co_await steps.at(me, 3);
        lock.release();
        EXPECT_FALSE(lock.is_owned());
        EXPECT_THROW(lock.release(), UsageError);
        steps.done(3);
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await steps.at(me, 2);
        const bool too_early = co_await me.acquire(lock, false);
        EXPECT_FALSE(too_early);
        EXPECT_FALSE(lock.is_owned());
        EXPECT_THROW(lock.release(), UsageError);
        steps.done(2);
        co_await steps.at(me, 4);
        const bool free = co_await me.acquire(lock, false);
        EXPECT_TRUE(free);
        lock.release();
    });
    stage.join();
}

TEST_P(SharedLock, orders_what_its_holders_do) {
    mp::Lock lock;
    long counter = 0; // plain: ThreadSanitizer sees an order that is missing
    const auto count = [&](Actor& me) -> Co<> {
        mp::Lock mine = lock;
        for (int i = 0; i < 500; ++i) {
            co_await me.acquire(mine);
            ++counter;
            mine.release();
        }
    };
    for (int i = 0; i < 2; ++i) {
        stage.waiter(count);
        stage.waker(count);
    }
    stage.join();
    EXPECT_EQ(counter, 2'000);
}

TEST_P(SharedLock, whose_holder_died_is_told_to_each_next_one_until_it_is_made_consistent) {
    mp::Lock lock;
    Sequencer steps;
    stage.waiter([&](Actor& me) -> Co<> {
        EXPECT_FALSE(lock.owner_died());
        in_child([&] {
            lock.acquire();
            ::raise(SIGKILL);
        });
        const bool got = co_await me.acquire(lock);
        EXPECT_TRUE(got);
        EXPECT_TRUE(lock.owner_died());
        lock.release();
        steps.done(1);
    });
    stage.waker([&](Actor& me) -> Co<> {
        co_await steps.at(me, 2);
        const bool got = co_await me.acquire(lock, false);
        EXPECT_TRUE(got);
        EXPECT_TRUE(lock.owner_died());
        lock.make_consistent();
        EXPECT_FALSE(lock.owner_died());
        lock.release();
        const bool again = co_await me.acquire(lock);
        EXPECT_TRUE(again);
        EXPECT_FALSE(lock.owner_died());
        lock.release();
    });
    stage.join();
}

TEST_P(SharedLock, wakes_who_waits_for_it_when_its_holder_dies) {
    mp::RLock lock;
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        lock.acquire();
        lock.acquire();
        (void)!::write(ends[1], "x", 1);
        for (;;) ::pause();
    }
    char c = 0;
    ASSERT_EQ(::read(ends[0], &c, 1), 1);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        const bool got = co_await me.acquire(lock);
        EXPECT_TRUE(got);
        EXPECT_TRUE(lock.owner_died());
        lock.make_consistent();
        lock.release();
        EXPECT_FALSE(lock.locked());
    });
    stage.parked(waiter, lock);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    stage.join();
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_P(SharedLock, that_is_given_up_is_refused_to_who_waits_and_who_comes) {
    mp::Lock lock;
    Sequencer steps;
    stage.waker([&](Actor& me) -> Co<> {
        co_await me.acquire(lock);
        steps.done(1);
        co_await steps.at(me, 3);
        lock.give_up();
    });
    steps.at(2);
    Actor& waiter = stage.waiter([&](Actor& me) -> Co<> {
        bool refused = false;
        try {
            co_await me.acquire(lock);
        } catch (const mp::LockGivenUp&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
    });
    stage.parked(waiter, lock);
    steps.done(2);
    stage.join();
    EXPECT_THROW(lock.acquire(false), mp::LockGivenUp);
    EXPECT_THROW(lock.release(), UsageError);
}

TEST(SharedLockAcrossFork, excludes_the_child_and_is_released_by_its_holder_alone) {
    mp::Lock lock;
    lock.acquire();
    EXPECT_EQ(in_child([&] {
                  if (lock.acquire(false)) ::_exit(1);
                  if (lock.acquire(10ms)) ::_exit(2);
                  if (lock.owner_died()) ::_exit(3);
                  try {
                      lock.release();
                      ::_exit(4);
                  } catch (const UsageError&) {}
              }),
              0);
    EXPECT_TRUE(lock.locked());
    lock.release();
    EXPECT_EQ(in_child([&] {
                  lock.acquire();
                  lock.release();
              }),
              0);
    EXPECT_FALSE(lock.locked());
    EXPECT_THROW(lock.make_consistent(), UsageError);
    EXPECT_THROW(lock.give_up(), UsageError);
}

TEST(SharedLockAcrossFork, is_one_lock_for_every_handle_also_one_made_from_its_place) {
    mp::Lock lock;
    mp::Lock copy = lock;
    mp::Lock attached{mp::SharedBlock(os::duplicate(lock.block().fd()), lock.block().offset(), lock.block().size())};
    copy.acquire();
    std::thread([&] { EXPECT_FALSE(attached.acquire(false)); }).join();
    EXPECT_EQ(in_child([&] {
                  if (!attached.locked()) ::_exit(1);
              }),
              0);
    attached.release(); // at another address than it was acquired at
    EXPECT_FALSE(lock.locked());
}

TEST(SharedLockAcrossFork, lives_beside_a_robust_mutex_of_the_c_library) {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    const mp::SharedBlock memory(2 * sizeof(pthread_mutex_t));
    auto* const theirs = static_cast<pthread_mutex_t*>(memory.data());
    ::pthread_mutex_init(&theirs[0], &attributes);
    ::pthread_mutex_init(&theirs[1], &attributes);
    mp::Lock ours[3];
    // Interleaved, let go in another order than taken, and then all are left to the kernel.
    in_child([&] {
        ::pthread_mutex_lock(&theirs[0]);
        ours[0].acquire();
        ::pthread_mutex_lock(&theirs[1]);
        ours[1].acquire();
        ours[2].acquire();
        ours[0].release();
        ::pthread_mutex_unlock(&theirs[1]);
        ::pthread_mutex_unlock(&theirs[0]);
        ours[1].release();
        ::pthread_mutex_lock(&theirs[1]);
        ours[0].acquire();
        ::raise(SIGKILL);
    });
    EXPECT_EQ(::pthread_mutex_trylock(&theirs[0]), 0);
    EXPECT_EQ(::pthread_mutex_trylock(&theirs[1]), EOWNERDEAD);
    ::pthread_mutex_consistent(&theirs[1]);
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(ours[i].acquire(false));
        EXPECT_EQ(ours[i].owner_died(), i != 1) << i;
        ours[i].release();
    }
    ::pthread_mutex_unlock(&theirs[0]);
    ::pthread_mutex_unlock(&theirs[1]);
    ::pthread_mutexattr_destroy(&attributes);
}

TEST(SharedLockAcrossFork, whose_holding_thread_ended_is_told_so) {
    mp::Lock lock;
    std::thread([&] { lock.acquire(); }).join();
    // The kernel marks it after the thread has been joined, or just before.
    EXPECT_TRUE(lock.acquire(10s));
    EXPECT_TRUE(lock.owner_died());
    lock.make_consistent();
    lock.release();
}

} // namespace
} // namespace sennit
