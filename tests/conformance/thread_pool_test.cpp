// What Python's tests of multiprocessing.pool know of pools on threads. The table of cases is docs/conformance/thread_pool.md.
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/sync.hpp>

#include "support/test_loop.hpp"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <ranges>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using multiprocessing::AsyncResult;
using multiprocessing::pool::ThreadPool;
using std::views::iota;
using testing::Co;
using testing::TestLoop;

int sqr(int x) { return x * x; }

std::vector<int> squares(int n) {
    std::vector<int> all;
    for (int i = 0; i < n; ++i) all.push_back(i * i);
    return all;
}

template <class Range>
auto list(Range&& range) {
    std::vector<std::remove_cvref_t<decltype(*range.begin())>> all;
    for (auto&& x : range) all.push_back(std::forward<decltype(x)>(x));
    return all;
}

struct PoolOfThreads : ::testing::Test {
    sync::Event go;
    ThreadPool pool{4};
    ~PoolOfThreads() override { go.set(); }
};

TEST_F(PoolOfThreads, apply_gives_the_result) {
    EXPECT_EQ(pool.apply(sqr, 5), 25);
    EXPECT_EQ(pool.apply([](const std::string& a, int b) { return a + std::to_string(b); }, "x", 3), "x3");
    EXPECT_THROW(pool.apply([] { throw std::out_of_range("far"); }), std::out_of_range);
}

TEST_F(PoolOfThreads, map_gives_the_results_in_order_for_any_chunksize) {
    for (std::size_t chunksize : {0U, 1U, 3U, 20U, 1000U})
        EXPECT_EQ(pool.map(sqr, iota(0, 100), chunksize), squares(100));
    std::vector<std::unique_ptr<int>> owned;
    owned.push_back(std::make_unique<int>(7));
    EXPECT_EQ(*pool.map([](std::unique_ptr<int> p) { return p; }, std::move(owned)).at(0), 7);
    std::atomic<int> n{0};
    EXPECT_EQ(pool.map([&](int i) { n += i; }, std::vector{1, 2, 3}).size(), 3U);
    EXPECT_EQ(n, 6);
}

TEST_F(PoolOfThreads, map_of_nothing_gives_nothing_and_still_calls_back) {
    EXPECT_TRUE(pool.map(sqr, std::vector<int>()).empty());
    EXPECT_TRUE(list(pool.imap(sqr, std::vector<int>())).empty());
    EXPECT_TRUE(list(pool.imap_unordered(sqr, std::vector<int>())).empty());
    bool called = false;
    auto r = pool.map_async(sqr, std::vector<int>(), 0,
                            {.callback = [&](const std::vector<int>& v) { called = v.empty(); }});
    EXPECT_TRUE(r.get().empty());
    EXPECT_TRUE(called);
}

TEST_F(PoolOfThreads, starmap_calls_with_the_elements_of_tuples) {
    const auto mul = [](int a, int b) { return a * b; };
    const std::vector<std::tuple<int, int>> tuples{{0, 3}, {1, 2}, {2, 1}};
    EXPECT_EQ(pool.starmap(mul, tuples), (std::vector{0, 2, 2}));
    EXPECT_EQ(pool.starmap(mul, tuples, 20), (std::vector{0, 2, 2}));
    EXPECT_EQ(pool.starmap(mul, std::vector<std::pair<int, int>>{{5, 6}}), std::vector{30});
    EXPECT_EQ(pool.starmap_async(mul, tuples).get(), (std::vector{0, 2, 2}));
}

TEST_F(PoolOfThreads, map_async_calls_back_with_all_results_or_the_error) {
    std::vector<int> given;
    auto r = pool.map_async(sqr, iota(0, 10), 1, {.callback = [&](const std::vector<int>& v) { given = v; }});
    EXPECT_EQ(r.get(), squares(10));
    EXPECT_EQ(given, squares(10)); // before the result is ready
    EXPECT_TRUE(r.ready());
    EXPECT_TRUE(r.successful());

    std::string said;
    auto failing = pool.map_async(
        [](int i) {
            if (i == 3) throw std::runtime_error("three");
            return i;
        },
        iota(0, 10), 1,
        {.callback = [&](const std::vector<int>&) { said = "no"; },
         .error_callback =
             [&](const std::exception_ptr& e) {
                 try {
                     std::rethrow_exception(e);
                 } catch (const std::runtime_error& error) {
                     said += error.what();
                 }
             }});
    EXPECT_THROW(failing.get(), std::runtime_error);
    EXPECT_EQ(said, "three");
    EXPECT_FALSE(failing.successful());
}

