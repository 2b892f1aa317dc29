#include <sennit/asyncio.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

Coro<int> value_after(int turns, int value) {
    while (turns-- > 0) co_await sleep(0s);
    co_return value;
}
Coro<> fail_after(int turns, const char* text) {
    while (turns-- > 0) co_await sleep(0s);
    throw std::runtime_error(text);
}
Coro<> wait_for_ever(int& cancelled) {
    try {
        co_await sleep(forever);
    } catch (const CancelledError&) {
        ++cancelled;
        throw;
    }
}

TEST(Gather, gives_a_tuple_in_the_order_of_the_arguments_whatever_they_are) {
    run([]() -> Coro<> {
        Future<std::string> future;
        Task<int> task = create_task(value_after(1, 2));
        EventLoop::running().call_soon([future] { future.set_result("three"); });
        // Named: GCC 12 copies a temporary closure wrongly, if it captures values and stands in a co_await.
        auto closure = [x = std::string("kept")]() -> Coro<std::string> {
            co_await sleep(0s);
            co_return x;
        };
        auto [a, b, c, d, e] = co_await gather(value_after(3, 1), task, future, sleep(0s), std::move(closure));
        EXPECT_EQ(a, 1);
        EXPECT_EQ(b, 2);
        EXPECT_EQ(c, "three");
        EXPECT_TRUE((std::is_same_v<decltype(d), std::monostate>));
        EXPECT_EQ(e, "kept");
        EXPECT_EQ(co_await gather(), std::tuple<>());
    });
}

TEST(Gather, of_a_range_gives_a_vector) {
    run([]() -> Coro<> {
        std::vector<Coro<std::unique_ptr<int>>> coros;
        for (int i = 0; i < 3; ++i)
            coros.push_back([](int n) -> Coro<std::unique_ptr<int>> {
                for (int k = n; k < 3; ++k) co_await sleep(0s);
                co_return std::make_unique<int>(n);
            }(i));
        const auto all = co_await gather(std::move(coros));
        EXPECT_EQ(all.size(), 3u);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(*all[static_cast<std::size_t>(i)], i);
        EXPECT_TRUE((co_await gather(std::vector<Coro<int>>())).empty());
        const std::vector<Task<int>> tasks{create_task(value_after(1, 7)), create_task(value_after(0, 8))};
        const std::vector<int> results = co_await gather(tasks);
        EXPECT_EQ(results, (std::vector<int>{7, 8}));
        EXPECT_EQ(tasks[0].result(), 7); // still there: a copy was given
    });
}

TEST(Gather, the_first_error_goes_out_and_the_others_run_on) {
    run([]() -> Coro<> {
        Task<int> other = create_task(value_after(20, 5));
        std::string caught;
        try {
            co_await gather(fail_after(2, "second"), other, fail_after(1, "first"));
        } catch (const std::runtime_error& e) {
            caught = e.what();
        }
        EXPECT_EQ(caught, "first");
        EXPECT_FALSE(other.done());
        EXPECT_EQ(co_await other, 5);
    });
}

TEST(Gather, gives_errors_in_place_of_results_when_asked) {
    run([]() -> Coro<> {
        auto [a, b, c] =
            co_await gather(value_after(1, 1), fail_after(1, "boom"), sleep(0s), {.return_exceptions = true});
        EXPECT_EQ(*a, 1);
        EXPECT_FALSE(b);
        EXPECT_THROW(*b, std::runtime_error);
        EXPECT_TRUE(c);
        std::vector<Coro<int>> coros;
        coros.push_back(value_after(0, 4));
        coros.push_back([]() -> Coro<int> {
            throw std::logic_error("no");
            co_return 0;
        }());
        const std::vector<Result<int>> all = co_await gather(std::move(coros), {.return_exceptions = true});
        EXPECT_EQ(all[0].value(), 4);
        EXPECT_THROW(all[1].value(), std::logic_error);
        EXPECT_NE(all[1].exception(), nullptr);
    });
}

TEST(Gather, given_the_same_task_twice_awaits_it_once_and_copies_its_result) {
    run([]() -> Coro<> {
        Task<std::string> t = create_task([]() -> Coro<std::string> { co_return std::string(100, 'x'); });
        auto [a, b] = co_await gather(t, t);
        EXPECT_EQ(a, std::string(100, 'x'));
        EXPECT_EQ(a, b);
    });
}

TEST(Gather, who_is_cancelled_cancels_all_children_and_waits_for_them) {
    run([]() -> Coro<> {
        int cancelled = 0;
        Task<> outer =
            create_task([&]() -> Coro<> { co_await gather(wait_for_ever(cancelled), wait_for_ever(cancelled)); });
        co_await sleep(0s);
        co_await sleep(0s);
        outer.cancel("enough");
        std::string caught;
        try {
            co_await outer;
        } catch (const CancelledError& e) {
            caught = e.what();
        }
        EXPECT_EQ(caught, "enough");
        EXPECT_EQ(cancelled, 2);
        EXPECT_TRUE(outer.cancelled());
    });
}

