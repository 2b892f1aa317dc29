#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/asyncio/task_group.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/base/exception_group.hpp>
#include <sennit/sync.hpp>

#include "support/tier.hpp"
#include <algorithm>
#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

Coro<int> twice(int x) {
    co_await sleep(0s);
    co_return 2 * x;
}
Coro<int> at_once(int x) { co_return x; }
Coro<> for_ever() { co_await sleep(forever); }
Coro<> throws(const char* what) {
    co_await sleep(0s);
    throw std::runtime_error(what);
}

TEST(Task, run_gives_the_result_of_a_coroutine) {
    EXPECT_EQ(run(twice(21)), 42);
    EXPECT_THROW(run(throws("it")), std::runtime_error);
    int ran = 0;
    run([&]() -> Coro<> {
        ++ran;
        co_return;
    });
    EXPECT_EQ(ran, 1);
}

Coro<std::string> chain(int depth) {
    if (depth == 0) {
        co_await sleep(1ms);
        co_return "x";
    }
    co_return co_await chain(depth - 1) + "y";
}

TEST(Task, coroutines_await_each_other_to_any_depth) {
    EXPECT_EQ(run(chain(200)), "x" + std::string(200, 'y'));
    const int sum = run([]() -> Coro<int> {
        int s = 0;
        for (int i = 0; i < 200'000; ++i) s += co_await at_once(1);
        co_return s;
    });
    EXPECT_EQ(sum, 200'000);
}

Coro<int&> reference(int& x) {
    co_await sleep(0s);
    co_return x;
}

TEST(Task, coroutines_give_references_and_what_can_only_be_moved) {
    int x = 1;
    run([&]() -> Coro<> {
        (co_await reference(x)) = 5;
        auto made = []() -> Coro<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
        EXPECT_EQ(*co_await made(), 7);
        auto task = create_task(made());
        EXPECT_EQ(*co_await task, 7);
        Task<int&> same = create_task(reference(x));
        EXPECT_EQ(&co_await same, &x);
    });
    EXPECT_EQ(x, 5);
}

TEST(Task, tasks_run_beside_each_other_in_the_order_in_which_they_were_made) {
    std::string order;
    run([&]() -> Coro<> {
        auto add = [&](char c) -> Coro<> {
            order += c;
            co_await sleep(0s);
            order += c;
        };
        auto a = create_task(add, 'a');
        auto b = create_task(add('b'));
        order += '0';
        co_await b;
        EXPECT_TRUE(a.done());
        co_await a;
    });
    EXPECT_EQ(order, "0abab");
}

TEST(Task, a_lambdas_captures_live_as_long_as_its_task) {
    auto kept = std::make_shared<int>(3);
    run([&]() -> Coro<> {
        Task<int> task;
        {
            auto copy = kept;
            task = create_task(
                [copy](const int& y) -> Coro<int> {
                    co_await sleep(1ms);
                    co_return *copy + y;
                },
                4);
        }
        EXPECT_EQ(kept.use_count(), 2);
        EXPECT_EQ(co_await task, 7);
        EXPECT_EQ(kept.use_count(), 1); // though the handle lives
    });
}

TEST(Task, an_eager_start_makes_the_first_step_within_create_task) {
    run([]() -> Coro<> {
        const TaskRef me = current_task();
        std::string log;
        auto quick = [&](int value) -> Coro<int> {
            log += current_task().name() + ' ';
            if (value < 0) throw std::runtime_error("at once");
            co_return value;
        };
        Task<int> done = create_task(quick(1), {.name = "first", .eager_start = true});
        EXPECT_TRUE(done.done());
        EXPECT_EQ(done.result(), 1);
        EXPECT_EQ(current_task(), me);
        Task<int> failed = create_task({.eager_start = true}, quick, -1);
        EXPECT_THROW(failed.result(), std::runtime_error);
        EXPECT_EQ(all_tasks().size(), 1U);

        sync::Event event;
        auto waits = [&]() -> Coro<int> {
            log += "begins ";
            co_await event.async_wait();
            Task<int> inner = create_task(quick(2), {.name = "inner", .eager_start = true});
            EXPECT_TRUE(inner.done());
            co_return co_await inner;
        };
        Task<int> pending = create_task({.name = "pending", .eager_start = true}, waits);
        log += "created ";
        EXPECT_FALSE(pending.done());
        EXPECT_EQ(pending.stack().size(), 1U);
        event.set();
        EXPECT_EQ(co_await pending, 2);
        EXPECT_EQ(log, "first Task-" + std::to_string(failed.id()) + " begins created inner ");

        Task<int> cancelled = create_task({.eager_start = true}, [&]() -> Coro<int> {
            current_task().cancel();
            co_await sleep(0s);
            co_return 0;
        });
        EXPECT_THROW(co_await cancelled, CancelledError);
        const auto group = [&]() -> Coro<> {
            co_await TaskGroup::run(
                [&](TaskGroup& g) { g.create_task(quick(-1), {.name = "child", .eager_start = true}); });
        };
        EXPECT_THROW(co_await group(), ExceptionGroup);
    });
    // No loop runs yet: the first step is the loop's.
    EventLoop loop;
    bool ran = false;
    Task<> later = create_task_on(loop, {.eager_start = true}, [&]() -> Coro<> {
        ran = true;
        co_return;
    });
    EXPECT_FALSE(ran);
    loop.run_until_complete(later);
    EXPECT_TRUE(ran);
}

TEST(Task, a_coro_that_is_dropped_never_runs_and_debug_mode_says_so) {
    bool ran = false;
    auto body = [&]() -> Coro<> {
        ran = true;
        co_return;
    };
    for (const bool debug : {false, true}) {
        ::testing::internal::CaptureStderr();
        run([&]() -> Coro<> {
            EventLoop::running().set_debug(debug);
            { const Coro<> dropped = body(); }
            co_await sleep(0s);
        });
        const std::string told = ::testing::internal::GetCapturedStderr();
        EXPECT_EQ(told.find("a Coro was dropped and never ran") != told.npos, debug) << told;
    }
    EXPECT_FALSE(ran);
}

TEST(Task, a_sleep_of_no_time_or_less_is_one_turn) {
    run([]() -> Coro<> {
        std::string log;
        auto sleeps = [&](char name, std::chrono::seconds time) -> Coro<> {
            for (int i = 0; i < 3; ++i) {
                log += name;
                co_await sleep(time);
            }
        };
        Task<> a = create_task(sleeps('a', 0s)), b = create_task(sleeps('b', -1s)), c = create_task(sleeps('c', -24h));
        co_await a;
        co_await b;
        co_await c;
        EXPECT_EQ(log, "abcabcabc");
    });
}

TEST(Task, cancel_before_the_first_step_means_that_the_body_never_runs) {
    bool ran = false;
    run([&]() -> Coro<> {
        auto t = create_task([&]() -> Coro<> {
            ran = true;
            co_return;
        });
        EXPECT_TRUE(t.cancel("no"));
        try {
            co_await t;
            ADD_FAILURE();
        } catch (const CancelledError& e) {
            EXPECT_STREQ(e.what(), "no");
        }
        EXPECT_TRUE(t.cancelled());
        EXPECT_FALSE(t.cancel());
    });
    EXPECT_FALSE(ran);
}

TEST(Task, cancel_throws_at_what_the_task_waits_for) {
    run([]() -> Coro<> {
        sync::Event never;
        int caught = 0;
        auto on_event = create_task([&]() -> Coro<> {
            try {
                co_await never.async_wait();
            } catch (const CancelledError&) {
                ++caught;
                throw;
            }
        });
        auto on_sleep = create_task(for_ever());
        auto on_yield = create_task([&]() -> Coro<> {
            for (;;) co_await sleep(0s);
        });
        co_await sleep(0s);
        EXPECT_TRUE(on_event.cancel());
        EXPECT_TRUE(on_sleep.cancel());
        EXPECT_TRUE(on_yield.cancel());
        co_await on_yield.async_join();
        co_await on_sleep.async_join();
        co_await on_event.async_join();
        EXPECT_EQ(caught, 1);
        EXPECT_TRUE(on_event.cancelled());
        EXPECT_TRUE(on_sleep.cancelled());
        EXPECT_TRUE(on_yield.cancelled());
        EXPECT_THROW(on_event.result(), CancelledError);
        EXPECT_THROW(static_cast<void>(on_event.exception()), CancelledError);
    });
}

TEST(Task, a_swallowed_cancellation_is_counted_and_the_task_not_cancelled) {
    run([]() -> Coro<> {
        auto t = create_task([]() -> Coro<int> {
            bool caught = false;
            try {
                co_await sleep(1h);
            } catch (const CancelledError&) {
                caught = true;
            }
            if (!caught) co_return 0;
            const int before = current_task().cancelling();
            const int left = current_task().uncancel();
            co_await sleep(0s);
            co_return 10 * before + left + 1;
        });
        co_await sleep(0s);
        t.cancel();
        EXPECT_EQ(t.cancelling(), 1);
        EXPECT_EQ(co_await t, 11);
        EXPECT_FALSE(t.cancelled());
    });
}

TEST(Task, a_task_that_cancels_itself_is_cancelled_at_its_next_wait) {
    run([]() -> Coro<> {
        int steps = 0;
        auto t = create_task([&]() -> Coro<> {
            current_task().cancel();
            ++steps;
            sync::Event up;
            up.set();
            co_await up.async_wait(); // does not wait
            ++steps;
            co_await sleep(0s);
            ++steps;
        });
        co_await t.async_join();
        EXPECT_TRUE(t.cancelled());
        EXPECT_EQ(steps, 2);
        // And not when it has taken it back.
        auto u = create_task([&]() -> Coro<> {
            current_task().cancel();
            current_task().uncancel();
            co_await sleep(0s);
        });
        co_await u;
    });
}

TEST(Task, cancelling_who_awaits_a_task_cancels_that_task) {
    run([]() -> Coro<> {
        auto inner = create_task([]() -> Coro<int> {
            try {
                co_await sleep(1h);
            } catch (const CancelledError&) {}
            co_await sleep(0s);
            co_return 5;
        });
        auto outer = create_task([&]() -> Coro<int> { co_return co_await inner; });
        auto victim = create_task(for_ever());
        auto waits = create_task([&]() -> Coro<> { co_await victim; });
        co_await sleep(0s);
        co_await sleep(0s);
        outer.cancel();
        EXPECT_EQ(co_await outer, 5); // the inner one swallowed it
        EXPECT_EQ(inner.cancelling(), 1);
        waits.cancel("why");
        try {
            co_await waits;
            ADD_FAILURE();
        } catch (const CancelledError& e) {
            EXPECT_STREQ(e.what(), "why");
        }
        EXPECT_TRUE(victim.cancelled());
    });
}

TEST(Task, a_task_that_awaits_itself_or_in_a_circle_is_told_so) {
    run([]() -> Coro<> {
        Task<> self, first, second;
        self = create_task([&]() -> Coro<> { co_await self; });
        co_await self.async_join();
        EXPECT_THROW(self.result(), UsageError);
        first = create_task([&]() -> Coro<> { co_await second; });
        second = create_task([&]() -> Coro<> { co_await first; });
        co_await first.async_join();
        EXPECT_THROW(second.result(), UsageError);
        EXPECT_THROW(first.result(), UsageError);
    });
}

// Each task awaits the one before it, and all begin to in the order given; the first one waits for `go`, and then awaits the last one.
struct ChainOfTasks {
    explicit ChainOfTasks(const std::vector<std::size_t>& order) : tasks(order.size()) {
        for (const std::size_t i : order) tasks[i] = create_task(link(i));
    }
    Coro<> link(std::size_t i) {
        if (i > 0) {
            co_await tasks[i - 1];
            co_return;
        }
        co_await go.async_wait();
        try {
            co_await tasks.back();
        } catch (const UsageError&) {
            ++told;
        }
    }
    Coro<> run_through() {
        co_await sleep(0s);
        EXPECT_EQ(told, 0);
        go.set();
        co_await tasks.back();
        EXPECT_EQ(told, 1);
    }
    std::vector<Task<>> tasks;
    sync::Event go;
    int told = 0;
};

TEST(Task, a_circle_of_tasks_is_told_to_who_closes_it_in_whatever_order_they_came) {
    std::vector<std::size_t> order(6);
    std::iota(order.begin(), order.end(), 0U);
    run([&]() -> Coro<> {
        do {
            ChainOfTasks chain(order);
            co_await chain.run_through();
        } while (std::next_permutation(order.begin(), order.end()));
    });
}

TEST(Task, a_circle_that_other_tasks_and_callbacks_hang_on_is_found) {
    run([]() -> Coro<> {
        sync::Event go;
        Task<> first, second, third;
        std::vector<Task<>> others;
        others.reserve(8);
        const auto also = [](const Task<>& t) -> Coro<> { co_await t; };
        second = create_task([&]() -> Coro<> { co_await first; });
        first = create_task([&]() -> Coro<> {
            co_await go.async_wait();
            co_await third;
        });
        for (int i = 0; i < 3; ++i) {
            others.push_back(create_task(also(first)));
            first.add_done_callback([](const TaskRef&) {});
            others.push_back(create_task(also(others.back())));
        }
        third = create_task([&]() -> Coro<> { co_await second; });
        others.push_back(create_task(also(third)));
        co_await sleep(0s);
        go.set();
        for (const auto& t : others) co_await t.async_join();
        for (const auto& t : others) EXPECT_THROW(t.result(), UsageError);
        for (const auto& t : {first, second, third}) EXPECT_THROW(t.result(), UsageError);
    });
}

// The search for circles does not go through the whole chain for each of them: that took minutes.
TEST(Task, a_chain_of_100000_tasks_that_await_each_other_is_made_soon) {
    constexpr std::size_t n = testing::sanitized() ? 20'000 : 100'000;
    std::vector<std::size_t> up(n), halves(n);
    std::iota(up.begin(), up.end(), 0U);
    for (std::size_t i = 0; i < n; ++i) halves[i] = i % 2 == 0 ? i / 2 : n - 1 - i / 2; // from both ends to the middle
    std::vector<std::size_t> mixed = up;
    for (std::uint64_t i = n - 1, x = 1; i > 0; --i) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        std::swap(mixed[i], mixed[(x >> 33) % (i + 1)]);
    }
    std::vector<std::size_t> down(up.rbegin(), up.rend());
    for (const auto* order : {&up, &down, &halves, &mixed})
        run([&]() -> Coro<> {
            ChainOfTasks chain(*order);
            co_await chain.run_through();
        });
}

// ---- tasks that yield go on with each other, without the loop

Coro<> yields(std::string& order, char name, int times, int depth) {
    for (int i = 0; i < times; ++i) {
        order += name;
        if (depth > 0)
            co_await yields(order, name, 1, depth - 1);
        else
            co_await sleep(0s);
    }
}

TEST(Task, tasks_that_yield_take_turns_from_whatever_depth_and_callbacks_between_them) {
    for (int depth : {0, 1, 3}) {
        std::string order, expected;
        run([&]() -> Coro<> {
            std::vector<Task<>> tasks;
            for (int i = 0; i < 4; ++i) {
                const auto name = static_cast<char>('a' + i);
                tasks.push_back(create_task(yields(order, name, 3 + i, i % 2 == 0 ? depth : 0)));
                EventLoop::running().call_soon([&] { order += '.'; });
            }
            for (auto& t : tasks) co_await t;
        });
        for (int turn = 0; turn < 6; ++turn)
            for (int i = 0; i < 4; ++i) {
                const std::size_t levels = static_cast<std::size_t>(i % 2 == 0 ? depth : 0) + 1;
                if (turn < 3 + i) expected += std::string(levels, static_cast<char>('a' + i));
                if (turn == 0) expected += '.';
            }
        EXPECT_EQ(order, expected);
    }
}

Coro<int> deep_yield(int depth, int times) {
    int sum = 0;
    for (int i = 0; i < times; ++i) {
        if (depth == 0)
            co_await sleep(0s);
        else
            sum += co_await deep_yield(depth - 1, 1);
        ++sum;
    }
    co_return sum;
}

Coro<> yield_for_ever() {
    for (;;) co_await sleep(0s);
}

TEST(Task, tasks_that_yield_for_ever_keep_nothing_else_from_happening) {
    for (int yielders = 1; yielders <= 3; ++yielders) {
        std::thread other;
        run([&]() -> Coro<> { // which ends, though they do not
            EventLoop& loop = EventLoop::running();
            std::vector<Task<>> all;
            for (int i = 0; i < yielders; ++i) all.push_back(create_task(yield_for_ever()));
            for (int i = 0; i < 100; ++i) co_await sleep(0s);
            co_await sleep(1ms); // a timer
            bool late = false;
            loop.call_later(0ns, [&] { late = true; });
            while (!late) co_await sleep(0s);
            sync::Event event;
            other = std::thread([&] { loop.call_soon_threadsafe([&] { event.set(); }); });
            co_await event.async_wait();
            all.back().cancel();
            bool cancelled = false;
            try {
                co_await all.back();
            } catch (const CancelledError&) {
                cancelled = true;
            }
            EXPECT_TRUE(cancelled);
        });
        other.join();
    }
}

TEST(Task, one_that_stops_the_loop_and_yields_is_the_last_to_run_in_it) {
    EventLoop loop;
    std::vector<int> order;
    std::vector<Task<>> all;
    for (int id = 0; id < 2; ++id)
        all.push_back(create_task_on(loop, TaskOptions{}, [&, id]() -> Coro<> {
            for (int round = 0; round < 100; ++round) {
                order.push_back(id);
                if (id == 1 && round == 50) EventLoop::running().stop();
                co_await sleep(0s);
            }
        }));
    loop.run_forever();
    EXPECT_EQ(order.size(), 102U);
    EXPECT_EQ(order.back(), 1);
    for (const Task<>& t : all) loop.run_until_complete(t);
    EXPECT_EQ(order.size(), 200U);
    for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int>(i % 2)) << i;
}

