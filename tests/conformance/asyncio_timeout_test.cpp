// After CPython's test_timeouts.py, test_waitfor.py, and what test_tasks.py has on wait, as_completed and shield; of 3.13.
// docs/conformance/asyncio.md says which case is where.
#include <sennit/asyncio.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

struct MyError : std::runtime_error {
    MyError() : std::runtime_error("mine") {}
};
Coro<> turns(int n) {
    while (n-- > 0) co_await sleep(0s);
}
template <class T>
Coro<T> value_after(int n, T value) {
    co_await turns(n);
    co_return value;
}
Coro<> for_ever() { co_await sleep(forever); }
Coro<> stubborn(int& ended) { // takes no cancellation, and ends some turns after it
    struct AtEnd {
        int& n;
        ~AtEnd() { ++n; }
    } at_end{ended};
    bool cancelled = false;
    try {
        co_await sleep(forever);
    } catch (const CancelledError&) {
        cancelled = true;
    }
    if (cancelled) co_await turns(3);
}
enum class End { well, timed_out, cancelled, mine };
Coro<End> end_of(Coro<> coro) {
    try {
        co_await std::move(coro);
    } catch (const TimeoutError&) {
        co_return End::timed_out;
    } catch (const CancelledError&) {
        co_return End::cancelled;
    } catch (const MyError&) {
        co_return End::mine;
    }
    co_return End::well;
}

// ---- timeout

// basic, at_basic, waiter_cancelled, outer_task_is_not_cancelled
TEST(AsyncioTimeout, cancels_the_body_and_throws_when_the_time_has_passed) {
    run([]() -> Coro<> {
        bool cancelled = false;
        const auto when = EventLoop::time() + 2ms;
        Timeout limit(when);
        const End end = co_await end_of(limit.run([&]() -> Coro<> {
            try {
                co_await sleep(forever);
            } catch (const CancelledError&) {
                cancelled = true;
                throw;
            }
        }));
        EXPECT_EQ(end, End::timed_out);
        EXPECT_TRUE(cancelled && limit.expired());
        EXPECT_EQ(limit.when(), Deadline(when));
        EXPECT_EQ(co_await end_of(timeout_at(EventLoop::time() + 1ms, for_ever())), End::timed_out);
        EXPECT_EQ(current_task().cancelling(), 0);
        co_await turns(2); // no request is left
    });
}

// not_called, disabled, at_disabled, foreign_exception_passed
TEST(AsyncioTimeout, lets_pass_what_ends_before_and_what_has_no_limit) {
    run([]() -> Coro<> {
        Timeout limit(1h);
        const std::string text = co_await limit.run(value_after<std::string>(2, "value"));
        EXPECT_EQ(text, "value");
        EXPECT_FALSE(limit.expired());
        EXPECT_EQ(co_await timeout(forever, value_after(1, 1)), 1);
        EXPECT_EQ(co_await end_of(timeout(1h,
                                          []() -> Coro<> {
                                              co_await turns(1);
                                              throw MyError();
                                          })),
                  End::mine);
        const auto moved =
            co_await timeout(1h, [](Timeout&) -> Coro<std::unique_ptr<int>> { co_return std::make_unique<int>(1); });
        EXPECT_EQ(*moved, 1);
    });
}

// zero, zero_sleep_zero, in_the_past_sleep_zero
TEST(AsyncioTimeout, of_zero_or_less_throws_at_the_first_wait_if_there_is_one) {
    run([]() -> Coro<> {
        for (const auto delay : {0s, -11s}) {
            bool began = false, went_on = false;
            EXPECT_EQ(co_await end_of(timeout(delay,
                                              [&]() -> Coro<> {
                                                  began = true;
                                                  co_await sleep(0s);
                                                  went_on = true;
                                              })),
                      End::timed_out);
            EXPECT_TRUE(began);
            EXPECT_FALSE(went_on);
            EXPECT_EQ(co_await end_of(timeout(delay, for_ever())), End::timed_out);
            EXPECT_EQ(co_await timeout(delay, []() -> Coro<int> { co_return 5; }), 5);
            co_await turns(1);
        }
    });
}

