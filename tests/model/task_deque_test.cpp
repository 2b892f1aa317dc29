// The deque of a worker's own tasks: each is taken once, by who sees what its submitter wrote.
#include "futures/task_deque.hpp"
#include "model/explore.hpp"
#include "model/plain_task.hpp"

namespace sennit {
namespace {

using futures::TaskDeque;
using model::agent_thread;
using model::expect;
using model::PlainTask;

template <std::size_t N>
struct Tasks {
    PlainTask tasks[N];
    void push(TaskDeque& deque, std::size_t i) {
        tasks[i].content = PlainTask::written;
        deque.push(tasks[i]);
    }
    void expect_each_once() {
        for (auto& t : tasks) expect(t.runs == 1, "each task ran once");
    }
};

void steal_all(TaskDeque& deque) {
    while (sync::Task* t = deque.steal()) t->run();
}
void pop_all(TaskDeque& deque) {
    while (sync::Task* t = deque.pop()) t->run();
}

SCENARIO(TaskDequeModel, owner_and_thief_want_the_last_one, .surprises = 3) {
    Tasks<1> one;
    TaskDeque deque(1);
    agent_thread thief([&] { steal_all(deque); });
    one.push(deque, 0);
    pop_all(deque);
    thief.join();
    one.expect_each_once();
}

SCENARIO(TaskDequeModel, the_owner_pops_what_two_thieves_have_left, .surprises = 2) {
    Tasks<3> three;
    TaskDeque deque(4);
    for (std::size_t i = 0; i < 3; ++i) three.push(deque, i);
    agent_thread thief([&] { steal_all(deque); });
    agent_thread other([&] { steal_all(deque); });
    pop_all(deque);
    thief.join();
    other.join();
    three.expect_each_once();
}

SCENARIO(TaskDequeModel, it_grows_under_a_thief, .surprises = 3) {
    Tasks<3> three;
    TaskDeque deque(1);
    agent_thread thief([&] { steal_all(deque); });
    for (std::size_t i = 0; i < 3; ++i) three.push(deque, i);
    pop_all(deque);
    thief.join();
    three.expect_each_once();
}

SCENARIO(TaskDequeModel, slots_are_written_again_only_when_they_were_read, .surprises = 3) {
    Tasks<4> four;
    TaskDeque deque(2);
    agent_thread thief([&] { steal_all(deque); });
    for (std::size_t i = 0; i < 4; ++i) {
        four.push(deque, i);
        if (i % 2 == 1)
            if (sync::Task* t = deque.steal()) t->run(); // the owner takes the oldest, too
    }
    pop_all(deque);
    thief.join();
    four.expect_each_once();
}

SCENARIO(TaskDequeModel, the_newest_is_taken_back_or_was_stolen, .surprises = 3) {
    Tasks<2> two;
    TaskDeque deque(2);
    agent_thread thief([&] { steal_all(deque); });
    for (std::size_t i = 0; i < 2; ++i) {
        two.push(deque, i);
        if (deque.pop_if_newest(two.tasks[i])) two.tasks[i].run();
        expect(!deque.pop_if_newest(two.tasks[i]), "it is taken back once");
    }
    thief.join();
    two.expect_each_once();
}

// What a push is followed by: a look at somebody who says that he stops looking (thread_pool_executor.cpp, 1).
SCENARIO(TaskDequeModel, who_pushes_sees_the_sleeper_or_is_seen, .surprises = 3) {
    Tasks<1> one;
    TaskDeque deque(1);
    atomic<bool> sleeps{false};
    bool found = false;
    agent_thread sleeper([&] {
        sleeps.exchange(true, memory_order_seq_cst);
        found = !deque.empty();
    });
    one.push(deque, 0);
    const bool told = sleeps.load(memory_order_seq_cst);
    sleeper.join();
    expect(told || found, "one of both saw the other");
}

} // namespace
} // namespace sennit
