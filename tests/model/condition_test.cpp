#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include <chrono>
#include <mutex>

namespace sennit {
namespace {

using model::agent_thread;
using model::expect;
using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

SCENARIO(ConditionModel, a_notification_wakes_the_waiter_with_the_lock_held, .surprises = 3) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<bool> ready{false};
    agent_thread waiter([&] {
        std::unique_lock guard(changed);
        changed.wait_for([&] { return ready.get(); });
        expect(lock.locked(), "held");
        ready = false;
    });
    {
        std::unique_lock guard(changed);
        ready = true;
        changed.notify();
    }
    waiter.join();
    expect(!lock.locked() && !ready, "it has run");
}

SCENARIO(ConditionModel, one_notification_wakes_one_of_two, .surprises = 2) {
    sync::Condition changed;
    model::var<int> tokens{0}, woken{0};
    const auto take = [&] {
        std::unique_lock guard(changed);
        changed.wait_for([&] { return tokens > 0; });
        --tokens;
        ++woken;
    };
    agent_thread a(take), b(take);
    for (int i = 0; i < 2; ++i) {
        std::unique_lock guard(changed);
        ++tokens;
        changed.notify();
    }
    a.join();
    b.join();
    std::unique_lock guard(changed);
    expect(tokens == 0 && woken == 2, "each had one");
}

SCENARIO(ConditionModel, notify_all_wakes_all_who_wait, .surprises = 2) {
    sync::Condition changed;
    model::var<bool> open{false};
    const auto pass = [&] {
        std::unique_lock guard(changed);
        changed.wait_for([&] { return open.get(); });
    };
    agent_thread a(pass), b(pass);
    std::unique_lock guard(changed);
    open = true;
    changed.notify_all();
    guard.unlock();
    a.join();
    b.join();
}

SCENARIO(ConditionModel, there_are_no_returns_without_a_notification, .surprises = 3) {
    sync::Condition changed;
    model::var<int> notified{0};
    agent_thread waiter([&] {
        std::unique_lock guard(changed);
        if (changed.wait(5ms)) expect(notified == 1, "true only when notified");
    });
    {
        std::unique_lock guard(changed);
        notified = 1;
        changed.notify();
    }
    waiter.join();
}

SCENARIO(ConditionModel, the_lock_is_taken_again_at_the_deadline, .surprises = 3) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> inside{0};
    agent_thread waiter([&] {
        std::unique_lock guard(changed);
        changed.wait(5ms);
        ++inside;
        expect(inside == 1, "alone");
        --inside;
    });
    {
        std::unique_lock guard(changed);
        ++inside;
        expect(inside == 1, "alone");
        --inside;
    }
    waiter.join();
    expect(!lock.locked(), "free in the end");
}

SCENARIO(ConditionModel, a_notification_passes_over_who_timed_out, .surprises = 2) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> heard{0};
    agent_thread impatient([&] {
        std::unique_lock guard(changed);
        if (!changed.wait(5ms)) return;
        ++heard;
        changed.notify(); // it was for either: the other one's is still to come
    });
    agent_thread patient([&] {
        std::unique_lock guard(changed);
        expect(changed.wait(), "notified"); // for ever, if the notification were lost
        ++heard;
    });
    model::let_all_park();
    {
        std::unique_lock guard(changed);
        changed.notify();
    }
    impatient.join();
    patient.join();
    expect(heard >= 1, "the patient one has heard it");
}

SCENARIO(ConditionModel, a_notification_passes_over_who_is_cancelled, .surprises = 1) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> tokens{0};
    int taken = 0;
    {
        agent_thread cancelled([&] {
            try {
                std::unique_lock guard(changed);
                changed.wait_for([&] { return tokens > 0; });
                --tokens;
                ++taken;
                changed.notify(); // in case it was for another
            } catch (const CancelledError&) {}
        });
        agent_thread patient([&] {
            std::unique_lock guard(changed);
            changed.wait_for([&] { return tokens > 0; });
            --tokens;
        });
        cancelled.agent().cancel();
        for (int i = 0; i < 2; ++i) {
            std::unique_lock guard(changed);
            ++tokens;
            changed.notify();
        }
    }
    std::unique_lock guard(changed);
    expect(tokens + taken == 1, "the other token is taken or left");
}

