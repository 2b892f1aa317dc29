// What the list of agents tells about coroutines: the calls that each is in, and who awaits it.
#include <sennit/asyncio.hpp>
#include <sennit/wait/registry.hpp>

#include "support/tier.hpp"

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <string>
#include <thread>
#include <utility>
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

/// A coroutine type of somebody else's: its promise knows nothing of sennit, and begins with what would be read as an address.
template <class T>
struct Foreign {
    struct promise_type {
        std::uintptr_t garbage[4] = {0x1111111111111118, 0x2222222222222228, 0x3333333333333338, 0x4444444444444448};
        std::coroutine_handle<> caller;
        std::optional<T> value;
        std::exception_ptr error;
        Foreign get_return_object() { return Foreign(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        struct Final {
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
                return h.promise().caller;
            }
            void await_resume() noexcept {}
        };
        Final final_suspend() noexcept { return {}; }
        void return_value(T v) { value = std::move(v); }
        void unhandled_exception() { error = std::current_exception(); }
    };
    explicit Foreign(std::coroutine_handle<promise_type> h) noexcept : handle(h) {}
    Foreign(const Foreign&) = delete;
    Foreign& operator=(const Foreign&) = delete;
    ~Foreign() { handle.destroy(); }
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        handle.promise().caller = caller;
        return handle;
    }
    T await_resume() {
        if (handle.promise().error) std::rethrow_exception(handle.promise().error);
        return std::move(*handle.promise().value);
    }
    std::coroutine_handle<promise_type> handle;
};

Foreign<int> sleeps() {
    co_await sleep(std::chrono::seconds(0));
    co_await sleep(std::chrono::hours(1));
    co_return 1;
}
Foreign<int> locks(Lock& lock) {
    co_await lock.async_acquire();
    lock.release();
    co_return 2;
}
Foreign<std::string> reads(StreamReader& reader) { co_return co_await reader.read(10); }
Foreign<int> turns_for_ever() {
    for (;;) co_await sleep(std::chrono::seconds(0));
    co_return 0;
}
Coro<int> ours(Event& event) {
    co_await event.async_wait();
    co_return 3;
}
Foreign<int> awaits_ours(Event& event) { co_return co_await ours(event); }

TEST(CallGraph, coroutines_of_another_library_may_await_whatever_they_like) {
    run([]() -> Coro<> {
        Lock lock;
        lock.acquire(Deadline::poll());
        Event event;
        std::optional<StreamReader> reader;
        auto keeps = [&](StreamReader r, StreamWriter w) -> Coro<> {
            reader.emplace(std::move(r));
            event.set();
            co_await w.wait_closed();
        };
        Server server = co_await start_server(keeps, "127.0.0.1", 0);
        auto [from_server, to_server] = co_await open_connection("127.0.0.1", server.port());
        co_await event.async_wait();
        event.clear();

        std::vector<TaskRef> all;
        auto named = [&](auto task, const char* name) {
            task.set_name(name);
            all.push_back(task);
            return task;
        };
        auto asleep = named(create_task([]() -> Coro<int> { co_return co_await sleeps(); }), "asleep");
        auto at_lock = named(create_task([&]() -> Coro<int> { co_return co_await locks(lock); }), "at lock");
        auto at_stream =
            named(create_task([&]() -> Coro<std::string> { co_return co_await reads(*reader); }), "at stream");
        auto in_turns = named(create_task([]() -> Coro<int> { co_return co_await turns_for_ever(); }), "in turns");
        auto in_ours = named(create_task([&]() -> Coro<int> { co_return co_await awaits_ours(event); }), "in ours");
        for (int i = 0; i < 5; ++i) co_await sleep(std::chrono::seconds(0));

        const std::string text = co_await to_thread([] { return wait::Registry::describe(); });
        EXPECT_THAT(part_of(text, "asleep"), HasSubstr("asyncio.sleep"));
        EXPECT_THAT(part_of(text, "at lock"), HasSubstr("Lock.acquire"));
        EXPECT_THAT(part_of(text, "at stream"), HasSubstr("StreamReader.read"));
        EXPECT_THAT(part_of(text, "in ours"), AllOf(HasSubstr("Event.wait"), HasSubstr("ours")))
            << "as far as it is known";
        for (const TaskRef& task : all) {
            EXPECT_EQ(task.stack().size(), task.name() == "in ours" ? 1U : 0U) << task.describe();
            EXPECT_THAT(task.describe(), HasSubstr("pending"));
        }

        lock.release();
        event.set();
        to_server.write("text");
        EXPECT_EQ(co_await at_lock, 2);
        EXPECT_EQ(co_await at_stream, "text");
        EXPECT_EQ(co_await in_ours, 3);
        asleep.cancel();
        in_turns.cancel();
        EXPECT_THROW(co_await asleep, CancelledError);
        EXPECT_THROW(co_await in_turns, CancelledError);
        to_server.close();
        server.abort_clients();
        server.close();
        co_await server.wait_closed();
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
