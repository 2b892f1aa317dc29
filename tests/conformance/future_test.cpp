// What Python's test_concurrent_futures knows of Future, wait and as_completed. The table of cases is
// docs/conformance/futures.md.
#include <sennit/futures.hpp>

#include "support/test_loop.hpp"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using futures::as_completed;
using futures::Future;
using futures::ThreadPoolExecutor;
using testing::Co;
using testing::TestLoop;
using testing::wait_until_parked;

// One of each state.
Future<int> pending_future() { return {}; }
Future<int> running_future() {
    Future<int> f;
    f.set_running_or_notify_cancel();
    return f;
}
Future<int> cancelled_future() {
    Future<int> f;
    f.cancel();
    return f;
}
Future<int> cancelled_and_notified_future() {
    Future<int> f;
    f.cancel();
    f.set_running_or_notify_cancel();
    return f;
}
Future<int> failed_future() {
    Future<int> f;
    f.set_exception(std::make_exception_ptr(std::out_of_range("far")));
    f.exception();
    return f;
}
Future<int> successful_future() {
    Future<int> f;
    f.set_result(42);
    return f;
}

// Collects what would have gone to stderr.
class Unseen {
  public:
    Unseen() {
        said().clear();
        sync::set_unseen_error_hook([](std::exception_ptr error, const char* what) noexcept {
            try {
                std::rethrow_exception(std::move(error));
            } catch (const std::exception& e) {
                said().push_back(std::string(what) + ": " + e.what());
            } catch (...) {
                said().push_back(what);
            }
        });
    }
    ~Unseen() { sync::set_unseen_error_hook(nullptr); }
    Unseen(const Unseen&) = delete;
    Unseen& operator=(const Unseen&) = delete;
    static std::vector<std::string>& said() {
        static std::vector<std::string> all;
        return all;
    }
};

// ---- test_future.py

TEST(DoneCallback, is_given_the_future_with_its_result_error_or_cancellation) {
    int result = 0;
    Future<int> f;
    f.add_done_callback([&](Future<int> g) { result = g.result(); });
    EXPECT_EQ(result, 0);
    f.set_result(5);
    EXPECT_EQ(result, 5);

    std::exception_ptr error;
    Future<int> failing;
    failing.add_done_callback([&](const Future<int>& g) { error = g.exception(); });
    failing.set_exception(std::make_exception_ptr(std::runtime_error("test")));
    EXPECT_TRUE(error);

    bool cancelled = false;
    Future<int> given_up;
    given_up.add_done_callback([&](const Future<int>& g) { cancelled = g.cancelled(); });
    EXPECT_TRUE(given_up.cancel());
    EXPECT_TRUE(cancelled);
}

TEST(DoneCallback, runs_at_once_when_the_future_is_done) {
    int result = 0;
    bool failed = false, cancelled = false;
    successful_future().add_done_callback([&](Future<int> g) { result = g.result(); });
    failed_future().add_done_callback([&](const Future<int>& g) { failed = g.exception() != nullptr; });
    cancelled_future().add_done_callback([&](const Future<int>& g) { cancelled = g.cancelled(); });
    EXPECT_EQ(result, 42);
    EXPECT_TRUE(failed);
    EXPECT_TRUE(cancelled);
}

TEST(DoneCallback, that_throws_is_reported_and_the_others_run) {
    const Unseen unseen;
    bool ran = false;
    Future<int> f;
    f.add_done_callback([](const Future<int>&) { throw std::runtime_error("doh!"); });
    f.add_done_callback([&](const Future<int>&) { ran = true; });
    f.set_result(5);
    EXPECT_TRUE(ran);
    ASSERT_EQ(Unseen::said().size(), 1U);
    EXPECT_EQ(Unseen::said()[0], "a done-callback of a future: doh!");

    f.add_done_callback([](const Future<int>&) { throw std::runtime_error("doh again!"); }); // at once
    ASSERT_EQ(Unseen::said().size(), 2U);
    EXPECT_EQ(Unseen::said()[1], "a done-callback of a future: doh again!");
}