TEST(Task, who_is_woken_while_others_yield_has_its_turn_in_the_order_of_the_wake_ups) {
    std::vector<int> order;
    run([&]() -> Coro<> {
        std::vector<Task<>> all;
        for (int id = 0; id < 3; ++id)
            all.push_back(create_task([&order, id]() -> Coro<> {
                for (int round = 0; round < 100; ++round) {
                    order.push_back(id);
                    if (id == 1 && round == 60) {
                        EventLoop::running().call_soon([&order] { order.push_back(7); });
                        EventLoop::running().call_soon([&order] { order.push_back(8); });
                    }
                    co_await sleep(0s);
                }
            }));
        for (const Task<>& t : all) co_await t;
    });
    ASSERT_EQ(order.size(), 302U);
    // After those that were ready then: 2, and 0 of the next round.
    const auto at = std::find(order.begin(), order.end(), 7) - order.begin();
    ASSERT_EQ(at, 3 * 61 + 1);
    EXPECT_EQ(order[static_cast<std::size_t>(at) - 1], 0);
    EXPECT_EQ(order[static_cast<std::size_t>(at) + 1], 8);
    EXPECT_EQ(order[static_cast<std::size_t>(at) + 2], 1);
}

TEST(Task, many_tasks_that_yield_deep_inside_need_no_more_stack_than_one) {
    constexpr int n = 3'000, depth = 20;
    run([]() -> Coro<> {
        std::vector<Task<int>> tasks(n);
        for (auto& t : tasks) t = create_task(deep_yield(depth, 3));
        for (auto& t : tasks) EXPECT_EQ(co_await t, 3 * (depth + 1));
    });
}

