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

SCENARIO(EventModel, set_wakes_the_waiter_and_shows_what_was_done_before, .surprises = 4) {
    sync::Event event;
    model::var<int> data{0};
    agent_thread waiter([&] {
        expect(event.wait(), "set");
        expect(data == 1, "what was done before set()");
    });
    data = 1;
    event.set();
    waiter.join();
}

SCENARIO(EventModel, is_set_shows_what_was_done_before, .surprises = 4) {
    sync::Event event;
    model::var<int> data{0};
    agent_thread looker([&] {
        if (event.is_set()) expect(data == 1, "what was done before set()");
    });
    data = 1;
    event.set();
    looker.join();
}

SCENARIO(EventModel, set_wakes_all_who_wait, .surprises = 2) {
    sync::Event event;
    agent_thread a([&] { expect(event.wait(), "set"); });
    agent_thread b([&] { expect(event.wait(), "set"); });
    event.set();
    a.join();
    b.join();
}

SCENARIO(EventModel, who_waits_when_it_is_set_gets_true_though_it_is_cleared_at_once, .surprises = 3) {
    sync::Event event;
    agent_thread waiter([&] { expect(event.wait(), "set"); });
    model::let_all_park();
    event.set();
    event.clear();
    waiter.join();
}

SCENARIO(EventModel, set_and_clear_at_once_leave_nobody_asleep_by_a_flag_that_is_up, .surprises = 2) {
    sync::Event event;
    agent_thread waiter([&] { event.wait(); });
    agent_thread clearer([&] {
        event.clear();
        event.set();
    });
    event.set();
    clearer.join();
    waiter.join(); // for ever, if it slept by a raised flag
}

SCENARIO(EventModel, two_sets_at_once_are_one, .surprises = 2) {
    sync::Event event;
    agent_thread waiter([&] { expect(event.wait(), "set"); });
    agent_thread setter([&] { event.set(); });
    event.set();
    setter.join();
    waiter.join();
    expect(event.is_set(), "it stays set");
}

SCENARIO(EventModel, the_deadline_or_set_ends_the_wait, .surprises = 4) {
    sync::Event event;
    agent_thread waiter([&] {
        if (event.wait(5ms)) expect(event.is_set(), "true, for it is up");
    });
    event.set();
    waiter.join();
    expect(event.wait(0ms), "the flag is up, whoever came first");
}

SCENARIO(EventModel, a_cancelled_waiter_throws_or_was_released_and_keeps_its_cancellation, .surprises = 3) {
    sync::Event event;
    agent_thread waiter([&] {
        bool cancelled = false;
        try {
            expect(event.wait(), "released");
        } catch (const CancelledError&) {
            cancelled = true;
        }
        model::let_all_park();
        expect(cancelled != wait::current_agent().take_cancel(), "once, here or later");
    });
    agent_thread canceller([&] { waiter.agent().cancel(); });
    event.set();
    canceller.join();
    waiter.join();
}

SCENARIO(EventModel, one_of_deadline_cancellation_and_set_ends_each_of_two_waits) {
    sync::Event event;
    const auto wait = [&] {
        try {
            event.wait(5ms);
        } catch (const CancelledError&) {}
    };
    agent_thread a(wait), b(wait);
    agent_thread canceller([&] {
        a.agent().cancel();
        b.agent().cancel();
    });
    event.set();
    canceller.join();
}

SCENARIO(EventModel, a_coroutine_and_a_thread_are_both_woken) {
    sync::Event event;
    model::var<int> data{0};
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        expect(co_await event.async_wait(), "set");
        expect(data == 1, "what was done before set()");
    });
    agent_thread waiter([&] { expect(event.wait(), "set"); });
    data = 1;
    event.set();
    waiter.join();
    loop.join();
}

SCENARIO(EventModel, a_coroutine_wakes_a_thread_and_the_other_way_round) {
    sync::Event ping, pong;
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        co_await ping.async_wait();
        pong.set();
    });
    ping.set();
    expect(pong.wait(), "set");
    loop.join();
}

SCENARIO(EventModel, a_coroutine_s_deadline_and_set_race_without_a_trace) {
    sync::Event event;
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        co_await event.async_wait(5ms);
        expect(co_await event.async_wait(), "set in the end");
    });
    event.set();
    loop.join();
}

} // namespace
} // namespace sennit
