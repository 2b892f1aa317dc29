// Who completes a future, who waits for it, and who gives up.
#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/futures.hpp>

#include <chrono>

namespace sennit {
namespace {

using futures::Future;
using model::agent_thread;
using model::expect;
using namespace std::chrono_literals;

SCENARIO(FutureModel, the_value_is_visible_to_who_waits, .surprises = 3) {
    Future<int> f;
    model::var<int> data{0};
    agent_thread waiter([&] {
        expect(f.result() == 5, "the value");
        expect(data == 1, "what was done before");
    });
    data = 1;
    f.set_result(5);
    waiter.join();
}

SCENARIO(FutureModel, done_shows_the_value_without_waiting, .surprises = 3) {
    Future<int> f;
    model::var<int> data{0};
    agent_thread looker([&] {
        if (f.done()) expect(data == 1, "what was done before");
    });
    data = 1;
    f.set_result(5);
    looker.join();
}

SCENARIO(FutureModel, a_waiter_with_a_deadline_gets_the_value_or_leaves_clean, .surprises = 2, .jumps = true) {
    Future<int> f;
    agent_thread waiter([&] {
        try {
            expect(f.result(5ms) == 5, "the value");
        } catch (const TimeoutError&) {}
    });
    agent_thread other([&] { expect(f.result() == 5, "the value"); });
    f.set_result(5);
    waiter.join();
    other.join();
}

SCENARIO(FutureModel, a_cancelled_waiter_leaves_clean, .surprises = 2) {
    Future<int> f;
    agent_thread waiter([&] {
        try {
            f.result();
        } catch (const CancelledError&) {}
    });
    agent_thread canceller([&] { waiter.agent().cancel(); });
    f.set_result(5);
    canceller.join();
    waiter.join();
}

SCENARIO(FutureModel, one_of_cancel_and_start_wins, .surprises = 3) {
    Future<int> f;
    bool started = false;
    agent_thread worker([&] {
        started = f.set_running_or_notify_cancel();
        if (started) f.set_result(1);
    });
    const bool cancelled = f.cancel();
    worker.join();
    expect(started != cancelled, "one of both");
    expect(f.done(), "done");
}

SCENARIO(FutureModel, a_callback_runs_once_whenever_it_is_added, .surprises = 3) {
    Future<int> f;
    atomic<int> calls{0};
    agent_thread adder([&] { f.add_done_callback([&](const Future<int>&) { calls.fetch_add(1); }); });
    f.set_result(1);
    adder.join();
    expect(calls.load() == 1, "once");
}

SCENARIO(FutureModel, the_last_owner_destroys_after_all_others, .surprises = 2) {
    struct Content {
        model::var<int> value{0};
    };
    Future<Content*> f;
    {
        agent_thread other([g = f] { // its own handle, dropped at the end of the thread
            if (g.done()) expect(g.exception() == nullptr, "no error");
        });
        Content content;
        f.set_result(&content);
        f = {};
        other.join();
    }
}

SCENARIO(FutureModel, a_group_that_is_left_while_its_futures_end_is_touched_no_more, .surprises = 2) {
    Future<int> a, b;
    agent_thread setter([&] {
        a.set_result(1);
        b.set_result(2);
    });
    {
        const auto both = futures::wait({a, b}, {.return_when = futures::FIRST_COMPLETED});
        expect(!both.done.empty(), "one is done");
    }
    setter.join();
}

} // namespace
} // namespace sennit
