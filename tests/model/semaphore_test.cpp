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

SCENARIO(SemaphoreModel, a_permit_excludes_as_a_lock_does, .surprises = 2) {
    sync::Semaphore permits(1);
    model::var<int> counter{0};
    const auto add = [&] {
        permits.acquire();
        ++counter;
        permits.release();
    };
    {
        agent_thread other(add);
        add();
        add();
    }
    expect(counter == 3 && permits.value() == 1, "three visits, one permit");
}

SCENARIO(SemaphoreModel, a_permit_excludes_three_threads) {
    sync::Semaphore permits(1);
    model::var<int> counter{0};
    {
        const auto add = [&] {
            for (int i = 0; i < 2; ++i) {
                permits.acquire();
                ++counter;
                permits.release();
            }
        };
        agent_thread a(add), b(add), c(add);
    }
    expect(counter == 6 && permits.value() == 1, "six visits, one permit");
}

SCENARIO(SemaphoreModel, release_shows_what_was_done_before_to_who_gets_the_permit, .surprises = 4) {
    sync::Semaphore permits(0);
    model::var<int> data{0};
    agent_thread waiter([&] {
        permits.acquire();
        expect(data == 1, "what was done before release()");
    });
    data = 1;
    permits.release();
    waiter.join();
}

SCENARIO(SemaphoreModel, release_of_two_lets_both_waiters_in, .surprises = 2) {
    sync::Semaphore permits(0);
    agent_thread a([&] { expect(permits.acquire(), "a permit"); });
    agent_thread b([&] { expect(permits.acquire(), "a permit"); });
    permits.release(2);
    a.join();
    b.join();
    expect(permits.value() == 0, "none is left");
}

SCENARIO(SemaphoreModel, no_permit_is_lost_at_a_deadline, .surprises = 3) {
    sync::Semaphore permits(0);
    int got = 0;
    {
        agent_thread waiter([&] { got = permits.acquire(5ms); });
        permits.release();
    }
    expect(got + permits.value() == 1, "the permit is used or left");
}

SCENARIO(SemaphoreModel, no_permit_is_lost_in_a_cancellation, .surprises = 3) {
    sync::Semaphore permits(0);
    int got = 0;
    {
        agent_thread waiter([&] {
            try {
                got = permits.acquire();
            } catch (const CancelledError&) {}
        });
        agent_thread canceller([&] { waiter.agent().cancel(); });
        permits.release();
        canceller.join();
    }
    expect(got + permits.value() == 1, "the permit is used or left");
}

SCENARIO(SemaphoreModel, a_permit_goes_past_who_timed_out_to_the_next, .surprises = 2) {
    sync::Semaphore permits(0);
    int first = 0;
    {
        agent_thread a([&] { first = permits.acquire(5ms); });
        agent_thread b([&] { expect(permits.acquire(), "a permit"); }); // for ever, if it were lost
        permits.release();
        permits.release();
    }
    expect(first + permits.value() == 1, "the other permit is used or left");
}

SCENARIO(SemaphoreModel, the_last_waiter_that_leaves_opens_the_fast_path_again, .surprises = 3) {
    sync::Semaphore permits(0);
    {
        agent_thread waiter([&] {
            if (permits.acquire(5ms)) permits.release();
        });
        permits.release();
    }
    expect(permits.value() == 1, "the permit is there");
    expect(permits.try_acquire(), "and can be had without a wait");
}

SCENARIO(SemaphoreModel, a_bounded_one_refuses_exactly_the_release_too_many, .surprises = 2) {
    sync::BoundedSemaphore permits(1);
    int refused = 0, refused_too = 0;
    permits.acquire();
    const auto release = [&] {
        try {
            permits.release();
        } catch (const UsageError&) {
            return 1;
        }
        return 0;
    };
    {
        agent_thread other([&] { refused = release(); });
        refused_too = release();
    }
    expect(refused + refused_too == 1, "two releases of one permit");
    expect(permits.value() == 1, "one permit");
}

SCENARIO(SemaphoreModel, nobody_overtakes_who_waits, .surprises = 3) {
    sync::Semaphore permits(0);
    agent_thread first([&] { expect(permits.acquire(), "a permit"); });
    model::let_all_park();
    agent_thread second([&] { expect(!permits.try_acquire(), "the permit is the other's who waits for it"); });
    permits.release();
    first.join();
    second.join();
}

SCENARIO(SemaphoreModel, permits_are_conserved_among_threads_and_a_coroutine_with_deadlines) {
    sync::Semaphore permits(1);
    model::var<int> inside{0};
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        for (int i = 0; i < 2; ++i) {
            if (!co_await permits.async_acquire(true, 5ms)) continue;
            ++inside;
            expect(inside == 1, "alone");
            --inside;
            permits.release();
        }
    });
    const auto visit = [&] {
        for (int i = 0; i < 2; ++i) {
            if (!permits.acquire(true, 5ms)) continue;
            ++inside;
            expect(inside == 1, "alone");
            --inside;
            permits.release();
        }
    };
    { agent_thread a(visit), b(visit); }
    loop.join();
    expect(permits.value() == 1, "one permit");
}

SCENARIO(SemaphoreModel, a_coroutine_is_handed_its_permit_or_leaves_it) {
    sync::Semaphore permits(0);
    int got = 0;
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> { got = co_await permits.async_acquire(); });
    agent_thread canceller([&] { task.cancel(); });
    permits.release();
    canceller.join();
    loop.join();
    expect(got + permits.value() == 1, "the permit is used or left");
}

} // namespace
} // namespace sennit
