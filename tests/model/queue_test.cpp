// The queues: who puts, who gets, who waits for either, who joins, and who shuts down.
#include "model/explore.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/queue.hpp>

#include <chrono>
#include <optional>

namespace sennit {
namespace {

using model::agent_thread;
using model::expect;
using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

// So large that a segment of the FIFO queue has four of them. One that was never made, or is gone, has a wrong number.
struct Item {
    int number = 0;
    char rest[600] = {};
    Item(int n = 0) : number(n) {} // NOLINT(google-explicit-constructor): stands for its number
    Item(Item&& other) noexcept : number(other.number) {}
    ~Item() { static_cast<volatile int&>(number) = -1000; }
    operator int() const { return number; } // NOLINT(google-explicit-constructor)
};
using Fifo = queue::Queue<Item>;
using Lifo = queue::LifoQueue<int>;
using Priority = queue::PriorityQueue<int>;
using Simple = queue::SimpleQueue<Item>;

// 0: none, by the deadline or a cancellation.
template <class Q>
int get_or_nothing(Q& q, Deadline deadline = forever) {
    try {
        return q.get(deadline);
    } catch (const queue::Empty&) {
    } catch (const CancelledError&) {}
    return 0;
}
template <class Q>
int put_or_nothing(Q& q, int item, Deadline deadline = forever) {
    try {
        q.put(item, deadline);
        return item;
    } catch (const queue::Full&) {
    } catch (const CancelledError&) {}
    return 0;
}
// What is left, when nobody else is there.
template <class Q>
int drain(Q& q) {
    int sum = 0;
    while (auto item = q.try_get()) sum += *item;
    return sum;
}

// ---- put and get

template <class Q>
void two_putters_and_two_getters() {
    Q q;
    int a = 0, b = 0;
    {
        agent_thread first([&] { q.put(1), q.put(2); });
        agent_thread second([&] { q.put(4), q.put(8); });
        agent_thread getter([&] { a = q.get(), a += q.get(); });
        b = q.get();
        b += q.get();
    }
    expect(a + b == 15 && q.empty(), "each item once");
}
SCENARIO(QueueModel, every_item_arrives_once) { two_putters_and_two_getters<Fifo>(); }
SCENARIO(QueueModel, every_item_of_a_lifo_arrives_once) { two_putters_and_two_getters<Lifo>(); }
SCENARIO(QueueModel, every_item_of_a_priority_queue_arrives_once) { two_putters_and_two_getters<Priority>(); }
SCENARIO(QueueModel, every_item_of_a_simple_queue_arrives_once) { two_putters_and_two_getters<Simple>(); }

template <class Q>
void put_shows_what_was_done_before() {
    Q q;
    model::var<int> data{0};
    agent_thread getter([&] {
        expect(q.get() == 7, "the item");
        expect(data == 1, "what was done before put()");
    });
    data = 1;
    q.put(7);
    getter.join();
}
SCENARIO(QueueModel, put_shows_what_was_done_before_it, .surprises = 2) { put_shows_what_was_done_before<Fifo>(); }
SCENARIO(QueueModel, put_into_a_lifo_shows_what_was_done_before_it, .surprises = 2) {
    put_shows_what_was_done_before<Lifo>();
}
SCENARIO(QueueModel, try_get_shows_what_was_done_before_the_put, .surprises = 2) {
    Fifo q;
    model::var<int> data{0};
    agent_thread getter([&] {
        if (q.try_get()) expect(data == 1, "what was done before put()");
    });
    data = 1;
    q.put(7);
    getter.join();
}

SCENARIO(QueueModel, items_of_one_putter_keep_their_order_over_segments) {
    Fifo q;
    agent_thread putter([&] {
        for (int i = 1; i <= 9; ++i) q.put(i);
    });
    for (int i = 1; i <= 9; ++i) expect(q.get() == i, "in order");
    putter.join();
}

SCENARIO(QueueModel, two_putters_that_meet_at_the_end_of_a_segment_lose_nothing) {
    Fifo q;
    q.put(100), q.put(100), q.put(100);
    {
        agent_thread a([&] { q.put(1), q.put(2); });
        agent_thread b([&] { q.put(10), q.put(20); });
    }
    int before = 0;
    for (int i = 0; i < 3; ++i) expect(q.get() == 100, "the oldest first");
    for (int i = 0; i < 4; ++i) {
        const int item = q.get();
        if (item == 1 || item == 10) ++before;
        if (item == 2 || item == 20) expect(before > 0, "the order of its putter");
    }
    expect(q.empty(), "no more");
}

SCENARIO(QueueModel, two_getters_that_meet_at_the_end_of_a_segment_share_the_items) {
    Fifo q;
    for (int i = 0; i < 6; ++i) q.put(1 << i);
    int a = 0, b = 0;
    {
        agent_thread other([&] {
            for (int i = 0; i < 3; ++i) a += q.get();
        });
        for (int i = 0; i < 3; ++i) b += q.get();
    }
    expect(a + b == 63 && (a & b) == 0 && q.empty(), "each item once");
}

SCENARIO(QueueModel, a_segment_is_used_again_only_when_all_have_left_it) {
    Fifo q(4);
    int sum = 0;
    {
        agent_thread putter([&] {
            for (int i = 1; i <= 10; ++i) q.put(i);
        });
        agent_thread getter([&] {
            for (int i = 0; i < 5; ++i) sum += q.get();
        });
        int mine = 0;
        for (int i = 0; i < 5; ++i) mine += q.get();
        getter.join();
        sum += mine;
    }
    expect(sum == 55, "each item once");
}

SCENARIO(QueueModel, a_getter_finds_what_it_has_put_itself, .surprises = 2) {
    Fifo q;
    agent_thread other([&] { q.put(1); });
    q.put(2);
    expect(q.try_get().has_value(), "one item at least was there all the time");
    other.join();
    expect(q.qsize() == 1, "the other one");
}

SCENARIO(QueueModel, the_smallest_item_there_comes_first) {
    Priority q;
    {
        agent_thread a([&] { q.put(3), q.put(1); });
        agent_thread b([&] { q.put(2); });
    }
    expect(q.get() == 1 && q.get() == 2 && q.get() == 3, "in their order");
}

SCENARIO(QueueModel, the_youngest_item_there_comes_first) {
    Lifo q;
    agent_thread a([&] { q.put(1), q.put(2); });
    int first = q.get();
    a.join();
    expect(first == 2 ? q.get() == 1 : q.get() == 2, "the other one");
}

// ---- a limit

template <class Q>
void a_full_queue_is_never_fuller() {
    Q q(1);
    int a = 0;
    {
        agent_thread first([&] { q.put(1), q.put(2); });
        agent_thread second([&] { q.put(4); });
        agent_thread looker([&] { expect(q.qsize() <= 1, "one at most"); });
        a = q.get();
        a += q.get();
        a += q.get();
    }
    expect(a == 7 && q.empty(), "each item once");
}
SCENARIO(QueueModel, with_a_limit_of_one_holds_one) { a_full_queue_is_never_fuller<Fifo>(); }
SCENARIO(QueueModel, a_lifo_with_a_limit_of_one_holds_one) { a_full_queue_is_never_fuller<Lifo>(); }

SCENARIO(QueueModel, of_two_try_puts_into_one_room_one_succeeds, .surprises = 2) {
    Fifo q(1);
    bool other = false;
    bool mine = false;
    {
        agent_thread a([&] { other = q.try_put(Item(1)); });
        mine = q.try_put(Item(2));
    }
    expect(mine != other && q.qsize() == 1, "one of them");
}

SCENARIO(QueueModel, a_putter_gets_the_room_that_a_getter_leaves, .surprises = 2) {
    Fifo q(1);
    q.put(1);
    agent_thread putter([&] { q.put(2); });
    expect(q.get() == 1 && q.get() == 2, "in order");
    putter.join();
}

// ---- deadlines and cancellations

template <class Q>
void an_item_is_got_or_left_at_the_deadline() {
    Q q;
    int got = 0;
    {
        agent_thread getter([&] { got = get_or_nothing(q, 5ms); });
        q.put(1);
    }
    expect(got + drain(q) == 1, "got or left");
}
SCENARIO(QueueModel, no_item_is_lost_at_a_deadline, .surprises = 2) { an_item_is_got_or_left_at_the_deadline<Fifo>(); }
SCENARIO(QueueModel, no_item_of_a_lifo_is_lost_at_a_deadline, .surprises = 2) {
    an_item_is_got_or_left_at_the_deadline<Lifo>();
}

template <class Q>
void an_item_is_got_or_left_in_a_cancellation() {
    Q q;
    int got = 0;
    {
        agent_thread getter([&] { got = get_or_nothing(q); });
        agent_thread canceller([&] { getter.agent().cancel(); });
        q.put(1);
        canceller.join();
    }
    expect(got + drain(q) == 1, "got or left");
}
SCENARIO(QueueModel, no_item_is_lost_in_a_cancellation, .surprises = 1) {
    an_item_is_got_or_left_in_a_cancellation<Fifo>();
}
SCENARIO(QueueModel, no_item_of_a_priority_queue_is_lost_in_a_cancellation, .surprises = 1) {
    an_item_is_got_or_left_in_a_cancellation<Priority>();
}

template <class Q>
void an_item_goes_past_who_gave_up_to_the_next() {
    Q q;
    int first = 0;
    agent_thread a([&] { first = get_or_nothing(q, 5ms); });
    agent_thread b([&] { expect(q.get() == 1, "an item"); }); // for ever, if its wake-up were lost
    q.put(1);
    a.join();
    if (first) q.put(1);
    b.join();
    expect(q.empty(), "nothing is left");
}
SCENARIO(QueueModel, an_item_goes_past_who_timed_out_to_the_next) { an_item_goes_past_who_gave_up_to_the_next<Fifo>(); }
SCENARIO(QueueModel, an_item_of_a_lifo_goes_past_who_timed_out_to_the_next) {
    an_item_goes_past_who_gave_up_to_the_next<Lifo>();
}

template <class Q>
void an_item_goes_past_who_was_cancelled_to_the_next() {
    Q q;
    int first = 0;
    agent_thread a([&] { first = get_or_nothing(q); });
    agent_thread b([&] { expect(q.get() == 1, "an item"); }); // for ever, if its wake-up were lost
    agent_thread canceller([&] { a.agent().cancel(); });
    q.put(1);
    canceller.join();
    a.join();
    if (first) q.put(1);
    b.join();
    expect(q.empty(), "nothing is left");
}
SCENARIO(QueueModel, an_item_goes_past_who_was_cancelled_to_the_next) {
    an_item_goes_past_who_was_cancelled_to_the_next<Fifo>();
}
SCENARIO(QueueModel, an_item_of_a_lifo_goes_past_who_was_cancelled_to_the_next) {
    an_item_goes_past_who_was_cancelled_to_the_next<Lifo>();
}

template <class Q>
void room_goes_past_who_gave_up_to_the_next() {
    Q q(1);
    q.put(1);
    int a = 0;
    agent_thread first([&] { a = put_or_nothing(q, 10, 5ms); });
    agent_thread second([&] { q.put(100); }); // for ever, if its wake-up were lost
    int got = q.get();
    first.join();
    if (a) got += q.get();
    second.join();
    expect(got + drain(q) == 101 + a, "what was put, and nothing else");
}
SCENARIO(QueueModel, room_goes_past_who_timed_out_to_the_next) { room_goes_past_who_gave_up_to_the_next<Fifo>(); }
SCENARIO(QueueModel, room_in_a_lifo_goes_past_who_timed_out_to_the_next) {
    room_goes_past_who_gave_up_to_the_next<Lifo>();
}

SCENARIO(QueueModel, a_cancelled_putter_leaves_no_item, .surprises = 1) {
    Fifo q(1);
    q.put(1);
    int put = 0, got = 0;
    {
        agent_thread putter([&] { put = put_or_nothing(q, 10); });
        agent_thread canceller([&] { putter.agent().cancel(); });
        got = q.get();
        canceller.join();
    }
    expect(got + drain(q) == 1 + put, "what was put, and nothing else");
}

// ---- shutdown

template <class Q>
void what_was_put_before_the_shutdown_is_got() {
    Q q;
    int got = 0, put = 0;
    {
        agent_thread getter([&] {
            try {
                for (;;) got += q.get();
            } catch (const queue::ShutDown&) {}
        });
        agent_thread putter([&] {
            try {
                q.put(1), put += 1;
                q.put(2), put += 2;
            } catch (const queue::ShutDown&) {}
        });
        q.shutdown();
    }
    expect(got == put && q.empty(), "all that was put, then the end");
}
SCENARIO(QueueModel, what_was_put_before_the_shutdown_is_got) { what_was_put_before_the_shutdown_is_got<Fifo>(); }
SCENARIO(QueueModel, what_was_put_into_a_lifo_before_the_shutdown_is_got) {
    what_was_put_before_the_shutdown_is_got<Lifo>();
}

template <class Q>
void shutdown_ends_every_wait() {
    Q q(1);
    int refused = 0;
    model::var<int> before{0};
    q.put(1);
    {
        agent_thread putter([&] {
            try {
                q.put(2);
            } catch (const queue::ShutDown&) {
                expect(before == 1, "what was done before the shutdown");
                ++refused;
            }
        });
        before = 1;
        q.shutdown();
    }
    expect(refused == 1 && q.qsize() == 1, "the putter is told");
}
SCENARIO(QueueModel, shutdown_ends_the_wait_of_putters, .surprises = 2) { shutdown_ends_every_wait<Fifo>(); }
SCENARIO(QueueModel, shutdown_of_a_lifo_ends_the_wait_of_putters, .surprises = 2) { shutdown_ends_every_wait<Lifo>(); }

SCENARIO(QueueModel, shutdown_ends_the_wait_of_all_getters) {
    Fifo q;
    int ended = 0;
    {
        const auto get = [&q](int& n) {
            try {
                q.get();
            } catch (const queue::ShutDown&) {
                n = 1;
            }
        };
        int a = 0, b = 0;
        agent_thread first([&] { get(a); });
        agent_thread second([&] { get(b); });
        q.shutdown();
        first.join();
        second.join();
        ended = a + b;
    }
    expect(ended == 2, "both");
}

template <class Q>
void an_immediate_shutdown_drops_what_nobody_got() {
    Q q;
    int got = 0;
    q.put(1);
    {
        agent_thread putter([&] {
            try {
                q.put(2);
            } catch (const queue::ShutDown&) {}
        });
        agent_thread getter([&] {
            try {
                got = q.get();
                q.task_done();
            } catch (const queue::ShutDown&) {
            } catch (const UsageError&) {} // the shutdown has told so already
        });
        q.shutdown(true);
    }
    expect(q.empty(), "nothing is left");
    expect(q.join(0s), "and nothing is unfinished");
}
SCENARIO(QueueModel, an_immediate_shutdown_drops_what_nobody_got) {
    an_immediate_shutdown_drops_what_nobody_got<Fifo>();
}
SCENARIO(QueueModel, an_immediate_shutdown_of_a_lifo_drops_what_nobody_got) {
    an_immediate_shutdown_drops_what_nobody_got<Lifo>();
}

SCENARIO(QueueModel, an_immediate_shutdown_ends_a_join, .surprises = 2) {
    Fifo q;
    q.put(1);
    agent_thread joiner([&] { expect(q.join(), "for ever, if it were forgotten"); });
    q.shutdown(true);
    joiner.join();
}

SCENARIO(QueueModel, a_loop_over_the_items_ends_at_the_shutdown) {
    Fifo q;
    int sum = 0;
    {
        agent_thread worker([&] {
            for (const Item& item : q) sum += item;
        });
        q.put(1);
        q.put(2);
        q.shutdown();
    }
    expect(sum == 3, "all of them, and then the end");
}

SCENARIO(QueueModel, two_loops_over_the_items_share_them) {
    Priority q;
    int a = 0, b = 0;
    {
        agent_thread first([&] {
            for (const int item : q) a += item;
        });
        agent_thread second([&] {
            for (const int item : q) b += item;
        });
        q.put(1);
        q.put(2);
        q.put(4);
        q.shutdown();
    }
    expect(a + b == 7, "each once");
}

// ---- task_done and join

SCENARIO(QueueModel, join_shows_what_was_done_for_the_items, .surprises = 2) {
    Fifo q;
    model::var<int> data{0};
    q.put(1);
    agent_thread worker([&] {
        q.get();
        data = 1;
        q.task_done();
    });
    q.join();
    expect(data == 1, "what was done before task_done()");
    worker.join();
}

SCENARIO(QueueModel, join_waits_for_the_last_of_all_workers) {
    Fifo q;
    model::var<int> a{0}, b{0};
    q.put(1), q.put(1);
    const auto work = [&q](model::var<int>& done) {
        q.get();
        done = 1;
        q.task_done();
    };
    agent_thread first([&] { work(a); });
    agent_thread second([&] { work(b); });
    expect(q.join(), "joined");
    expect(a == 1 && b == 1, "both items are done");
    first.join();
    second.join();
}

SCENARIO(QueueModel, all_joiners_are_let_go) {
    Lifo q;
    q.put(1);
    agent_thread a([&] { expect(q.join(), "joined"); });
    agent_thread b([&] { expect(q.join(), "joined"); });
    q.task_done();
    a.join();
    b.join();
}

SCENARIO(QueueModel, join_gives_up_at_its_deadline_and_the_next_one_is_let_go) {
    Fifo q;
    q.put(1);
    agent_thread hasty([&] { q.join(5ms); });
    agent_thread patient([&] { expect(q.join(), "joined"); });
    q.task_done();
    hasty.join();
    patient.join();
}

SCENARIO(QueueModel, a_cancelled_join_leaves_clean) {
    Fifo q;
    q.put(1);
    agent_thread joiner([&] {
        try {
            q.join();
        } catch (const CancelledError&) {}
    });
    agent_thread canceller([&] { joiner.agent().cancel(); });
    agent_thread other([&] { expect(q.join(), "joined"); });
    q.task_done();
    canceller.join();
    joiner.join();
    other.join();
}

SCENARIO(QueueModel, join_waits_for_what_is_put_while_it_waits) {
    Fifo q;
    model::var<int> second{0};
    q.put(1);
    agent_thread worker([&] {
        q.put(2); // before the first is done: at no time is all done
        q.task_done();
        second = 1;
        q.task_done();
    });
    expect(q.join(), "joined");
    expect(second == 1, "for the second, too");
    worker.join();
}

SCENARIO(QueueModel, of_a_task_done_too_many_exactly_one_is_refused, .surprises = 2) {
    Fifo q;
    q.put(1);
    const auto done = [&q] {
        try {
            q.task_done();
        } catch (const UsageError&) {
            return 1;
        }
        return 0;
    };
    int other = 0, mine = 0;
    {
        agent_thread a([&] { other = done(); });
        mine = done();
    }
    expect(mine + other == 1 && q.join(0s), "one of two");
}

// ---- coroutines

SCENARIO(QueueModel, a_coroutine_gets_what_a_thread_puts, .surprises = 1) {
    Fifo q;
    int got = 0;
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> { got = co_await q.async_get(); });
    q.put(1);
    loop.join();
    expect(got == 1, "the item");
}

SCENARIO(QueueModel, a_coroutine_that_is_cancelled_leaves_the_item) {
    Lifo q;
    int got = 0;
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> { got = co_await q.async_get(); });
    agent_thread canceller([&] { task.cancel(); });
    q.put(1);
    canceller.join();
    loop.join();
    expect(got + drain(q) == 1, "got or left");
}

SCENARIO(QueueModel, coroutines_and_a_thread_pass_items_through_one_place) {
    Fifo q(1);
    int coroutines = 0;
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        co_await q.async_put(1);
        co_await q.async_put(2);
    });
    loop.spawn([&]() -> Co<> { coroutines = co_await q.async_get(); });
    const int thread = q.get();
    loop.join();
    expect(thread + coroutines == 3 && q.empty(), "each item once");
}

SCENARIO(QueueModel, shutdown_ends_the_waits_of_coroutines) {
    Fifo q(1);
    q.put(1);
    int ended = 0;
    TestLoop loop;
    loop.start();
    loop.spawn([&]() -> Co<> {
        bool refused = false;
        try {
            co_await q.async_put(2);
        } catch (const queue::ShutDown&) {
            refused = true;
        }
        ended += refused;
    });
    q.shutdown();
    loop.join();
    expect(ended == 1 && q.qsize() == 1, "told, and what was there is there");
}

} // namespace
} // namespace sennit