TEST(Task, a_task_that_begins_within_create_task_and_yields_lets_nobody_run_before_its_maker) {
    std::string order;
    run([&]() -> Coro<> {
        const TaskOptions eagerly{.eager_start = true};
        auto maker = create_task([&]() -> Coro<> {
            co_await sleep(0s);
            order += '<';
            auto eager = create_task(yields(order, 'e', 1, 1), eagerly);
            order += '>';
            co_await eager;
        });
        auto other = create_task(yields(order, 'o', 2, 0));
        co_await maker;
        co_await other;
    });
    EXPECT_EQ(order, "o<ee>o");
}

TEST(Task, one_that_yields_is_cancelled_by_the_next_and_goes_on_with_that) {
    std::string order;
    run([&]() -> Coro<> {
        Task<> first = create_task([&]() -> Coro<> {
            try {
                for (;;) co_await yields(order, 'f', 1, 1);
            } catch (const CancelledError&) {
                order += 'c';
                throw;
            }
        });
        auto second = create_task([&]() -> Coro<> {
            co_await sleep(0s);
            first.cancel();
            order += 's';
            co_await sleep(0s);
            order += 's';
        });
        co_await second;
        EXPECT_TRUE(first.cancelled());
    });
    EXPECT_EQ(order, "ffffscs");
}

