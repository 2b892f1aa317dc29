// What the list of agents tells about coroutines: the calls that each is in, and who awaits it.
#include <sennit/asyncio.hpp>
#include <sennit/wait/registry.hpp>

#include "support/tier.hpp"

#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

namespace sennit::asyncio {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Coro<> innermost(Event& event) { co_await event.async_wait(); }
Coro<> middle(Event& event) { co_await innermost(event); }
Coro<int> outermost(Event& event) {
    co_await middle(event);
    co_return 1;
}

/// The lines of the agent `name`, up to the next agent.
std::string part_of(const std::string& text, const std::string& name) {
    const auto at = text.find('"' + name + '"' + ": ");
    if (at == text.npos) return "there is no " + name + " in\n" + text;
    const auto end = text.find("\n  c", at); // the next coroutine
    return text.substr(at, end == text.npos ? end : end - at);
}

TEST(CallGraph, shows_the_calls_of_each_waiting_coroutine_and_who_awaits_it) {
    run([]() -> Coro<> {
        Event event;
        auto inner = create_task(outermost(event), {.name = "inner"});
        auto joins = create_task([](Task<int> t) -> Coro<> { co_await t; }, inner);
        joins.set_name("joins");
        auto gathers = create_task([&]() -> Coro<> { co_await gather(inner, sleep(std::chrono::hours(1))); });
        gathers.set_name("gathers");
        auto groups = create_task([&]() -> Coro<> {
            co_await TaskGroup::run([&](TaskGroup& group) { group.create_task(outermost(event), {.name = "child"}); });
        });
        groups.set_name("groups");
        for (int i = 0; i < 3; ++i) co_await sleep(std::chrono::seconds(0));

        const std::string text = co_await to_thread([] { return wait::Registry::describe(); });
        const std::string of_inner = part_of(text, "inner");
        const auto a = of_inner.find("innermost"), b = of_inner.find("middle"), c = of_inner.find("outermost");
        EXPECT_LT(a, b) << text;
        EXPECT_LT(b, c) << text;
        EXPECT_NE(c, of_inner.npos) << text;
        EXPECT_THAT(of_inner, AllOf(HasSubstr("waits in Event.wait"), HasSubstr("call_graph_test.cpp:"),
                                    HasSubstr("\"joins\""), HasSubstr("\"gathers\"")));
        EXPECT_THAT(part_of(text, "child"), AllOf(HasSubstr("in "), HasSubstr("awaited by"), HasSubstr("\"groups\"")));
        EXPECT_THAT(part_of(text, "groups"), HasSubstr("waits in TaskGroup.run"));
        gathers.cancel(); // and `inner` with it
        event.set();
        co_await groups;
        co_await wait(joins, gathers);
    });
}

TEST(CallGraph, can_be_asked_for_while_tasks_come_wait_and_go) {
    std::atomic<bool> over{false};
    std::atomic<int> looks{0};
    std::thread looker([&] {
        while (!over) {
            EXPECT_THAT(wait::Registry::describe(), HasSubstr("agent"));
            ++looks;
        }
    });
    run([&]() -> Coro<> {
        Event event;
        do {
            std::vector<Task<int>> tasks;
            for (int i = 0; i < 20; ++i) tasks.push_back(create_task(outermost(event)));
            co_await sleep(std::chrono::microseconds(50));
            event.set();
            for (auto& t : tasks) co_await gather(t, sleep(std::chrono::seconds(0)));
            event.clear();
        } while (looks < testing::by_tier(20, 500, 2000));
    });
    over = true;
    looker.join();
}

} // namespace
} // namespace sennit::asyncio
