// After CPython's Lib/test/test_asyncio/test_taskgroups.py of 3.13; docs/conformance/asyncio.md says which case is where.
#include <sennit/asyncio.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit::asyncio {
namespace {

struct ZeroDivision : std::runtime_error {
    ZeroDivision() : std::runtime_error("division by zero") {}
};
struct MyError : std::runtime_error {
    MyError() : std::runtime_error("mine") {}
};

Coro<> turns(int n) {
    while (n-- > 0) co_await sleep(Deadline::poll());
}
Coro<int> value_after(int n, int value) {
    co_await turns(n);
    co_return value;
}
template <class E>
Coro<> raise_after(int n) {
    co_await turns(n);
    throw E();
}
Coro<> for_ever(int& cancelled) {
    try {
        co_await sleep(forever);
    } catch (const CancelledError&) {
        ++cancelled;
        throw;
    }
}

/// How often each type is in the group itself.
template <class E>
std::size_t count(const ExceptionGroup& group) {
    std::size_t n = 0;
    for (const auto& e : group.exceptions()) n += ExceptionGroup::is<E>(e) ? 1 : 0;
    return n;
}
/// Awaits a task; what came out.
struct Came {
    bool cancelled = false;
    std::string message;
    std::optional<ExceptionGroup> group;
};
Coro<Came> outcome_of(Task<> task) {
    Came came;
    try {
        co_await task;
    } catch (const ExceptionGroup& g) {
        came.group = g;
    } catch (const CancelledError& e) {
        came.cancelled = true;
        came.message = e.what();
    }
    co_return came;
}

// 01, 02, 24
TEST(AsyncioTaskGroup, gives_the_results_of_children_created_at_any_time) {
    run([]() -> Coro<> {
        Task<int> t1, t2, t3;
        co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
            t1 = g.create_task(value_after(3, 42));
            co_await turns(2);
            t2 = g.create_task(value_after(3, 11));
            g.create_task([&]() -> Coro<> {
                co_await turns(10);
                t3 = g.create_task(value_after(1, 7));
            });
        });
        EXPECT_EQ(t1.result() + t2.result() + t3.result(), 60);
    });
}

// 03
TEST(AsyncioTaskGroup, a_child_that_is_cancelled_alone_is_no_error) {
    run([]() -> Coro<> {
        int cancelled = 0;
        Task<> t1;
        Task<int> t2;
        co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
            t1 = g.create_task(for_ever(cancelled));
            co_await turns(2);
            t1.cancel();
            t2 = g.create_task(value_after(2, 11));
        });
        EXPECT_TRUE(t1.cancelled());
        EXPECT_EQ(t2.result(), 11);
        EXPECT_EQ(cancelled, 1);
    });
}

// 04, cancel_children_on_child_error, children_complete_on_child_error
TEST(AsyncioTaskGroup, the_first_error_cancels_siblings_and_body_and_all_errors_of_that_turn_are_in_the_group) {
    run([]() -> Coro<> {
        int cancelled = 0;
        bool body_cancelled = false, after = false;
        Task<int> complete;
        Task<> runner = create_task([&]() -> Coro<> {
            co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
                complete = g.create_task(value_after(1, 42));
                for (int i = 0; i < 3; ++i) g.create_task(raise_after<ZeroDivision>(3));
                g.create_task(for_ever(cancelled));
                try {
                    co_await sleep(forever);
                } catch (const CancelledError&) {
                    body_cancelled = true;
                    throw;
                }
            });
            after = true;
        });
        const Came came = co_await outcome_of(runner);
        EXPECT_TRUE(came.group && came.group->exceptions().size() == 3 && count<ZeroDivision>(*came.group) == 3);
        EXPECT_EQ(cancelled, 1);
        EXPECT_TRUE(body_cancelled);
        EXPECT_FALSE(after);
        EXPECT_EQ(complete.result(), 42);
    });
}

// cancellation, 07, 17, 22
TEST(AsyncioTaskGroup, a_cancellation_from_outside_reaches_body_and_children_and_goes_on_with_its_message) {
    run([]() -> Coro<> {
        for (const bool body_waits : {false, true}) {
            int cancelled = 0;
            Task<> runner = create_task([&]() -> Coro<> {
                co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
                    for (int i = 0; i < 5; ++i) g.create_task(for_ever(cancelled));
                    if (body_waits) co_await for_ever(cancelled);
                });
            });
            co_await turns(4);
            EXPECT_FALSE(runner.done());
            runner.cancel("test");
            const Came came = co_await outcome_of(runner);
            EXPECT_TRUE(came.cancelled);
            EXPECT_EQ(came.message, "test");
            EXPECT_EQ(cancelled, body_waits ? 6 : 5);
        }
    });
}