// nested_timeouts, nested_timeouts_concurrent, …_loop_busy, nested_timeout_in_finally
TEST(AsyncioTimeout, nested_scopes_each_know_their_own) {
    run([]() -> Coro<> {
        // The outer one expires: the inner one passes CancelledError.
        Timeout outer(1ms), inner(1h);
        End seen_inside = End::well;
        EXPECT_EQ(co_await end_of(outer.run([&]() -> Coro<> {
                      seen_inside = co_await end_of(inner.run(for_ever()));
                      if (seen_inside == End::cancelled) throw CancelledError();
                  })),
                  End::timed_out);
        EXPECT_EQ(seen_inside, End::cancelled);
        EXPECT_TRUE(outer.expired());
        EXPECT_FALSE(inner.expired());
        // The inner one expires: the outer one goes on.
        EXPECT_EQ(co_await end_of(timeout(1h,
                                          []() -> Coro<> {
                                              EXPECT_EQ(co_await end_of(timeout(1ms, for_ever())), End::timed_out);
                                              co_await turns(3);
                                          })),
                  End::well);
        // Both at once: only the outer one throws TimeoutError.
        const auto when = EventLoop::time() + 1ms;
        Timeout outer2(when), inner2(when);
        EXPECT_EQ(co_await end_of(outer2.run([&]() -> Coro<> {
                      const End end = co_await end_of(inner2.run(for_ever()));
                      EXPECT_EQ(end, End::cancelled);
                      if (end == End::cancelled) throw CancelledError();
                  })),
                  End::timed_out);
        EXPECT_TRUE(outer2.expired() && inner2.expired());
        // One in the clean-up of another.
        EXPECT_EQ(co_await end_of(timeout(1ms,
                                          []() -> Coro<> {
                                              const End end = co_await end_of(for_ever());
                                              EXPECT_EQ(co_await end_of(timeout(1ms, for_ever())), End::timed_out);
                                              if (end == End::cancelled) throw CancelledError();
                                          })),
                  End::timed_out);
        EXPECT_EQ(current_task().cancelling(), 0);
    });
}

// foreign_exception_on_timeout
TEST(AsyncioTimeout, another_error_or_a_value_of_the_cancelled_body_is_what_comes_out) {
    run([]() -> Coro<> {
        EXPECT_EQ(co_await end_of(timeout(1ms,
                                          []() -> Coro<> {
                                              if (co_await end_of(for_ever()) == End::cancelled) throw MyError();
                                          })),
                  End::mine);
        EXPECT_EQ(co_await timeout(1ms,
                                   []() -> Coro<int> {
                                       co_await end_of(for_ever());
                                       co_return 42;
                                   }),
                  42);
        co_await turns(2);
    });
}

// foreign_cancel_doesnt_timeout_if_not_expired, after_cancellation, cancel_in_timeout_after_cancellation
TEST(AsyncioTimeout, a_cancellation_from_elsewhere_stays_one) {
    run([]() -> Coro<> {
        Task<> task = create_task([]() -> Coro<> {
            Timeout limit(1h);
            EXPECT_EQ(co_await end_of(limit.run([]() -> Coro<> {
                          current_task().cancel();
                          co_await sleep(forever);
                      })),
                      End::cancelled);
            EXPECT_FALSE(limit.expired());
            EXPECT_EQ(current_task().cancelling(), 1);
            // In the clean-up after it, scopes work as ever.
            EXPECT_EQ(co_await end_of(timeout(0s, for_ever())), End::timed_out);
            EXPECT_EQ(co_await end_of(timeout(1h,
                                              []() -> Coro<> {
                                                  current_task().cancel();
                                                  co_await sleep(forever);
                                              })),
                      End::cancelled);
            EXPECT_EQ(current_task().cancelling(), 2);
            // Both in one scope: it is a cancellation.
            EXPECT_EQ(co_await end_of(timeout(0s,
                                              []() -> Coro<> {
                                                  current_task().cancel();
                                                  co_await sleep(forever);
                                              })),
                      End::cancelled);
        });
        co_await task;
        EXPECT_FALSE(task.cancelled());
    });
}