TEST(Task, a_result_stays_with_a_handle_and_survives_the_loss_of_all_of_them) {
    run([]() -> Coro<> {
        const auto text = [](bool waits) -> Coro<std::string> {
            if (waits) co_await sleep(0s);
            co_return "a text that is longer than what lies in the string";
        };
        for (bool waits : {false, true}) {
            auto task = create_task(text, waits);
            if (!waits) co_await sleep(0s);
            const std::string first = co_await task;
            EXPECT_EQ(co_await task, first);
            EXPECT_EQ(task.result(), first);
            Task<std::string> dropped = create_task(text, true);
            auto drops = create_task([&]() -> Coro<> {
                dropped = {};
                co_return;
            });
            EXPECT_EQ(co_await dropped, first);
            co_await drops;
            EXPECT_EQ(co_await create_task(text, waits), first);
        }
    });
}

TEST(Task, done_callbacks_come_in_order_and_can_be_removed) {
    std::string order;
    run([&]() -> Coro<> {
        auto t = create_task(twice(1));
        t.add_done_callback([&](const TaskRef& it) {
            EXPECT_TRUE(it.done());
            order += 'a';
        });
        const auto gone = t.add_done_callback([&](const TaskRef&) { order += 'x'; });
        t.add_done_callback([&](const TaskRef&) { order += 'b'; });
        EXPECT_TRUE(t.remove_done_callback(gone));
        EXPECT_FALSE(t.remove_done_callback(gone));
        co_await t;
        t.add_done_callback([&](const TaskRef&) { order += 'c'; });
        co_await sleep(0s);
    });
    EXPECT_EQ(order, "abc");
}