// 09, 10
TEST(AsyncioTaskGroup, an_error_of_the_body_cancels_the_children_whether_they_have_begun_or_not) {
    run([]() -> Coro<> {
        for (const int n : {0, 3}) {
            int cancelled = 0;
            Task<> t1, t2;
            Task<> runner = create_task([&]() -> Coro<> {
                co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
                    t1 = g.create_task(for_ever(cancelled));
                    t2 = g.create_task(for_ever(cancelled));
                    co_await turns(n);
                    throw ZeroDivision();
                });
            });
            const Came came = co_await outcome_of(runner);
            EXPECT_TRUE(came.group && came.group->exceptions().size() == 1 && count<ZeroDivision>(*came.group) == 1);
            EXPECT_TRUE(t1.cancelled() && t2.cancelled());
            EXPECT_EQ(cancelled, n == 0 ? 0 : 2); // before its first step a body never runs
        }
    });
}

// 11, 12, 15, 16
TEST(AsyncioTaskGroup, an_outer_cancellation_survives_all_nestings_to_depth_three) {
    run([]() -> Coro<> {
        for (int depth = 1; depth <= 3; ++depth) {
            for (const bool siblings : {false, true}) {
                for (const bool slow : {false, true}) {
                    int cancelled = 0;
                    std::function<Coro<>(int)> nest = [&](int left) -> Coro<> {
                        co_await TaskGroup::run([&, left](TaskGroup& g) -> Coro<> {
                            if (siblings)
                                for (int i = 0; i < 2; ++i) g.create_task(for_ever(cancelled));
                            if (left > 1) {
                                co_await nest(left - 1);
                            } else {
                                bool seen = false;
                                try {
                                    co_await for_ever(cancelled);
                                } catch (const CancelledError&) {
                                    seen = true;
                                }
                                if (seen && slow) co_await turns(3);
                                if (seen) throw CancelledError("again");
                            }
                        });
                    };
                    Task<> runner = create_task(nest(depth));
                    co_await turns(5);
                    runner.cancel();
                    const Came came = co_await outcome_of(runner);
                    EXPECT_TRUE(came.cancelled) << depth << siblings << slow;
                    EXPECT_EQ(cancelled, 1 + (siblings ? 2 * depth : 0));
                }
            }
        }
    });
}

// 13, 14
TEST(AsyncioTaskGroup, an_error_of_an_outer_child_cancels_the_inner_group_and_an_inner_error_is_nested) {
    run([]() -> Coro<> {
        for (const bool inner_fails : {false, true}) {
            int cancelled = 0;
            Task<> runner = create_task([&]() -> Coro<> {
                co_await TaskGroup::run([&](TaskGroup& g1) -> Coro<> {
                    g1.create_task(inner_fails ? for_ever(cancelled) : raise_after<MyError>(3));
                    co_await TaskGroup::run([&](TaskGroup& g2) {
                        g2.create_task(inner_fails ? raise_after<MyError>(3) : for_ever(cancelled));
                    });
                });
            });
            const Came came = co_await outcome_of(runner);
            EXPECT_TRUE(came.group && came.group->exceptions().size() == 1);
            if (!came.group) continue;
            EXPECT_EQ(count<ExceptionGroup>(*came.group), inner_fails ? 1u : 0u);
            EXPECT_TRUE(came.group->subgroup<MyError>());
            EXPECT_EQ(cancelled, 1);
        }
    });
}

// 18, 19, 20a, 21a
TEST(AsyncioTaskGroup, another_error_in_place_of_the_cancellation_is_in_the_group) {
    run([]() -> Coro<> {
        for (const bool child_fails : {false, true}) {
            Task<> runner = create_task([&]() -> Coro<> {
                co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
                    if (child_fails) g.create_task(raise_after<ZeroDivision>(2));
                    bool seen = false;
                    try {
                        co_await sleep(forever);
                    } catch (const CancelledError&) {
                        seen = true;
                    }
                    if (seen) throw MyError();
                });
            });
            co_await turns(2);
            if (!child_fails) runner.cancel();
            const Came came = co_await outcome_of(runner);
            EXPECT_TRUE(came.group);
            if (!came.group) continue;
            EXPECT_EQ(count<MyError>(*came.group), 1u);
            EXPECT_EQ(count<ZeroDivision>(*came.group), child_fails ? 1u : 0u);
        }
    });
}