// reschedule, already_entered, double_enter, finished, not_entered
TEST(AsyncioTimeout, can_be_rescheduled_while_it_runs_and_at_no_other_time) {
    run([]() -> Coro<> {
        Timeout limit(1h);
        EXPECT_THROW(limit.reschedule(1s), UsageError);
        EXPECT_EQ(co_await end_of(limit.run([](Timeout& t) -> Coro<> {
                      t.reschedule(forever);
                      EXPECT_TRUE(t.when().is_forever());
                      t.reschedule(1ms);
                      bool refused = false;
                      const End end = co_await end_of(for_ever());
                      try {
                          t.reschedule(1h);
                      } catch (const UsageError&) {
                          refused = true;
                      }
                      EXPECT_TRUE(refused); // it has expired
                      if (end == End::cancelled) throw CancelledError();
                  })),
                  End::timed_out);
        EXPECT_THROW(limit.reschedule(1s), UsageError);
        bool refused = false;
        try {
            co_await limit.run(turns(1));
        } catch (const UsageError&) {
            refused = true;
        }
        EXPECT_TRUE(refused);
        EXPECT_EQ(co_await end_of(timeout(1h,
                                          [](Timeout& t) -> Coro<> {
                                              t.reschedule(-1s);
                                              co_await turns(1);
                                          })),
                  End::timed_out);
    });
}

// ---- wait_for

// wait_for_cancelled, wait_for_timeout, waits_for_task_cancellation, …_w_timeout_0
TEST(AsyncioWaitFor, waits_for_the_end_of_what_it_cancels) {
    run([]() -> Coro<> {
        int ended = 0;
        co_await wait_for(stubborn(ended), 1ms); // its value wins
        EXPECT_EQ(ended, 1);
        Task<> inner = create_task(stubborn(ended));
        co_await turns(1);
        co_await wait_for(inner, 0s);
        EXPECT_EQ(ended, 2);
        Task<> outer = create_task(wait_for(stubborn(ended), 1h));
        co_await turns(2);
        outer.cancel();
        co_await wait(outer);
        EXPECT_EQ(ended, 3);
        Task<> waits = create_task(for_ever());
        EXPECT_EQ(co_await end_of(wait_for(waits, 1ms)), End::timed_out);
        EXPECT_TRUE(waits.cancelled());
    });
}

// timeout_less_then_0_or_0…, future_done, coroutine_do_not_started
TEST(AsyncioWaitFor, of_no_time_gives_what_is_done_and_never_starts_what_has_not_begun) {
    run([]() -> Coro<> {
        for (const auto delay : {0s, -1s}) {
            Future<std::string> future;
            future.set_result("done");
            EXPECT_EQ(co_await wait_for(future, delay), "done");
            Task<int> task = create_task(value_after(0, 3));
            co_await turns(1);
            EXPECT_EQ(co_await wait_for(task, delay), 3);
            bool started = false;
            EXPECT_EQ(co_await end_of(wait_for(
                          [&]() -> Coro<> {
                              started = true;
                              co_return;
                          },
                          delay)),
                      End::timed_out);
            EXPECT_FALSE(started);
            Task<> runs = create_task(for_ever());
            co_await turns(1);
            EXPECT_EQ(co_await end_of(wait_for(runs, delay)), End::timed_out);
            EXPECT_TRUE(runs.cancelled());
        }
    });
}

// wait_for_blocking, race_condition, cancellation_race_condition, reraises_exception_during_cancellation, cancel_suppressed
TEST(AsyncioWaitFor, gives_value_or_error_of_the_cancelled_one_and_the_result_in_time) {
    run([]() -> Coro<> {
        EXPECT_EQ(co_await wait_for(value_after(1, 1), forever), 1);
        Future<int> future;
        EventLoop::running().call_soon([future] { future.set_result(2); });
        EXPECT_EQ(co_await wait_for(future, 1h), 2);
        EXPECT_EQ(co_await wait_for(
                      []() -> Coro<int> {
                          co_await end_of(for_ever());
                          co_return 42;
                      },
                      1ms),
                  42);
        Task<> raises = create_task([]() -> Coro<> {
            if (co_await end_of(for_ever()) == End::cancelled) throw MyError();
        });
        EXPECT_EQ(co_await end_of(wait_for(raises, 1ms)), End::mine);
        Future<int> never;
        EXPECT_EQ(co_await end_of([](Future<int> f) -> Coro<> { co_await wait_for(f, 1ms); }(never)), End::timed_out);
        EXPECT_TRUE(never.cancelled());
    });
}