TEST_F(PoolOfThreads, map_runs_all_before_it_throws_the_first_error) {
    std::atomic<int> ran{0};
    for (std::size_t chunksize : {1U, 3U}) {
        ran = 0;
        const auto fails = [&](int i) {
            ++ran;
            if (i == 2 || i == 7) throw std::runtime_error(std::to_string(i));
        };
        EXPECT_THROW(pool.map(fails, iota(0, 10), chunksize), std::runtime_error);
        ran = 0;
        auto result = pool.map_async(fails, iota(0, 10), chunksize);
        try {
            result.get();
            ADD_FAILURE();
        } catch (const std::runtime_error& e) {
            EXPECT_STREQ(e.what(), "2");
        }
        EXPECT_EQ(ran, 10);
    }
}

TEST_F(PoolOfThreads, an_input_range_that_throws_is_reported_and_the_pool_usable) {
    auto bad = iota(0, 10) | std::views::transform([](int i) {
                   if (i == 3) throw std::domain_error("no more");
                   return i;
               });
    EXPECT_THROW(pool.map(sqr, bad), std::domain_error);
    EXPECT_THROW(pool.map_async(sqr, bad), std::domain_error);
    for (std::size_t chunksize : {1U, 2U, 7U}) {
        auto results = pool.imap(sqr, bad, chunksize);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(results.next(), i * i);
        EXPECT_THROW(results.next(), std::domain_error);
        EXPECT_EQ(results.next(), std::nullopt);
        auto unordered = pool.imap_unordered(sqr, bad, chunksize);
        int n = 0;
        EXPECT_THROW(
            {
                for (int i : unordered) n += i;
            },
            std::domain_error);
        EXPECT_EQ(n, 0 + 1 + 4);
    }
    EXPECT_EQ(pool.apply(sqr, 3), 9);
}

TEST_F(PoolOfThreads, apply_async_gives_a_result_that_may_be_waited_for) {
    auto quick = pool.apply_async(sqr, std::tuple(7));
    EXPECT_EQ(quick.get(), 49);
    auto slow = pool.apply_async([this] { go.wait(); });
    EXPECT_THROW(slow.get(1ms), TimeoutError);
    EXPECT_FALSE(slow.wait(1ms));
    EXPECT_FALSE(slow.ready());
    EXPECT_THROW(static_cast<void>(slow.successful()), UsageError);
    go.set();
    slow.get();
    EXPECT_TRUE(slow.successful());
    auto failing = pool.apply_async([]() -> int { throw std::out_of_range("far"); });
    EXPECT_TRUE(failing.wait());
    EXPECT_FALSE(failing.successful());
    EXPECT_THROW(failing.get(), std::out_of_range);
}

TEST_F(PoolOfThreads, apply_async_calls_back_one_at_a_time_before_the_result_is_ready) {
    std::vector<int> results; // unguarded: callbacks exclude each other
    std::vector<AsyncResult<int>> all;
    for (int i = 0; i < 50; ++i)
        all.push_back(pool.apply_async(sqr, std::tuple(i), {.callback = [&](int r) { results.push_back(r); }}));
    for (auto& r : all) r.wait();
    std::ranges::sort(results);
    EXPECT_EQ(results, squares(50));
    int called = 0;
    auto nothing = pool.apply_async([] {}, std::tuple(), {.callback = [&] { ++called; }});
    nothing.get();
    auto failing = pool.apply_async([]() -> int { throw std::out_of_range("far"); }, std::tuple(),
                                    {.error_callback = [&](const std::exception_ptr&) { ++called; }});
    EXPECT_THROW(failing.get(), std::out_of_range);
    EXPECT_EQ(called, 2);
}

