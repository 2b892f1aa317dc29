#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include <chrono>

namespace sennit {
namespace {

using model::agent_thread;
using model::expect;
using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

SCENARIO(RLockModel, excludes_others_until_the_last_release, .surprises = 2) {
    sync::RLock lock;
    model::var<int> counter{0};
    const auto add_twice = [&] {
        lock.acquire();
        ++counter;
        lock.acquire();
        ++counter;
        lock.release();
        ++counter;
        lock.release();
    };
    {
        agent_thread other(add_twice);
        add_twice();
    }
    expect(counter == 6 && !lock.locked(), "both had it to their end");
}

SCENARIO(RLockModel, excludes_three_threads) {
    sync::RLock lock;
    model::var<int> counter{0};
    {
        const auto add = [&] {
            for (int i = 0; i < 2; ++i) {
                lock.acquire();
                lock.acquire();
                ++counter;
                lock.release();
                lock.release();
            }
        };
        agent_thread a(add), b(add), c(add);
    }
    expect(counter == 6 && !lock.locked(), "six increments");
}

SCENARIO(RLockModel, refuses_a_release_by_who_does_not_hold_it_and_stays_as_it_was, .surprises = 3) {
    sync::RLock lock;
    int refused = 0;
    {
        lock.acquire();
        agent_thread other([&] {
            try {
                lock.release();
            } catch (const UsageError&) {
                refused = 1;
            }
        });
        expect(lock.is_owned(), "still mine");
        other.join();
        expect(lock.is_owned(), "still mine");
        lock.release();
    }
    expect(refused == 1 && !lock.locked(), "refused, and free in the end");
}

SCENARIO(RLockModel, a_deadline_leaves_the_depth_alone, .surprises = 3) {
    sync::RLock lock;
    lock.acquire();
    lock.acquire();
    int got = 0;
    {
        agent_thread other([&] {
            if (!lock.acquire(true, 5ms)) return;
            got = 1;
            lock.release();
        });
        lock.release();
        expect(lock.is_owned(), "once more");
        lock.release();
    }
    expect(got <= 1 && !lock.locked(), "free in the end");
    expect(lock.acquire(true, 1s) && lock.is_owned(), "and can be had");
}

SCENARIO(RLockModel, a_cancelled_waiter_leaves_it_usable, .surprises = 2) {
    sync::RLock lock;
    lock.acquire();
    {
        agent_thread other([&] {
            try {
                lock.acquire();
                lock.release();
            } catch (const CancelledError&) {
                expect(!lock.is_owned(), "not his");
            }
        });
        other.agent().cancel();
        lock.release();
    }
    expect(!lock.locked() && lock.acquire(true, 1s), "free, and can be had");
}

SCENARIO(RLockModel, its_owner_is_the_coroutine_not_the_thread_below) {
    sync::RLock lock;
    model::var<int> inside{0};
    TestLoop loop;
    loop.start();
    for (int c = 0; c < 2; ++c)
        loop.spawn([&]() -> Co<> {
            auto outer = co_await lock.async_scoped_lock();
            auto inner = co_await lock.async_scoped_lock();
            ++inside;
            expect(inside == 1, "alone");
            --inside;
        });
    lock.acquire();
    ++inside;
    expect(inside == 1, "alone");
    --inside;
    lock.release();
    loop.join();
    expect(!lock.locked(), "free in the end");
}

} // namespace
} // namespace sennit