// self_cancellation, cancel_blocking_wait_for, cancel_wait_for, issue86296
TEST(AsyncioWaitFor, a_cancellation_from_elsewhere_is_never_lost_and_reaches_the_task) {
    run([]() -> Coro<> {
        for (const Deadline limit : {Deadline(forever), Deadline(1h)}) {
            Task<> inner = create_task(for_ever());
            Task<> waits = create_task(wait_for(inner, limit));
            EventLoop::running().call_soon([waits] { waits.cancel(); });
            EXPECT_EQ(co_await end_of([](Task<> t) -> Coro<> { co_await t; }(waits)), End::cancelled);
            EXPECT_TRUE(inner.cancelled() && waits.cancelled());
        }
        // While wait_for(0) waits for the end of what it has cancelled.
        int ended = 0;
        Task<> inner = create_task(stubborn(ended));
        co_await turns(1);
        Task<> waits = create_task(wait_for(inner, 0s));
        co_await turns(2);
        waits.cancel();
        EXPECT_EQ(co_await end_of([](Task<> t) -> Coro<> { co_await t; }(waits)), End::cancelled);
        EXPECT_EQ(ended, 1);
        // After an awaitable that was done at once.
        bool reached = false;
        Task<> task = create_task([&]() -> Coro<> {
            co_await wait_for([]() -> Coro<> { co_return; }, 100s);
            co_await sleep(forever);
            reached = true;
        });
        co_await turns(1);
        task.cancel();
        EXPECT_EQ(co_await end_of([](Task<> t) -> Coro<> { co_await t; }(task)), End::cancelled);
        EXPECT_FALSE(reached);
    });
}

// ---- shield

// shield_effect, shield_result, shield_exception, shield_cancel_outer
TEST(AsyncioShield, keeps_a_cancellation_from_the_inner_task_which_goes_on) {
    run([]() -> Coro<> {
        EXPECT_EQ(co_await shield(value_after(1, 42)), 42);
        EXPECT_EQ(co_await end_of([]() -> Coro<> {
                      co_await shield([]() -> Coro<> {
                          co_await turns(1);
                          throw MyError();
                      });
                  }()),
                  End::mine);
        Task<int> inner = create_task(value_after(10, 7));
        Task<> outer = create_task([](Task<int> t) -> Coro<> { co_await shield(t); }(inner));
        co_await turns(2);
        outer.cancel();
        EXPECT_EQ(co_await end_of([](Task<> t) -> Coro<> { co_await t; }(outer)), End::cancelled);
        EXPECT_TRUE(outer.cancelled());
        EXPECT_FALSE(inner.done());
        EXPECT_EQ(co_await inner, 7);
    });
}

// shield_cancel_inner, shield_shortcut, cancelled_shield_…_report
TEST(AsyncioShield, a_cancelled_inner_one_throws_and_a_later_error_of_it_is_told_to_the_loop) {
    run([]() -> Coro<> {
        Task<> inner = create_task(for_ever());
        EventLoop::running().call_soon([inner] { inner.cancel(); });
        EXPECT_EQ(co_await end_of([](Task<> t) -> Coro<> { co_await shield(t); }(inner)), End::cancelled);
        EXPECT_EQ(current_task().cancelling(), 0);

        int told = 0;
        EventLoop::running().set_exception_handler([&](EventLoop&, const loop::ExceptionContext& context) {
            told += ExceptionGroup::is<MyError>(context.exception) ? 1 : 0;
        });
        Task<> outer = create_task([]() -> Coro<> {
            co_await shield([]() -> Coro<> {
                co_await turns(4);
                throw MyError();
            });
        });
        co_await turns(2);
        outer.cancel();
        co_await turns(1);
        EXPECT_TRUE(outer.cancelled());
        EXPECT_EQ(told, 0);
        co_await turns(4);
        EXPECT_EQ(told, 1);
        EventLoop::running().set_exception_handler(nullptr);
    });
}

// ---- wait