TEST_F(PoolOfThreads, a_callback_that_throws_is_reported_and_the_result_is_there) {
    static std::atomic<int> reported;
    reported = 0;
    sync::set_unseen_error_hook([](std::exception_ptr, const char*) noexcept { ++reported; });
    auto r = pool.apply_async(sqr, std::tuple(3), {.callback = [](int) { throw std::runtime_error("oh"); }});
    EXPECT_EQ(r.get(), 9);
    EXPECT_EQ(reported, 1);
    sync::set_unseen_error_hook(nullptr);
}

TEST_F(PoolOfThreads, imap_keeps_the_order_for_any_chunksize) {
    for (std::size_t chunksize : {1U, 3U, 100U, 5000U})
        EXPECT_EQ(list(pool.imap(sqr, iota(0, 1000), chunksize)), squares(1000));
    auto results = pool.imap(sqr, iota(0, 3));
    EXPECT_EQ(results.next(), 0);
    EXPECT_EQ(results.next(), 1);
    EXPECT_EQ(results.next(), 4);
    EXPECT_EQ(results.next(), std::nullopt);
    EXPECT_EQ(results.next(), std::nullopt);
    EXPECT_THROW(static_cast<void>(pool.imap(sqr, iota(0, 3), 0)), UsageError);
    EXPECT_THROW(static_cast<void>(pool.imap_unordered(sqr, iota(0, 3), 0)), UsageError);
}

TEST_F(PoolOfThreads, imap_unordered_yields_each_once_as_it_is_done) {
    for (std::size_t chunksize : {1U, 3U, 100U}) {
        auto all = list(pool.imap_unordered(sqr, iota(0, 1000), chunksize));
        std::ranges::sort(all);
        EXPECT_EQ(all, squares(1000));
    }
    auto results = pool.imap_unordered(
        [this](int i) {
            if (i == 0) go.wait();
            return i;
        },
        iota(0, 2));
    EXPECT_EQ(results.next(), 1);
    EXPECT_THROW(results.next(1ms), TimeoutError);
    go.set();
    EXPECT_EQ(results.next(), 0);
    EXPECT_EQ(results.next(), std::nullopt);
}

TEST_F(PoolOfThreads, imap_times_out_and_goes_on) {
    auto results = pool.imap(
        [this](int i) {
            if (i == 1) go.wait();
            return i;
        },
        iota(0, 3));
    EXPECT_EQ(results.next(60s), 0);
    EXPECT_THROW(results.next(1ms), TimeoutError);
    EXPECT_THROW(results.next(0s), TimeoutError);
    go.set();
    EXPECT_EQ(results.next(), 1);
    EXPECT_EQ(results.next(), 2);
}

TEST_F(PoolOfThreads, imap_throws_an_elements_error_in_its_place_and_all_others_follow) {
    const auto odd_fails = [](int i) {
        if (i % 2) throw std::domain_error(std::to_string(i));
        return i;
    };
    for (std::size_t chunksize : {1U, 3U, 10U}) {
        auto results = pool.imap(odd_fails, iota(0, 10), chunksize);
        for (int i = 0; i < 10; i += 2) {
            EXPECT_EQ(results.next(), i);
            try {
                results.next();
                ADD_FAILURE();
            } catch (const std::domain_error& e) {
                EXPECT_EQ(e.what(), std::to_string(i + 1));
            }
        }
        EXPECT_EQ(results.next(), std::nullopt);
    }
}

TEST_F(PoolOfThreads, imap_takes_an_endless_range_only_so_far_ahead) {
    std::atomic<int> taken{0};
    auto endless = iota(0) | std::views::transform([&](int i) {
                       ++taken;
                       return i;
                   });
    auto results = pool.imap(sqr, endless);
    const int ahead = taken;
    EXPECT_LE(ahead, 64);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(results.next(), i * i);
    EXPECT_EQ(taken, 1000 + ahead);
}