TEST(DoneCallback, several_run_once_each_in_the_order_in_which_they_were_added) {
    std::vector<int> order;
    Future<int> f;
    for (int i = 0; i < 5; ++i) f.add_done_callback([&order, i](const Future<int>&) { order.push_back(i); });
    f.set_result(1);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(DoneCallback, runs_in_the_agent_that_completes) {
    Future<int> f;
    std::thread::id ran_in;
    f.add_done_callback([&](const Future<int>&) { ran_in = std::this_thread::get_id(); });
    std::thread t([&] { f.set_result(1); });
    const auto expected = t.get_id();
    t.join();
    EXPECT_EQ(ran_in, expected);
}

TEST(DoneCallback, may_drop_the_last_handle) {
    auto f = std::make_unique<Future<int>>();
    Future<int>& ref = *f;
    f->add_done_callback([&](const Future<int>&) { f.reset(); });
    ref.set_result(1);
    EXPECT_FALSE(f);
}

TEST(DoneCallback, of_a_future_that_dies_undone_is_destroyed_uncalled) {
    auto held = std::make_shared<int>(1);
    {
        Future<int>().add_done_callback([held](const Future<int>&) { ADD_FAILURE(); });
    }
    EXPECT_EQ(held.use_count(), 1);
}

TEST(FutureStates, cancel_is_true_while_pending_or_cancelled_and_changes_nothing_else) {
    EXPECT_TRUE(pending_future().cancel());
    EXPECT_TRUE(cancelled_future().cancel());
    EXPECT_TRUE(cancelled_and_notified_future().cancel());
    Future<int> running = running_future(), failed = failed_future(), successful = successful_future();
    EXPECT_FALSE(running.cancel());
    EXPECT_TRUE(running.running());
    EXPECT_FALSE(failed.cancel());
    EXPECT_TRUE(failed.done());
    EXPECT_FALSE(failed.cancelled());
    EXPECT_FALSE(successful.cancel());
    EXPECT_EQ(successful.result(), 42);
}

TEST(FutureStates, done_running_and_cancelled_tell_the_state) {
    struct Row {
        Future<int> future;
        bool done, running, cancelled;
    };
    const Row rows[] = {
        {pending_future(), false, false, false}, {running_future(), false, true, false},
        {cancelled_future(), true, false, true}, {cancelled_and_notified_future(), true, false, true},
        {failed_future(), true, false, false},   {successful_future(), true, false, false},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(row.future.done(), row.done);
        EXPECT_EQ(row.future.running(), row.running);
        EXPECT_EQ(row.future.cancelled(), row.cancelled);
    }
}

TEST(FutureStates, result_and_exception_with_a_deadline_of_zero_look_once) {
    EXPECT_THROW(pending_future().result(0s), TimeoutError);
    EXPECT_THROW(running_future().result(0s), TimeoutError);
    EXPECT_THROW(cancelled_future().result(0s), CancelledError);
    EXPECT_THROW(cancelled_and_notified_future().result(0s), CancelledError);
    EXPECT_THROW(failed_future().result(0s), std::out_of_range);
    EXPECT_EQ(successful_future().result(0s), 42);
    EXPECT_THROW(pending_future().exception(0s), TimeoutError);
    EXPECT_THROW(running_future().exception(0s), TimeoutError);
    EXPECT_THROW(cancelled_future().exception(0s), CancelledError);
    EXPECT_THROW(cancelled_and_notified_future().exception(0s), CancelledError);
    EXPECT_TRUE(failed_future().exception(0s));
    EXPECT_FALSE(successful_future().exception(0s));
    EXPECT_THROW(pending_future().result(-1s), TimeoutError); // a negative one polls
}

TEST(FutureStates, result_waits_for_the_value_the_error_and_the_cancellation) {
    for (int how = 0; how < 3; ++how) {
        Future<int> f;
        std::thread setter([&] {
            wait_until_parked(1);
            if (how == 0) f.set_result(42);
            if (how == 1) f.set_exception(std::make_exception_ptr(std::out_of_range("far")));
            if (how == 2) f.cancel();
        });
        if (how == 0)
            EXPECT_EQ(f.result(60s), 42);
        else if (how == 1)
            EXPECT_TRUE(f.exception(60s));
        else
            EXPECT_THROW(f.result(60s), CancelledError);
        setter.join();
    }
}

TEST(FutureStates, is_set_once) {
    Future<int> f;
    f.set_result(1);
    EXPECT_THROW(f.set_result(2), InvalidStateError);
    EXPECT_THROW(f.set_exception(std::make_exception_ptr(1)), InvalidStateError);
    EXPECT_EQ(f.result(), 1);

    Future<int> failed = failed_future();
    EXPECT_THROW(failed.set_exception(std::make_exception_ptr(1)), InvalidStateError);
    EXPECT_THROW(failed.set_result(1), InvalidStateError);
    EXPECT_THROW(failed.result(), std::out_of_range);

    EXPECT_THROW(cancelled_future().set_result(1), InvalidStateError);
}

TEST(FutureStates, set_running_or_notify_cancel_tells_who_was_first) {
    Future<int> f;
    EXPECT_TRUE(f.set_running_or_notify_cancel());
    EXPECT_THROW(f.set_running_or_notify_cancel(), InvalidStateError);
    f.set_result(1);
    EXPECT_THROW(f.set_running_or_notify_cancel(), InvalidStateError);
    EXPECT_FALSE(cancelled_future().set_running_or_notify_cancel());
}

TEST(FutureStates, a_future_of_an_executor_is_not_set_by_hand) {
    ThreadPoolExecutor pool(1);
    sync::Event begun, go;
    auto f = pool.submit([&] {
        begun.set();
        go.wait();
        return 1;
    });
    begun.wait();
    EXPECT_THROW(f.set_result(2), InvalidStateError);
    go.set();
    EXPECT_EQ(f.result(), 1);
}

TEST(FutureStates, an_error_that_nobody_looked_at_is_reported_when_the_last_handle_goes) {
    const Unseen unseen;
    {
        Future<int> f;
        f.set_exception(std::make_exception_ptr(std::runtime_error("lost")));
        const Future<int> g = f;
    }
    ASSERT_EQ(Unseen::said().size(), 1U);
    EXPECT_NE(Unseen::said()[0].find("lost"), std::string::npos);
    {
        Future<int> f;
        f.set_exception(std::make_exception_ptr(std::runtime_error("seen")));
        EXPECT_THROW(f.result(), std::runtime_error);
    }
    EXPECT_EQ(Unseen::said().size(), 1U);
}

// ---- test_wait.py

struct Pool : ::testing::Test {
    ThreadPoolExecutor pool{5};
    sync::Event go;
    Future<int> mul(int a, int b) {
        return pool.submit([=] { return a * b; });
    }
    Future<int> blocked() {
        return pool.submit([this] {
            go.wait();
            return 0;
        });
    }
    Future<int> failing() {
        return pool.submit([]() -> int { throw std::domain_error("division by zero"); });
    }
    ~Pool() override { go.set(); }
};
using Wait = Pool;
using Set = std::vector<Future<int>>;

TEST_F(Wait, counts_a_future_once) {
    auto f = mul(1, 2);
    const auto [done, not_done] = futures::wait({f, f});
    EXPECT_EQ(done, Set{f});
    EXPECT_TRUE(not_done.empty());
}

TEST_F(Wait, for_no_futures_returns_at_once) {
    for (auto when : {futures::ALL_COMPLETED, futures::FIRST_COMPLETED, futures::FIRST_EXCEPTION}) {
        const auto both = futures::wait(Set(), {.return_when = when});
        EXPECT_TRUE(both.done.empty() && both.not_done.empty());
    }
}

TEST_F(Wait, first_completed_returns_with_the_first) {
    auto pending = pending_future(), slow = blocked(), quick = mul(21, 2);
    const auto [done, not_done] = futures::wait({pending, quick, slow}, {.return_when = futures::FIRST_COMPLETED});
    EXPECT_EQ(done, Set{quick});
    EXPECT_EQ(not_done, (Set{pending, slow}));
}

TEST_F(Wait, first_completed_returns_at_once_when_some_are_done) {
    auto cancelled = cancelled_future(), successful = successful_future(), slow = blocked();
    const auto [done, not_done] =
        futures::wait({cancelled, successful, slow}, {.return_when = futures::FIRST_COMPLETED});
    EXPECT_EQ(done, (Set{cancelled, successful}));
    EXPECT_EQ(not_done, Set{slow});
}

TEST_F(Wait, first_exception_returns_with_the_first_that_failed) {
    sync::Event fail;
    auto first = mul(2, 21), third = blocked();
    auto second = pool.submit([&]() -> int {
        fail.wait();
        throw std::runtime_error("this is an exception");
    });
    std::thread t([&] {
        first.wait();
        wait_until_parked(2);
        fail.set();
    });
    const auto [done, not_done] = futures::wait({first, second, third}, {.return_when = futures::FIRST_EXCEPTION});
    EXPECT_EQ(done, (Set{first, second}));
    EXPECT_EQ(not_done, Set{third});
    second.exception();
    t.join();
}

TEST_F(Wait, first_exception_does_not_count_a_cancellation_and_knows_those_that_failed_before) {
    auto successful = successful_future(), cancelled = cancelled_future(), slow = blocked(), fails = failing();
    const auto [done, not_done] =
        futures::wait({successful, cancelled, fails, slow}, {.return_when = futures::FIRST_EXCEPTION});
    EXPECT_EQ(done, (Set{successful, cancelled, fails}));
    EXPECT_EQ(not_done, Set{slow});
    fails.exception();

    auto failed = failed_future();
    EXPECT_EQ(futures::wait({failed, slow}, {.return_when = futures::FIRST_EXCEPTION}).done, Set{failed});

    const auto none = futures::wait({cancelled, slow}, {.timeout = 1ms, .return_when = futures::FIRST_EXCEPTION});
    EXPECT_EQ(none.not_done, Set{slow});
}

TEST_F(Wait, first_exception_without_any_waits_for_all) {
    auto a = mul(1, 2), b = mul(3, 4);
    EXPECT_EQ(futures::wait({a, b}, {.return_when = futures::FIRST_EXCEPTION}).done, (Set{a, b}));
}

TEST_F(Wait, all_completed_waits_for_all_however_they_end) {
    Set all{successful_future(), cancelled_future(), failed_future(), failing(), mul(2, 21)};
    const auto [done, not_done] = futures::wait(all);
    EXPECT_EQ(done, all);
    EXPECT_TRUE(not_done.empty());
    all[3].exception();
}

TEST_F(Wait, the_time_out_neither_throws_nor_cancels) {
    auto failed = failed_future(), successful = successful_future(), slow = blocked();
    for (auto when : {futures::ALL_COMPLETED, futures::FIRST_EXCEPTION}) {
        const auto both = futures::wait({successful, slow}, {.timeout = 2ms, .return_when = when});
        EXPECT_EQ(both.done, Set{successful});
        EXPECT_EQ(both.not_done, Set{slow});
    }
    EXPECT_EQ(futures::wait({slow}, {.timeout = -1s}).not_done, Set{slow});
    EXPECT_EQ(futures::wait({slow}, {.timeout = 1ms, .return_when = futures::FIRST_COMPLETED}).not_done, Set{slow});
    go.set();
    EXPECT_EQ(slow.result(), 0);
}

TEST_F(Wait, for_a_hundred_that_end_at_once) {
    for (auto when : {futures::ALL_COMPLETED, futures::FIRST_EXCEPTION}) {
        sync::Event start;
        Set all;
        for (int i = 0; i < 100; ++i)
            all.push_back(pool.submit([&, i] {
                start.wait();
                return i;
            }));
        start.set();
        EXPECT_EQ(futures::wait(all, {.return_when = when}).done.size(), 100U);
    }
}

TEST_F(Wait, has_a_twin_for_coroutines) {
    auto slow = blocked(), quick = mul(2, 3);
    const Set both{slow, quick}, one{slow};
    std::size_t first = 0, all = 0, timed_out = 9;
    TestLoop loop;
    loop.spawn([&]() -> Co<void> {
        first = (co_await futures::async_wait(both, {.return_when = futures::FIRST_COMPLETED})).done.size();
        timed_out = (co_await futures::async_wait(one, {.timeout = 1ms})).done.size();
        go.set();
        all = (co_await futures::async_wait(both)).done.size();
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
    EXPECT_EQ(first, 1U);
    EXPECT_EQ(timed_out, 0U);
    EXPECT_EQ(all, 2U);
}

TEST_F(Wait, a_cancelled_waiter_leaves_the_futures_alone) {
    auto slow = blocked();
    const Set one{slow};
    TestLoop loop;
    auto& task = loop.spawn([&]() -> Co<void> { co_await futures::async_wait(one); });
    loop.start();
    wait_until_parked(task);
    task.cancel();
    task.done().wait();
    EXPECT_TRUE(task.was_cancelled());
    loop.join();
    EXPECT_FALSE(slow.cancelled());
    go.set();
    EXPECT_EQ(slow.result(), 0);
}

// ---- test_as_completed.py

using AsCompleted = Pool;

TEST_F(AsCompleted, gives_each_as_it_is_done_those_that_are_done_first) {
    auto slow = blocked();
    Set all{cancelled_future(), failed_future(), slow, successful_future()};
    Set order;
    for (Future<int> f : as_completed(all)) {
        order.push_back(f);
        if (order.size() == 3) go.set();
    }
    EXPECT_EQ(order, (Set{all[0], all[1], all[3], slow}));
}

TEST_F(AsCompleted, gives_them_in_the_order_in_which_they_end) {
    Future<int> a, b, c;
    c.set_result(3);
    auto all = as_completed({a, b, c});
    EXPECT_EQ(all.next(), c);
    b.set_result(2);
    a.set_result(1);
    EXPECT_EQ(all.next(), b);
    EXPECT_EQ(all.next(), a);
    EXPECT_EQ(all.next(), std::nullopt);
}

TEST_F(AsCompleted, throws_at_the_deadline_after_those_that_are_done) {
    auto slow = blocked();
    for (auto deadline : {0ms, 5ms}) {
        const Set done{cancelled_future(), failed_future(), successful_future()};
        Set all = done, seen;
        all.push_back(slow);
        EXPECT_THROW(
            {
                for (auto f : as_completed(all, deadline)) seen.push_back(f);
            },
            TimeoutError);
        EXPECT_EQ(seen, done);
    }
}

TEST_F(AsCompleted, says_how_many_are_unfinished) {
    try {
        for (auto f : as_completed({cancelled_future(), pending_future(), running_future(), successful_future()}, 0s)) {
        }
        ADD_FAILURE();
    } catch (const TimeoutError& e) {
        EXPECT_STREQ(e.what(), "2 (of 4) futures unfinished");
    }
}

TEST_F(AsCompleted, gives_doubles_once_from_any_range) {
    auto f = mul(1, 2);
    int n = 0;
    for (auto g : as_completed(std::views::iota(0, 3) | std::views::transform([&](int) { return f; }))) {
        EXPECT_EQ(g, f);
        ++n;
    }
    EXPECT_EQ(n, 1);
}

TEST_F(AsCompleted, keeps_nothing_that_it_has_given) {
    auto held = std::make_shared<int>(1);
    std::vector<Future<std::shared_ptr<int>>> all(3);
    for (auto& f : all) f.set_result(held);
    auto given = as_completed(std::move(all));
    all.clear();
    for (long left = 3; auto f : given) {
        EXPECT_EQ(held.use_count(), left + 1);
        f = {};
        --left;
        EXPECT_EQ(held.use_count(), left + 1);
    }
}

TEST_F(AsCompleted, may_be_left_at_any_time) {
    Future<int> later;
    for (auto f : as_completed({later, successful_future()})) break;
    later.set_result(1); // nobody is told any more
    EXPECT_EQ(later.result(), 1);
}

TEST_F(AsCompleted, has_a_twin_for_coroutines) {
    auto slow = blocked();
    auto all = as_completed({slow, successful_future()});
    auto late = as_completed({pending_future()}, 1ms);
    int n = 0;
    bool timed_out = false;
    TestLoop loop;
    loop.spawn([&]() -> Co<void> {
        while (auto f = co_await all.async_next()) {
            ++n;
            go.set();
        }
        try {
            co_await late.async_next();
        } catch (const TimeoutError&) {
            timed_out = true;
        }
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
    EXPECT_EQ(n, 2);
    EXPECT_TRUE(timed_out);
}

} // namespace
} // namespace sennit