// wait, wait_first_completed, wait_first_exception(_in_wait), wait_with_exception, wait_with_timeout, wait_duplicate_coroutines, wait_concurrent_complete
TEST(AsyncioWait, gives_done_and_pending_by_return_when_and_time_out) {
    run([]() -> Coro<> {
        std::vector<Task<>> tasks{create_task(turns(1)), create_task(turns(5)), create_task(for_ever())};
        const auto first = co_await wait(tasks, {.return_when = FIRST_COMPLETED});
        EXPECT_EQ(first.done.size(), 1u);
        EXPECT_EQ(first.done.at(0), tasks[0]);
        EXPECT_EQ(first.pending.size(), 2u);
        const auto timed = co_await wait(tasks, {.timeout = 1ms});
        EXPECT_EQ(timed.done.size(), 2u);
        EXPECT_EQ(timed.pending.at(0), tasks[2]);
        const auto polled = co_await wait(tasks, {.timeout = 0s});
        EXPECT_EQ(polled.done.size(), 2u);
        tasks[2].cancel();
        const auto all = co_await wait(tasks);
        EXPECT_EQ(all.done.size(), 3u);

        // A cancelled one is no exception, the first that fails is one.
        std::vector<Task<>> more{create_task(for_ever()), create_task(for_ever()), create_task([]() -> Coro<> {
                                     co_await turns(4);
                                     throw MyError();
                                 })};
        more.push_back(more[2]);
        EventLoop::running().call_soon([t = more[0]] { t.cancel(); });
        const auto failed = co_await wait(more, {.return_when = FIRST_EXCEPTION});
        EXPECT_EQ(failed.done.size(), 2u);
        EXPECT_EQ(failed.pending.size(), 1u);
        EXPECT_THROW(more[2].result(), MyError);
        more[1].cancel();
    });
}

// wait_errors
TEST(AsyncioWait, leaves_the_tasks_alone_when_cancelled_and_refuses_none_and_those_of_others) {
    EventLoop other;
    Task<> foreign = create_task_on(other, turns(1));
    run([&]() -> Coro<> {
        Task<> inner = create_task(for_ever());
        Task<> outer = create_task([](Task<> t) -> Coro<> { co_await wait(t); }(inner));
        co_await turns(2);
        outer.cancel();
        EXPECT_EQ(co_await end_of([](Task<> t) -> Coro<> { co_await t; }(outer)), End::cancelled);
        EXPECT_FALSE(inner.done());
        inner.cancel();
        EXPECT_THROW(static_cast<void>(wait(std::vector<TaskRef>())), UsageError);
        EXPECT_THROW(static_cast<void>(wait(foreign)), UsageError);
    });
    other.run_until_complete(foreign);
}

// ---- as_completed

// as_completed, …_reverse_wait, …_concurrent, …_duplicate_coroutines
TEST(AsyncioAsCompleted, gives_results_in_the_order_in_which_they_come) {
    run([]() -> Coro<> {
        std::vector<Coro<int>> coros;
        for (const int n : {6, 2, 4}) coros.push_back(value_after(n, n));
        std::vector<int> order;
        for (auto&& next : as_completed(std::move(coros))) order.push_back(co_await next);
        EXPECT_EQ(order.size(), 3u);
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));

        std::vector<Task<int>> tasks{create_task(value_after(5, 5)), create_task(value_after(1, 1))};
        tasks.push_back(tasks[0]);
        auto all = as_completed(tasks);
        std::vector<int> given;
        while (auto task = co_await all.async_next()) {
            EXPECT_TRUE(*task == tasks[0] || *task == tasks[1]);
            given.push_back(task->result());
        }
        EXPECT_EQ(given.size(), 2u);
        EXPECT_EQ(given.at(0), 1);
        EXPECT_FALSE(co_await all.async_next());
        auto none = as_completed(std::vector<Coro<int>>());
        EXPECT_FALSE(co_await none.async_next());
    });
}

// as_completed_with_timeout, …_with_unused_timeout
TEST(AsyncioAsCompleted, throws_at_the_deadline_and_what_a_task_threw_and_lets_the_others_go_on) {
    run([]() -> Coro<> {
        std::vector<Task<>> tasks{create_task([]() -> Coro<> {
                                      co_await turns(1);
                                      throw MyError();
                                  }),
                                  create_task(for_ever())};
        std::vector<End> ends;
        for (auto&& next : as_completed(tasks, 2ms)) {
            try {
                co_await next;
            } catch (const MyError&) {
                ends.push_back(End::mine);
            } catch (const TimeoutError&) {
                ends.push_back(End::timed_out);
            }
        }
        EXPECT_EQ(ends, (std::vector<End>{End::mine, End::timed_out}));
        EXPECT_FALSE(tasks[1].done());
        // A cancelled getter leaves its turn to the next one.
        auto all = as_completed(tasks);
        co_await all.async_next();
        Task<> waits = create_task([](AsCompleted<void>& c) -> Coro<> { co_await c.async_next(); }(all));
        co_await turns(2);
        waits.cancel();
        co_await wait(waits);
        tasks[1].cancel();
        const auto last = co_await all.async_next();
        EXPECT_TRUE(last && last->cancelled());
    });
}

} // namespace
} // namespace sennit::asyncio