// 23
TEST(AsyncioTaskGroup, forgets_children_that_have_ended) {
    run([]() -> Coro<> {
        co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
            for (int i = 0; i < 10; ++i) {
                co_await turns(1);
                g.create_task(turns(2));
                EXPECT_LE(g.size(), 5u);
            }
            co_await turns(6);
            EXPECT_EQ(g.size(), 0u);
        });
    });
}

Coro<> hydra(TaskGroup& g, int& heads) {
    if (++heads > 100'000) co_return;
    co_await turns(1);
    g.create_task(hydra(g, heads));
    g.create_task(hydra(g, heads));
}

// 25
TEST(AsyncioTaskGroup, ends_though_children_create_children_all_the_time) {
    run([]() -> Coro<> {
        int heads = 0;
        Task<> runner = create_task([&]() -> Coro<> {
            co_await TaskGroup::run([&](TaskGroup& g) {
                g.create_task(hydra(g, heads));
                g.create_task([&]() -> Coro<> {
                    while (heads < 10) co_await turns(1);
                    throw ZeroDivision();
                });
            });
        });
        const Came came = co_await outcome_of(runner);
        EXPECT_TRUE(came.group && count<ZeroDivision>(*came.group) == 1);
        EXPECT_GE(heads, 10);
    });
}

// cancelling_level_preserved
TEST(AsyncioTaskGroup, preserves_the_level_of_cancelling) {
    run([]() -> Coro<> {
        bool caught = false;
        try {
            co_await TaskGroup::run([](TaskGroup& g) { g.create_task(raise_after<MyError>(1)); });
        } catch (const ExceptionGroup&) {
            caught = true;
        }
        EXPECT_TRUE(caught);
        EXPECT_EQ(current_task().cancelling(), 0);
        co_await turns(1); // nothing is left that would cancel it
    });
}

// nested_groups_both_cancelled
TEST(AsyncioTaskGroup, nested_groups_that_fail_at_once_both_throw) {
    run([]() -> Coro<> {
        bool inner_failed = false, outer_failed = false;
        try {
            co_await TaskGroup::run([&](TaskGroup& outer) -> Coro<> {
                try {
                    co_await TaskGroup::run([&](TaskGroup& inner) {
                        inner.create_task(raise_after<MyError>(1));
                        outer.create_task(raise_after<ZeroDivision>(1));
                    });
                } catch (const ExceptionGroup& g) {
                    inner_failed = count<MyError>(g) == 1;
                }
                EXPECT_EQ(current_task().cancelling(), 1);
            });
        } catch (const ExceptionGroup& g) {
            outer_failed = g.exceptions().size() == 1 && count<ZeroDivision>(g) == 1;
        }
        EXPECT_TRUE(inner_failed);
        EXPECT_TRUE(outer_failed);
        EXPECT_EQ(current_task().cancelling(), 0);
    });
}

// error_and_cancel
TEST(AsyncioTaskGroup, a_request_from_outside_beside_an_error_comes_at_the_next_wait_after_the_group) {
    run([]() -> Coro<> {
        Event begun;
        bool group_came = false, went_on = false;
        Task<> inner = create_task([&]() -> Coro<> {
            try {
                co_await TaskGroup::run([&](TaskGroup& g) -> Coro<> {
                    g.create_task([&]() -> Coro<> {
                        begun.set();
                        co_await turns(1);
                        throw MyError();
                    });
                    co_await sleep(forever);
                });
            } catch (const ExceptionGroup& g) {
                group_came = count<MyError>(g) == 1;
            }
            EXPECT_EQ(current_task().cancelling(), 1);
            co_await sleep(forever);
            went_on = true;
        });
        co_await begun.async_wait();
        EXPECT_EQ(inner.cancelling(), 0);
        inner.cancel();
        EXPECT_EQ(inner.cancelling(), 1);
        const Came came = co_await outcome_of(inner);
        EXPECT_TRUE(came.cancelled && inner.cancelled());
        EXPECT_TRUE(group_came);
        EXPECT_FALSE(went_on);
    });
}

TEST(AsyncioTaskGroup, takes_a_task_from_a_child_that_is_just_ending) {
    run([]() -> Coro<> {
        int ran = 0;
        struct AtEnd {
            TaskGroup& g;
            int& ran;
            ~AtEnd() {
                g.create_task([&n = ran]() -> Coro<> {
                    ++n;
                    co_return;
                });
            }
        };
        co_await TaskGroup::run([&](TaskGroup& g) {
            g.create_task([&g, &ran]() -> Coro<> {
                const AtEnd at_end{g, ran}; // runs when the task has ended, and before the group looks at that
                co_await turns(1);
            });
        });
        EXPECT_EQ(ran, 1);
    });
}

} // namespace
} // namespace sennit::asyncio
