#include <sennit/asyncio.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

Coro<> fail(const char* text) {
    co_await sleep(0s);
    throw std::runtime_error(text);
}

TEST(TaskGroup, waits_for_all_children_and_gives_what_the_body_gives) {
    run([]() -> Coro<> {
        int done = 0;
        const int given = co_await TaskGroup::run([&](TaskGroup& group) -> Coro<int> {
            for (int i = 0; i < 3; ++i)
                group.create_task([](int& n, int turns) -> Coro<> {
                    while (turns-- > 0) co_await sleep(0s);
                    ++n;
                }(done, i));
            EXPECT_EQ(group.size(), 3u);
            co_return 42;
        });
        EXPECT_EQ(given, 42);
        EXPECT_EQ(done, 3);
    });
}

TEST(TaskGroup, takes_a_body_that_is_no_coroutine_and_children_that_are_lambdas_with_captures) {
    run([]() -> Coro<> {
        std::string text;
        co_await TaskGroup::run([&](TaskGroup& group) {
            std::string local(100, 'a'); // gone when the child runs: it has a copy
            group.create_task([local, &text]() -> Coro<> {
                co_await sleep(0s);
                text = local;
            });
            group.create_task(
                {.name = "named"},
                [](std::string s) -> Coro<> {
                    EXPECT_EQ(current_task().name(), "named");
                    EXPECT_EQ(s, "argument");
                    co_return;
                },
                "argument");
        });
        EXPECT_EQ(text, std::string(100, 'a'));
    });
}

TEST(TaskGroup, leaves_no_child_behind_when_the_body_throws) {
    run([]() -> Coro<> {
        int ended = 0;
        try {
            co_await TaskGroup::run([&](TaskGroup& group) -> Coro<> {
                for (int i = 0; i < 2; ++i)
                    group.create_task([&ended]() -> Coro<> {
                        struct End {
                            int& n;
                            ~End() { ++n; }
                        } end{ended};
                        co_await sleep(forever);
                    });
                co_await sleep(0s);
                throw std::runtime_error("body");
            });
            ADD_FAILURE();
        } catch (const ExceptionGroup& group) {
            EXPECT_EQ(group.exceptions().size(), 1u);
            EXPECT_TRUE(group.subgroup<std::runtime_error>());
        }
        EXPECT_EQ(ended, 2);
        EXPECT_EQ(current_task().cancelling(), 0);
    });
}

TEST(TaskGroup, a_child_may_create_siblings_while_the_group_ends_and_nobody_may_when_it_has_ended) {
    run([]() -> Coro<> {
        int done = 0;
        co_await TaskGroup::run([&](TaskGroup& group) {
            group.create_task([&]() -> Coro<> {
                co_await sleep(0s);
                co_await sleep(0s);
                group.create_task([&]() -> Coro<> {
                    ++done;
                    co_return;
                });
            });
        });
        EXPECT_EQ(done, 1);
        std::string said;
        try {
            co_await TaskGroup::run([&](TaskGroup& group) -> Coro<> {
                group.create_task(fail("x"));
                try {
                    co_await sleep(forever);
                } catch (const CancelledError&) {}
                bool ran = false;
                try {
                    group.create_task([&]() -> Coro<> {
                        ran = true;
                        co_return;
                    });
                } catch (const UsageError& e) {
                    said = e.what();
                }
                EXPECT_FALSE(ran);
            });
        } catch (const ExceptionGroup&) {}
        EXPECT_NE(said.find("shutting down"), std::string::npos);
    });
}

TEST(TaskGroup, cancel_ends_children_and_body_without_an_error) {
    run([]() -> Coro<> {
        bool body_cancelled = false;
        co_await TaskGroup::run([&](TaskGroup& group) -> Coro<> {
            group.create_task([]() -> Coro<> { co_await sleep(forever); });
            group.create_task([&]() -> Coro<> {
                co_await sleep(0s);
                group.cancel();
            });
            try {
                co_await sleep(forever);
            } catch (const CancelledError&) {
                body_cancelled = true;
                throw;
            }
        });
        EXPECT_TRUE(body_cancelled);
        EXPECT_EQ(current_task().cancelling(), 0);
    });
}

} // namespace
} // namespace sennit::asyncio
