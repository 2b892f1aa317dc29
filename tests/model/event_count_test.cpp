// Where idle workers sleep: nothing that was added before a notification is slept through, and each notification goes to one.
#include "futures/event_count.hpp"
#include "model/explore.hpp"

namespace sennit {
namespace {

using futures::EventCount;
using model::agent_thread;
using model::expect;

constexpr wait::WaitSite site{"EventCount", "wait"};

// Takes one of what there is, if there is any.
bool take(atomic<int>& there) {
    int n = there.load(memory_order_seq_cst);
    while (n > 0)
        if (there.compare_exchange_weak(n, n - 1, memory_order_seq_cst, memory_order_seq_cst)) return true;
    return false;
}
void add(atomic<int>& there, EventCount& count) {
    there.fetch_add(1, memory_order_seq_cst);
    count.notify_one();
}
void consume(atomic<int>& there, EventCount& count) {
    while (!take(there)) {
        count.prepare_wait();
        if (take(there)) {
            // The notification may have been another one's, who was announced as well.
            if (count.cancel_wait()) count.notify_one();
            return;
        }
        count.commit_wait(&count, site);
    }
}

SCENARIO(EventCountModel, who_waits_finds_what_is_added, .surprises = 3) {
    EventCount count;
    atomic<int> there{0};
    agent_thread consumer([&] { consume(there, count); });
    add(there, count);
    consumer.join();
    expect(!count.has_waiters(), "nobody is left");
}

SCENARIO(EventCountModel, two_wait_and_two_things_are_added, .surprises = 2) {
    EventCount count;
    atomic<int> there{0};
    agent_thread a([&] { consume(there, count); });
    agent_thread b([&] { consume(there, count); });
    add(there, count);
    add(there, count);
    a.join();
    b.join();
    expect(!count.has_waiters(), "nobody is left");
}

SCENARIO(EventCountModel, two_add_for_two, .surprises = 1) {
    EventCount count;
    atomic<int> there{0};
    agent_thread a([&] { consume(there, count); });
    agent_thread b([&] { consume(there, count); });
    agent_thread other([&] { add(there, count); });
    add(there, count);
    other.join();
    a.join();
    b.join();
    expect(!count.has_waiters(), "nobody is left");
}

SCENARIO(EventCountModel, a_notification_goes_to_one_or_to_nobody, .surprises = 3) {
    EventCount count;
    atomic<int> got{0};
    agent_thread a([&] {
        count.prepare_wait();
        if (count.cancel_wait()) ++got;
    });
    agent_thread b([&] {
        count.prepare_wait();
        if (count.cancel_wait()) ++got;
    });
    const int given = count.notify_one() ? 1 : 0;
    a.join();
    b.join();
    expect(got == given, "who is told of it has it");
    expect(!count.has_waiters(), "nobody is left");
    expect(!count.notify_one(), "nothing is kept");
}

} // namespace
} // namespace sennit