SCENARIO(ConditionModel, a_cancelled_waiter_holds_the_lock_when_it_throws, .surprises = 2) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> inside{0};
    agent_thread waiter([&] {
        bool held = false;
        try {
            held = lock.acquire(); // may be cancelled, too
            changed.wait();
            expect(false, "nobody notifies");
        } catch (const CancelledError&) {
            if (!held) return;
        }
        ++inside;
        expect(inside == 1, "alone");
        --inside;
        lock.release();
    });
    waiter.agent().cancel();
    lock.acquire();
    ++inside;
    expect(inside == 1, "alone");
    --inside;
    lock.release();
    waiter.join();
    expect(!lock.locked(), "free in the end");
}

SCENARIO(ConditionModel, notification_deadline_and_cancellation_race_with_the_lock_taken_again) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> inside{0};
    const auto wait = [&] {
        bool held = false;
        try {
            held = lock.acquire(); // may be cancelled, too
            changed.wait(5ms);
        } catch (const CancelledError&) {
            if (!held) return;
        }
        ++inside;
        expect(inside == 1, "alone");
        --inside;
        lock.release();
    };
    {
        agent_thread a(wait), b(wait);
        agent_thread canceller([&] {
            a.agent().cancel();
            b.agent().cancel();
        });
        lock.acquire();
        ++inside;
        changed.notify();
        expect(inside == 1, "alone");
        --inside;
        lock.release();
        canceller.join();
    }
    expect(!lock.locked(), "free in the end");
}

SCENARIO(ConditionModel, the_depth_of_an_rlock_comes_back, .surprises = 2) {
    sync::RLock lock;
    sync::Condition changed(lock);
    model::var<bool> ready{false};
    agent_thread waiter([&] {
        lock.acquire();
        lock.acquire();
        changed.wait_for([&] { return ready.get(); });
        lock.release();
        expect(lock.is_owned(), "once more");
        lock.release();
        expect(!lock.is_owned(), "no more");
    });
    lock.acquire();
    ready = true;
    changed.notify();
    lock.release();
    waiter.join();
    expect(!lock.locked(), "free in the end");
}

SCENARIO(ConditionModel, a_wait_of_no_time_releases_and_takes_again, .surprises = 3) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> state{0};
    agent_thread poller([&] {
        std::unique_lock guard(changed);
        const int before = state;
        if (!changed.wait(0ms)) expect(state >= before, "what others did meanwhile");
    });
    {
        std::unique_lock guard(changed);
        ++state;
        changed.notify();
    }
    poller.join();
    expect(!lock.locked(), "free in the end");
}

SCENARIO(ConditionModel, coroutines_and_threads_pass_a_token_round) {
    sync::Condition changed;
    model::var<int> turn{0};
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        auto guard = co_await changed.async_scoped_lock();
        co_await changed.async_wait_for([&] { return turn == 1; });
        turn = 2;
        changed.notify_all();
    });
    agent_thread third([&] {
        std::unique_lock guard(changed);
        changed.wait_for([&] { return turn == 2; });
        turn = 3;
        changed.notify_all();
    });
    {
        std::unique_lock guard(changed);
        turn = 1;
        changed.notify_all();
        changed.wait_for([&] { return turn == 3; });
    }
    third.join();
    loop.join();
}

SCENARIO(ConditionModel, a_coroutine_is_notified_or_times_out_or_is_cancelled_with_the_lock_in_hand) {
    sync::Lock lock;
    sync::Condition changed(lock);
    model::var<int> inside{0};
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> {
        auto guard = co_await lock.async_scoped_lock();
        try {
            co_await changed.async_wait(5ms);
        } catch (const CancelledError&) {}
        ++inside;
        expect(inside == 1, "alone");
        --inside;
    });
    agent_thread canceller([&] { task.cancel(); });
    lock.acquire();
    ++inside;
    changed.notify();
    expect(inside == 1, "alone");
    --inside;
    lock.release();
    canceller.join();
    loop.join();
    expect(!lock.locked(), "free in the end");
}

} // namespace
} // namespace sennit