// F33: what is put in between the cancellation and the next turn stays in the queue.
TEST(Gather, a_cancellation_reaches_the_children_in_the_same_call_however_deep_they_are) {
    run([]() -> Coro<> {
        Queue<int> queue;
        auto gets = [&]() -> Coro<> { co_await gather(queue.async_get(), sleep(forever)); };
        auto joins = [&]() -> Coro<> { co_await create_task(gets); };
        auto limits = [&]() -> Coro<> { co_await wait_for(create_task(joins), 1h); };
        auto gathers_again = [&]() -> Coro<> { co_await gather(limits, sleep(forever)); };
        auto cancelled = [&](auto awaits, bool by_thread) -> Coro<> {
            Task<> task = create_task(awaits);
            for (int i = 0; i < 10; ++i) co_await sleep(0s);
            auto cancel_and_put = [&] {
                EXPECT_TRUE(task.cancel("enough"));
                queue.put_nowait(1);
            };
            by_thread ? std::thread(cancel_and_put).join() : cancel_and_put();
            co_await task.async_join();
            EXPECT_TRUE(task.cancelled());
            EXPECT_EQ(task.cancelling(), 1);
            EXPECT_EQ(queue.qsize(), 1U);
            if (!queue.empty()) queue.get_nowait();
        };
        for (const bool by_thread : {false, true}) {
            co_await cancelled(gets, by_thread);
            co_await cancelled(joins, by_thread);
            co_await cancelled(limits, by_thread);
            co_await cancelled(gathers_again, by_thread);
        }
        EXPECT_EQ(all_tasks().size(), 1U);
    });
}

TEST(Gather, a_child_that_swallows_its_cancellation_gives_its_result_to_who_awaits_it_alone) {
    run([]() -> Coro<> {
        auto swallows = []() -> Coro<int> {
            try {
                co_await sleep(forever);
            } catch (const CancelledError& e) {
                EXPECT_STREQ(e.what(), "enough");
            }
            co_return 7;
        };
        auto awaits = [&]() -> Coro<int> { co_return co_await create_task(swallows); };
        auto gathers = [&]() -> Coro<int> { co_return std::get<0>(co_await gather(swallows)); };
        Task<int> one = create_task(awaits), other = create_task(gathers);
        for (int i = 0; i < 3; ++i) co_await sleep(0s);
        one.cancel("enough");
        other.cancel("enough");
        EXPECT_EQ(co_await one, 7);
        EXPECT_EQ(one.cancelling(), 1);
        EXPECT_THROW(co_await other, CancelledError);
    });
}

TEST(Gather, a_cancellation_goes_through_thousands_of_tasks_that_await_each_other) {
    run([]() -> Coro<> {
        Event never;
        Task<bool> last = create_task(never.async_wait());
        std::vector<Task<bool>> all{last};
        auto awaits = [](Task<bool> t) -> Coro<bool> { co_return co_await t; };
        for (int i = 0; i < 3'000; ++i) all.push_back(create_task(awaits, all.back()));
        co_await sleep(0s);
        co_await sleep(0s);
        all.back().cancel();
        EXPECT_THROW(co_await all.back(), CancelledError);
        EXPECT_TRUE(last.cancelled());
    });
}

TEST(Gather, a_cancelled_child_is_an_error_of_that_child_and_the_others_go_on) {
    run([]() -> Coro<> {
        int cancelled = 0;
        Task<> child = create_task(wait_for_ever(cancelled));
        Task<int> other = create_task(value_after(10, 1));
        EventLoop::running().call_soon([&] { EventLoop::running().call_soon([child] { child.cancel(); }); });
        bool caught = false;
        try {
            co_await gather(child, other);
        } catch (const CancelledError&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        EXPECT_EQ(current_task().cancelling(), 0);
        EXPECT_FALSE(other.done());
        EXPECT_EQ(co_await other, 1);

        Task<> second = create_task(wait_for_ever(cancelled));
        EventLoop::running().call_soon([&] { EventLoop::running().call_soon([second] { second.cancel(); }); });
        auto [a, b] = co_await gather(second, value_after(5, 2), {.return_exceptions = true});
        EXPECT_THROW(*a, CancelledError);
        EXPECT_EQ(*b, 2);
    });
}

TEST(Gather, cancel_of_what_it_gave_cancels_the_tasks_that_run) {
    run([]() -> Coro<> {
        int cancelled = 0;
        auto both = gather(wait_for_ever(cancelled), wait_for_ever(cancelled), {.return_exceptions = true});
        co_await sleep(0s);
        EXPECT_FALSE(both.done());
        EXPECT_TRUE(both.cancel());
        auto [a, b] = co_await both;
        EXPECT_THROW(*a, CancelledError);
        EXPECT_THROW(*b, CancelledError);
        EXPECT_TRUE(both.done());
        EXPECT_FALSE(both.cancel());
        EXPECT_EQ(cancelled, 2);
    });
}

} // namespace
} // namespace sennit::asyncio
