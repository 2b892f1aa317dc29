#include "support/virtual_clock.hpp"

#include "support/agent_pair.hpp"

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;

class TimeByHand : public AgentTest {};
SENNIT_FOR_ALL_KINDS(TimeByHand);

TEST_P(TimeByHand, ends_a_wait_of_hours_at_once) {
    VirtualClock clock;
    sync::Event event;
    bool result = true;
    {
        Stage agents(stage.pair());
        auto& waiter = agents.waiter([&](Actor& me) -> Co<> { result = co_await me.wait(event, Deadline(5h)); });
        agents.parked(waiter, event);
        clock.advance(5h - 1ns);
        agents.parked(waiter, event);
        EXPECT_FALSE(waiter.ended());
        clock.advance(1ns);
        agents.join();
    }
    EXPECT_FALSE(result);
}

TEST_P(TimeByHand, goes_to_the_next_deadline_when_told) {
    VirtualClock clock;
    sync::Event event;
    {
        Stage agents(stage.pair());
        for (const auto hours : {3h, 1h, 2h})
            agents.parked(agents.waiter([&, hours](Actor& me) -> Co<> { co_await me.wait(event, Deadline(hours)); }),
                          event);
        const auto began = clock.now();
        ASSERT_TRUE(clock.advance_to_next_deadline());
        EXPECT_EQ(clock.now() - began, 1h);
        while (clock.advance_to_next_deadline() && clock.now() - began < 3h) {}
        agents.join();
        EXPECT_EQ(clock.now() - began, 3h);
    }
    EXPECT_FALSE(clock.advance_to_next_deadline());
}

} // namespace
} // namespace sennit::testing