TEST(Task, an_error_that_nobody_looks_at_is_told_to_the_exception_handler) {
    std::vector<std::string> told;
    run([&]() -> Coro<> {
        EventLoop::running().set_exception_handler(
            [&](EventLoop&, const loop::ExceptionContext& c) { told.push_back(c.source + ": " + c.message); });
        auto looked = create_task(throws("seen"));
        create_task(TaskOptions{.name = "lost"}, throws, "unseen");
        co_await looked.async_join();
        EXPECT_NE(looked.exception(), nullptr);
    });
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].substr(0, 5), "lost:");
}

TEST(Task, run_cancels_what_is_left_and_reports_what_that_throws) {
    std::vector<std::string> told;
    bool cleaned = false;
    run([&]() -> Coro<> {
        EventLoop::running().set_exception_handler(
            [&](EventLoop&, const loop::ExceptionContext& c) { told.push_back(c.source); });
        create_task(TaskOptions{.name = "bad"}, [&]() -> Coro<> {
            try {
                co_await sleep(1h);
            } catch (const CancelledError&) {
                cleaned = true;
                throw std::runtime_error("at the end");
            }
        });
        co_await sleep(0s);
    });
    EXPECT_TRUE(cleaned);
    EXPECT_EQ(told, std::vector<std::string>{"bad"});
}