TEST_F(PoolOfThreads, close_lets_the_rest_be_done_and_refuses_more) {
    auto r = pool.map_async(sqr, iota(0, 100));
    EXPECT_THROW(pool.join(), UsageError);
    pool.close();
    EXPECT_THROW(pool.apply(sqr, 1), UsageError);
    EXPECT_THROW(pool.apply_async(sqr, std::tuple(1)), UsageError);
    EXPECT_THROW(pool.map(sqr, iota(0, 3)), UsageError);
    pool.join();
    EXPECT_TRUE(r.ready());
    EXPECT_EQ(r.get(), squares(100));
    pool.close();
    pool.join();
}

TEST_F(PoolOfThreads, terminate_cancels_what_has_not_begun) {
    std::atomic<int> begun{0};
    std::vector<AsyncResult<int>> all;
    for (int i = 0; i < 100; ++i)
        all.push_back(pool.apply_async([&] {
            ++begun;
            go.wait();
            return 1;
        }));
    auto mapped = pool.map_async(sqr, iota(0, 100));
    while (begun < 4) std::this_thread::yield();
    pool.terminate();
    EXPECT_THROW(mapped.get(), CancelledError);
    EXPECT_THROW(all.back().get(), CancelledError);
    go.set();
    pool.join();
    EXPECT_EQ(begun, 4);
    EXPECT_EQ(std::ranges::count_if(all, [](auto& r) { return r.successful(); }), 4);
}

TEST(ThreadPoolScope, leaving_it_terminates) {
    std::atomic<int> ran{0};
    sync::Event begun, go;
    std::optional<AsyncResult<void>> queued;
    std::thread t;
    {
        ThreadPool pool(1);
        pool.apply_async([&] {
            begun.set();
            go.wait();
            ++ran;
        });
        queued = pool.apply_async([&] { ++ran; });
        begun.wait();
        t = std::thread([&] {
            queued->wait();
            go.set();
        });
    }
    t.join();
    EXPECT_EQ(ran, 1);
    EXPECT_THROW(queued->get(), CancelledError);
}

TEST(ThreadPoolScope, refuses_no_workers_and_runs_its_initializer) {
    EXPECT_THROW(ThreadPool(0), UsageError);
    std::atomic<int> inits{0};
    {
        ThreadPool pool(3, {.initializer = [&] { ++inits; }});
        EXPECT_EQ(pool.map(sqr, iota(0, 100), 1), squares(100));
    }
    EXPECT_GE(inits, 1);
    EXPECT_LE(inits, 3);
    ThreadPool broken(2, {.initializer = [] { throw std::runtime_error("no"); }});
    EXPECT_THROW(broken.map(sqr, iota(0, 100)), BrokenExecutor);
    EXPECT_THROW(broken.apply(sqr, 1), BrokenExecutor);
}

TEST(ThreadPoolScope, keeps_no_reference_to_what_was_done) {
    ThreadPool pool(1);
    auto object = std::make_shared<int>(1);
    {
        std::vector<std::shared_ptr<int>> objects(10, object);
        pool.map([](const std::shared_ptr<int>&) {}, objects);
        for (auto&& x : pool.imap([](std::shared_ptr<int> p) { return *p; }, objects)) static_cast<void>(x);
    }
    pool.apply([] {}); // the worker has let go of what it did before
    EXPECT_EQ(object.use_count(), 1);
}

TEST(ThreadPoolScope, its_maps_work_within_its_own_tasks) {
    ThreadPool pool(1);
    const int sum = pool.apply([&] {
        int n = 0;
        for (int i : pool.map(sqr, iota(0, 10))) n += i;
        for (int i : pool.imap(sqr, iota(0, 10))) n += i;
        for (int i : pool.imap_unordered(sqr, iota(0, 10))) n += i;
        return n;
    });
    EXPECT_EQ(sum, 3 * 285);
}

TEST(ThreadPoolScope, results_are_awaited_by_coroutines) {
    ThreadPool pool(2);
    TestLoop loop;
    int sum = 0;
    loop.spawn([&]() -> Co<void> {
        sum += co_await pool.apply_async(sqr, std::tuple(3));
        auto all = co_await pool.map_async(sqr, iota(0, 10));
        for (int i : all) sum += i;
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
    EXPECT_EQ(sum, 9 + 285);
}

} // namespace
} // namespace sennit
