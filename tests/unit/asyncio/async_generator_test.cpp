#include <sennit/asyncio.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

AsyncGenerator<int> ticks(int n) {
    for (int i = 0; i < n; ++i) {
        if (i % 2 == 1) co_await sleep(0s);
        co_yield i;
    }
}
struct AtEnd {
    int& n;
    ~AtEnd() { ++n; }
};
AsyncGenerator<int> careful(int& ended) {
    const AtEnd end{ended};
    for (int i = 0;; ++i) co_yield i;
}

TEST(AsyncGenerator, gives_its_values_and_then_nothing) {
    run([]() -> Coro<> {
        auto t = ticks(4);
        std::vector<int> all;
        while (auto i = co_await t.async_next()) all.push_back(*i);
        EXPECT_EQ(all.size(), 4u);
        EXPECT_EQ(all.at(3), 3);
        EXPECT_FALSE(co_await t.async_next());
        int sum = 0;
        auto u = ticks(5);
        for (auto i = co_await u.begin(); i != u.end(); co_await ++i) sum += *i;
        EXPECT_EQ(sum, 10);
    });
}

TEST(AsyncGenerator, does_not_grow_the_stack_over_many_values_that_need_no_wait) {
    run([]() -> Coro<> {
        auto from = [](int n) -> AsyncGenerator<int> {
            for (int i = 0; i < n; ++i) co_yield i;
        };
        auto g = async_transform(from(200'000), [](int i) { return i % 7; });
        long sum = 0;
        while (auto i = co_await g.async_next()) sum += *i;
        EXPECT_EQ(sum, 599'994);
    });
}

TEST(AsyncGenerator, values_go_both_ways) {
    run([]() -> Coro<> {
        auto average = []() -> AsyncGenerator<double, int> {
            double sum = 0;
            for (int n = 1;; ++n) {
                const std::optional<int> sent = co_yield sum / (n > 1 ? n - 1 : 1);
                if (!sent) co_return;
                co_await sleep(0s);
                sum += *sent;
            }
        }();
        EXPECT_THROW(static_cast<void>(average.asend(1)), UsageError); // nothing waits for it yet
        EXPECT_EQ(co_await average.async_next(), 0.0);
        EXPECT_EQ(co_await average.asend(10), 10.0);
        EXPECT_EQ(co_await average.asend(20), 15.0);
        EXPECT_FALSE(co_await average.async_next()); // sends nothing: it ends
    });
}

TEST(AsyncGenerator, athrow_throws_at_the_yield_and_what_it_throws_ends_it) {
    run([]() -> Coro<> {
        auto g = []() -> AsyncGenerator<std::string> {
            std::string last = "none";
            for (;;) {
                try {
                    co_yield last;
                } catch (const std::logic_error& e) {
                    last = e.what();
                }
            }
        }();
        EXPECT_EQ(co_await g.async_next(), "none");
        EXPECT_EQ(co_await g.athrow(std::logic_error("caught")), "caught");
        std::string came;
        try {
            co_await g.athrow(std::runtime_error("out"));
        } catch (const std::runtime_error& e) {
            came = e.what();
        }
        EXPECT_EQ(came, "out");
        EXPECT_FALSE(co_await g.async_next());
        auto unbegun = ticks(1);
        EXPECT_THROW(static_cast<void>(unbegun.athrow(std::logic_error("x"))), std::logic_error);
        EXPECT_FALSE(co_await unbegun.async_next());
    });
}

TEST(AsyncGenerator, aclose_runs_it_to_its_end_and_refuses_one_that_yields_on) {
    run([]() -> Coro<> {
        int ended = 0;
        bool waited = false;
        auto g = [](int& n, bool& w) -> AsyncGenerator<int> {
            const AtEnd end{n};
            bool exit = false;
            try {
                co_yield 1;
            } catch (const GeneratorExit&) {
                exit = true;
            }
            if (exit) co_await sleep(0s);
            w = exit;
            if (exit) throw GeneratorExit();
        }(ended, waited);
        co_await g.async_next();
        co_await g.aclose();
        EXPECT_TRUE(waited);
        EXPECT_EQ(ended, 1);
        EXPECT_FALSE(co_await g.async_next());
        co_await g.aclose();
        auto unbegun = careful(ended);
        co_await unbegun.aclose();
        EXPECT_EQ(ended, 1); // its body never ran
        auto stubborn = []() -> AsyncGenerator<int> {
            for (;;) {
                try {
                    co_yield 1;
                } catch (const GeneratorExit&) {}
            }
        }();
        co_await stubborn.async_next();
        bool refused = false;
        try {
            co_await stubborn.aclose();
        } catch (const UsageError&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
    });
}

TEST(AsyncGenerator, destroyed_between_two_values_destroys_its_locals) {
    run([]() -> Coro<> {
        int ended = 0;
        {
            auto g = careful(ended);
            EXPECT_EQ(co_await g.async_next(), 0);
            auto moved = std::move(g);
            EXPECT_EQ(co_await moved.async_next(), 1);
        }
        EXPECT_EQ(ended, 1);
    });
}

TEST(AsyncGenerator, a_cancellation_comes_out_where_it_waits_and_a_second_user_is_refused) {
    run([]() -> Coro<> {
        int ended = 0;
        auto g = [](int& n) -> AsyncGenerator<int> {
            const AtEnd end{n};
            co_await sleep(forever);
            co_yield 1;
        }(ended);
        Task<> reader = create_task([](AsyncGenerator<int>& gen) -> Coro<> { co_await gen.async_next(); }(g));
        co_await sleep(0s);
        EXPECT_THROW(static_cast<void>(g.async_next()), UsageError);
        reader.cancel();
        co_await wait(reader);
        EXPECT_TRUE(reader.cancelled());
        EXPECT_EQ(ended, 1);
        EXPECT_FALSE(co_await g.async_next());
    });
}

TEST(AsyncGenerator, gives_references_and_what_only_moves) {
    run([]() -> Coro<> {
        std::vector<std::string> words(2, "a");
        auto refs = [](std::vector<std::string>& all) -> AsyncGenerator<std::string&> {
            for (auto& w : all) co_yield w;
        }(words);
        while (std::string* w = co_await refs.async_next()) *w += "b";
        EXPECT_EQ(words.at(1), "ab");
        auto owners = []() -> AsyncGenerator<std::unique_ptr<int>> { co_yield std::make_unique<int>(3); }();
        auto three = co_await async_next(owners);
        EXPECT_EQ(**three, 3);
    });
}

TEST(AsyncRanges, stand_in_line) {
    run([]() -> Coro<> {
        const auto all = co_await async_collect(async_take(
            async_filter(async_transform(ticks(100), [](int i) { return i * 3; }), [](int i) { return i % 2 == 0; }),
            3));
        EXPECT_EQ(all.size(), 3u);
        EXPECT_EQ(all.at(2), 12);
        auto slow = [](int i) -> Coro<std::string> {
            co_await sleep(0s);
            co_return std::to_string(i);
        };
        std::string text;
        co_await async_for_each(async_enumerate(async_transform(async_from(std::vector<int>(2, 7)), slow)),
                                [&](auto& item) { text += std::to_string(item.first) + item.second; });
        EXPECT_EQ(text, "0717");
    });
}

} // namespace
} // namespace sennit::asyncio