TEST(Task, knows_its_name_its_state_and_where_it_waits) {
    run([]() -> Coro<> {
        auto t = create_task(TaskOptions{.name = "deep"}, chain, 2);
        EXPECT_EQ(t.name(), "deep");
        EXPECT_EQ(create_task(at_once(1)).name().substr(0, 5), "Task-");
        t.set_name("deeper");
        EXPECT_EQ(t.name(), "deeper");
        EXPECT_EQ(all_tasks().size(), 3U);
        EXPECT_TRUE(current_task());
        co_await sleep(0s);
        const auto stack = t.stack();
        EXPECT_EQ(stack.size(), 3U);
        for (const auto& where : stack)
            EXPECT_NE(std::string(where.file_name()).find("task_test.cpp"), std::string::npos);
        EXPECT_NE(t.describe().find("deeper pending in"), std::string::npos) << t.describe();
        EXPECT_THROW(t.result(), InvalidStateError);
        co_await t;
        EXPECT_TRUE(t.stack().empty());
    });
    EXPECT_FALSE(current_task());
}

TEST(Task, tasks_share_primitives_and_lose_nothing) {
    run([]() -> Coro<> {
        sync::Lock lock;
        int inside = 0, most = 0, total = 0;
        std::vector<Task<>> tasks;
        for (int i = 0; i < 50; ++i)
            tasks.push_back(create_task([&]() -> Coro<> {
                for (int k = 0; k < 10; ++k) {
                    auto guard = co_await lock.async_scoped_lock();
                    most = std::max(most, ++inside);
                    co_await sleep(0s);
                    --inside;
                    ++total;
                }
            }));
        for (auto& t : tasks) co_await t;
        EXPECT_EQ(most, 1);
        EXPECT_EQ(total, 500);
    });
}

TEST(Task, a_loop_that_is_closed_ends_its_tasks) {
    bool cleaned = false;
    {
        EventLoop loop;
        loop.set_exception_handler([](EventLoop&, const loop::ExceptionContext&) {});
        Task<> t = create_task_on(loop, TaskOptions{}, [&]() -> Coro<> {
            struct Clean {
                bool& it;
                ~Clean() { it = true; }
            } clean{cleaned};
            co_await sleep(1h);
        });
        EXPECT_EQ(loop.run_until_complete(twice(4)), 8);
        EXPECT_FALSE(cleaned);
        loop.close();
        EXPECT_TRUE(t.cancelled());
    }
    EXPECT_TRUE(cleaned);
}

} // namespace
} // namespace sennit::asyncio
