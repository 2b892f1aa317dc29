// The async_ twins of what waits in futures/ and in ThreadPool: a coroutine gets the same, and its loop goes on meanwhile.
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>

#include "support/test_loop.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using futures::Future;
using futures::ThreadPoolExecutor;
using multiprocessing::pool::ThreadPool;
using testing::Co;
using testing::TestLoop;

// Runs the coroutine beside another one, which lets it go on once it is suspended.
template <class F>
void run_beside(sync::Event& go, F f) {
    TestLoop loop;
    loop.spawn(std::move(f));
    loop.spawn([&]() -> Co<void> {
        go.set();
        co_return;
    });
    loop.run();
    if (loop.first_error()) std::rethrow_exception(loop.first_error());
}

TEST(AsyncTwins, map_gives_its_results_one_by_one) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    std::vector<int> got;
    run_beside(go, [&]() -> Co<void> {
        auto results = pool.map(
            [&](int n) {
                go.wait();
                return n * n;
            },
            std::views::iota(0, 50), {.chunksize = 3, .buffersize = 9});
        while (auto r = co_await results.async_next()) got.push_back(*r);
    });
    ASSERT_EQ(got.size(), 50U);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i * i);
}

TEST(AsyncTwins, map_throws_in_its_place_and_is_over) {
    ThreadPoolExecutor pool(1);
    sync::Event go;
    std::string what;
    bool over = false;
    int before = 0;
    run_beside(go, [&]() -> Co<void> {
        auto results = pool.map(
            [&](int n) {
                go.wait();
                if (n == 2) throw std::runtime_error("two");
                return n;
            },
            std::views::iota(0, 5));
        try {
            while (auto r = co_await results.async_next()) ++before;
        } catch (const std::runtime_error& error) {
            what = error.what();
        }
        over = !co_await results.async_next();
    });
    EXPECT_EQ(before, 2);
    EXPECT_EQ(what, "two");
    EXPECT_TRUE(over);
}

TEST(AsyncTwins, map_ends_at_its_deadline) {
    ThreadPoolExecutor pool(1);
    sync::Event never;
    sync::Event go;
    bool timed_out = false;
    run_beside(go, [&]() -> Co<void> {
        auto results = pool.map([&](int) { never.wait(); }, std::views::iota(0, 2), {.timeout = 1ms});
        try {
            co_await results.async_next();
        } catch (const TimeoutError&) {
            timed_out = true;
        }
    });
    never.set();
    EXPECT_TRUE(timed_out);
}

TEST(AsyncTwins, map_goes_on_in_a_loop_after_single_steps) {
    ThreadPoolExecutor pool(1);
    auto results = pool.map([](int n) { return n; }, std::views::iota(0, 4));
    EXPECT_EQ(results.next(), 0);
    int sum = 0;
    for (int n : results) sum += n;
    EXPECT_EQ(sum, 1 + 2 + 3);
    EXPECT_EQ(results.next(), std::nullopt);
}

TEST(AsyncTwins, imap_gives_its_results_in_order_or_as_they_come) {
    ThreadPool pool(2);
    for (const bool ordered : {true, false}) {
        sync::Event go;
        std::vector<int> got;
        int errors = 0;
        run_beside(go, [&]() -> Co<void> {
            const auto f = [&](int n) {
                go.wait();
                if (n == 7) throw std::runtime_error("seven");
                return n;
            };
            auto results =
                ordered ? pool.imap(f, std::views::iota(0, 200)) : pool.imap_unordered(f, std::views::iota(0, 200));
            for (;;) {
                try {
                    auto r = co_await results.async_next();
                    if (!r) break;
                    got.push_back(*r);
                } catch (const std::runtime_error&) {
                    ++errors;
                }
            }
        });
        EXPECT_EQ(errors, 1);
        ASSERT_EQ(got.size(), 199U);
        EXPECT_TRUE(!ordered || std::ranges::is_sorted(got));
        EXPECT_EQ(std::accumulate(got.begin(), got.end(), 0), 199 * 200 / 2 - 7);
    }
}

TEST(AsyncTwins, imap_may_be_asked_again_after_its_deadline) {
    ThreadPool pool(1);
    for (const bool ordered : {true, false}) {
        sync::Event late;
        sync::Event go;
        int timed_out = 0, got = 0;
        run_beside(go, [&]() -> Co<void> {
            const auto f = [&](int n) {
                late.wait();
                return n;
            };
            auto results =
                ordered ? pool.imap(f, std::views::iota(5, 6)) : pool.imap_unordered(f, std::views::iota(5, 6));
            try {
                co_await results.async_next(1ms);
            } catch (const TimeoutError&) {
                ++timed_out;
            }
            late.set();
            const auto r = co_await results.async_next();
            got = r.value_or(0);
        });
        EXPECT_EQ(timed_out, 1);
        EXPECT_EQ(got, 5);
    }
}

TEST(AsyncTwins, shutdown_and_join_wait_for_what_runs) {
    ThreadPoolExecutor executor(2);
    ThreadPool pool(1);
    sync::Event go;
    bool ran = false, applied = false, refused = false;
    run_beside(go, [&]() -> Co<void> {
        try {
            co_await pool.async_join();
        } catch (const UsageError&) {
            refused = true;
        }
        executor.submit([&] {
            go.wait();
            ran = true;
        });
        co_await executor.async_shutdown();
        EXPECT_TRUE(ran);
        pool.apply_async([&] { applied = true; });
        pool.close();
        co_await pool.async_join();
        EXPECT_TRUE(applied);
    });
    EXPECT_TRUE(ran && applied);
    EXPECT_TRUE(refused);
    EXPECT_EQ(executor.statistics().threads, 0U);
    EXPECT_THROW(executor.submit([] {}), UsageError);
}

TEST(AsyncTwins, shutdown_may_cancel_and_need_not_wait) {
    ThreadPoolExecutor executor(1);
    sync::Event go;
    sync::Event later;
    Future<void> running, pending;
    run_beside(go, [&]() -> Co<void> {
        sync::Event begun;
        running = executor.submit([&] {
            begun.set();
            later.wait();
        });
        co_await begun.async_wait();
        pending = executor.submit([] {});
        futures::ThreadPoolExecutor::ShutdownOptions options;
        options.wait = false;
        options.cancel_futures = true;
        co_await executor.async_shutdown(options);
    });
    EXPECT_TRUE(pending.cancelled());
    EXPECT_FALSE(running.done());
    later.set();
}

TEST(AsyncTwins, a_future_and_a_result_tell_that_they_are_done_and_how) {
    ThreadPoolExecutor executor(1);
    ThreadPool pool(1);
    sync::Event go;
    run_beside(go, [&]() -> Co<void> {
        auto bad = executor.submit([&] {
            go.wait();
            throw std::runtime_error("bad");
        });
        EXPECT_FALSE(co_await bad.async_wait(Deadline::poll()));
        EXPECT_TRUE(co_await bad.async_wait());
        const std::exception_ptr error = co_await bad.async_exception();
        EXPECT_THROW(std::rethrow_exception(error), std::runtime_error);
        auto result = pool.apply_async([] { return 3; });
        EXPECT_TRUE(co_await result.async_wait());
        EXPECT_EQ(co_await result.async_get(), 3);
    });
}

} // namespace
} // namespace sennit
