// The batches that workers steal from, and a whole pool: tasks run once each, nobody sleeps beside work, every end is heard.
#include "futures/task_batch.hpp"
#include "model/explore.hpp"
#include "model/plain_task.hpp"

#include <sennit/futures.hpp>

namespace sennit {
namespace {

using futures::Chunk;
using futures::Future;
using futures::TaskBatch;
using futures::ThreadPoolExecutor;
using model::agent_thread;
using model::expect;
using model::PlainTask;

template <std::size_t N>
struct Tasks {
    PlainTask tasks[N];
    Chunk chunk;
    Tasks() {
        for (auto& t : tasks) chunk.tasks[chunk.size++] = &t;
    }
    void write() {
        for (auto& t : tasks) t.content = PlainTask::written;
    }
    void expect_each_once() {
        for (auto& t : tasks) expect(t.runs == 1, "each task ran once");
    }
};

void drain(TaskBatch& batch) {
    while (sync::Task* t = batch.take()) t->run();
}

SCENARIO(TaskBatchModel, owner_and_thief_take_each_task_once, .surprises = 3) {
    Tasks<3> three;
    TaskBatch batch;
    agent_thread thief([&] { drain(batch); });
    three.write();
    batch.fill(three.chunk);
    drain(batch);
    thief.join();
    three.expect_each_once();
}

SCENARIO(TaskBatchModel, a_thief_that_steals_half_lets_others_steal_from_itself, .surprises = 2) {
    Tasks<4> four;
    TaskBatch batch, stolen;
    four.write();
    batch.fill(four.chunk);
    agent_thread thief([&] {
        if (sync::Task* t = stolen.steal_half(batch)) t->run();
        drain(stolen);
    });
    agent_thread other([&] { drain(stolen); });
    drain(batch);
    thief.join();
    other.join();
    drain(stolen);
    four.expect_each_once();
}

SCENARIO(TaskBatchModel, slots_are_filled_again_only_when_they_were_read, .surprises = 3) {
    Tasks<2> first, second;
    TaskBatch batch;
    agent_thread thief([&] {
        drain(batch);
        drain(batch);
    });
    for (auto* round : {&first, &second}) {
        round->write();
        batch.fill(round->chunk);
        drain(batch);
    }
    thief.join();
    first.expect_each_once();
    second.expect_each_once();
}

SCENARIO(PoolModel, what_was_submitted_runs_before_the_end) {
    model::var<int> ran{0};
    {
        ThreadPoolExecutor pool(1);
        model::var<int> before{1};
        pool.submit([&] { ran = before; });
        auto second = pool.submit([&] { return ran + 1; });
        expect(second.result() == 2, "the second sees the first");
    }
    expect(ran == 1, "it ran");
}

SCENARIO(PoolModel, nobody_sleeps_beside_work) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    // The first waits for the second: it must be run by somebody else, though it may lie in the first one's batch.
    auto first = pool.submit([&] { go.wait(); });
    auto second = pool.submit([&] { go.set(); });
    second.result();
    first.result();
}

SCENARIO(PoolModel, who_takes_several_tasks_calls_for_the_others) {
    ThreadPoolExecutor pool(2);
    sync::Event both, go;
    auto a = pool.submit([&] { both.wait(); });
    pool.submit([&] { both.set(); }).result(); // two threads are there now, and fall asleep
    a.result();
    // A sleeper is woken for the first, and nobody for the second.
    auto first = pool.submit([&] { go.wait(); });
    auto second = pool.submit([&] { go.set(); });
    second.result();
    first.result();
}

SCENARIO(PoolModel, what_a_task_submits_is_stolen_while_it_waits_for_something_else) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    auto outer = pool.submit([&] {
        auto inner = pool.submit([&] { go.set(); }); // on its own deque
        go.wait();                                   // the pool does not see this
        inner.result();
    });
    outer.result();
}

SCENARIO(PoolModel, what_a_task_submits_is_done_or_cancelled_at_the_end) {
    Future<void> inner;
    bool refused = false;
    {
        ThreadPoolExecutor pool(2);
        auto outer = pool.submit([&] {
            try {
                inner = pool.submit([] {});
            } catch (const UsageError&) {
                refused = true;
            }
        });
        pool.shutdown({.cancel_futures = true});
        if (outer.cancelled()) return;
    }
    expect(refused != inner.done(), "refused, or done");
}

SCENARIO(PoolModel, nested_waits_end_in_a_pool_of_one) {
    ThreadPoolExecutor pool(1);
    auto outer = pool.submit([&] { return pool.submit([] { return 1; }).result() + 1; });
    expect(outer.result() == 2, "both ran");
}

SCENARIO(PoolModel, a_task_is_cancelled_or_runs) {
    ThreadPoolExecutor pool(1);
    model::var<int> ran{0};
    auto f = pool.submit([&] { ran = 1; });
    const bool cancelled = f.cancel();
    f.wait();
    expect(f.cancelled() == cancelled, "cancel() said so");
    expect(cancelled || ran == 1, "it ran");
    pool.shutdown();
    expect(ran == (cancelled ? 0 : 1), "one of both");
}

SCENARIO(PoolModel, shutdown_settles_what_submit_gave) {
    Future<int> given;
    bool refused = false;
    {
        ThreadPoolExecutor pool(1);
        agent_thread submitter([&] {
            try {
                given = pool.submit([] { return 1; });
            } catch (const UsageError&) {
                refused = true;
            }
        });
        pool.shutdown({.cancel_futures = true});
        submitter.join();
    }
    expect(refused != given.done(), "refused, or done");
}

} // namespace
} // namespace sennit
