#include "support/agent_pair.hpp"

#include <sennit/base/errors.hpp>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;

class Scenario : public AgentPairTest {};
SENNIT_FOR_ALL_PAIRS(Scenario);

TEST_P(Scenario, runs_each_agent_as_what_it_was_asked_to_be) {
    sync::Event event;
    std::string order;
    auto& waiter = stage.waiter([&](Actor& me) -> Co<> {
        EXPECT_EQ(wait::current_agent().kind() == wait::AgentKind::coroutine, me.is_coroutine());
        EXPECT_TRUE(co_await me.wait(event));
        order += 'b';
    });
    stage.parked(waiter, event);
    order += 'a';
    stage.wake([&](Actor& me) -> Co<> {
        EXPECT_EQ(&wait::current_agent(), &me.agent());
        event.set();
        co_return;
    });
    stage.join();
    EXPECT_EQ(order, "ab");
    EXPECT_TRUE(waiter.ended());
    EXPECT_FALSE(waiter.was_cancelled());
}

TEST_P(Scenario, tells_who_was_cancelled) {
    sync::Event event;
    auto& waiter = stage.waiter([&](Actor& me) -> Co<> {
        co_await me.wait(event);
        ADD_FAILURE() << "went on after its cancellation";
    });
    stage.parked(waiter, event);
    stage.wake([&](Actor&) -> Co<> {
        waiter.cancel();
        co_return;
    });
    stage.join();
    EXPECT_TRUE(waiter.was_cancelled());
}

TEST_P(Scenario, takes_its_steps_in_one_order) {
    Sequencer steps;
    std::string order; // guarded by the steps
    stage.waiter([&](Actor& me) -> Co<> {
        for (const std::size_t n : {1, 4, 5}) {
            co_await steps.at(me, n);
            order += std::to_string(n);
            steps.done(n);
        }
    });
    stage.waker([&](Actor& me) -> Co<> {
        for (const std::size_t n : {2, 3, 6}) {
            co_await steps.at(me, n);
            order += std::to_string(n);
            steps.done(n);
        }
    });
    stage.join();
    EXPECT_EQ(order, "123456");
}

} // namespace
} // namespace sennit::testing
