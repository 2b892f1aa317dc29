// CPython's test_concurrent_futures for processes, and the executor's corner cases (C9).
#include <sennit/futures/process_pool_executor.hpp>

#include <sennit/multiprocessing/event.hpp>
#include <sennit/multiprocessing/sharedctypes.hpp>

#include "support/seed.hpp"
#include "support/snapshot.hpp"
#include "support/tier.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <gtest/gtest.h>
#include <memory>
#include <poll.h>
#include <random>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace sennit::futures {
namespace {

using namespace std::chrono_literals;

class ProcessExecutor : public testing::SnapshotTest {
  protected:
    // The process that children are copied from stays.
    static void SetUpTestSuite() {
        ProcessPoolExecutor(1).submit([] {}).result();
    }
};

int add(int a, int b) { return a + b; }
int own_pid() { return ::getpid(); }

TEST_F(ProcessExecutor, submit_gives_a_future_of_a_call_elsewhere) {
    ProcessPoolExecutor pool(2);
    auto answer = pool.submit(add, 2, 3);
    EXPECT_EQ(answer.result(), 5);
    EXPECT_TRUE(answer.done());
    EXPECT_NE(pool.submit(own_pid).result(), ::getpid());
    EXPECT_EQ(pool.submit([](const std::string& s) { return s.size(); }, "four").result(), 4U);
}

TEST_F(ProcessExecutor, none_is_too_few_and_after_shutdown_it_takes_no_more) {
    EXPECT_THROW(ProcessPoolExecutor(0), UsageError);
    ProcessPoolExecutor pool(1);
    auto one = pool.submit(add, 1, 1);
    pool.shutdown();
    EXPECT_TRUE(one.done());
    EXPECT_THROW(pool.submit(add, 1, 1), UsageError);
    pool.shutdown();
}

TEST_F(ProcessExecutor, shutdown_without_waiting_does_what_was_submitted) {
    sync::Future<int> last;
    {
        ProcessPoolExecutor pool(2);
        for (int i = 0; i < 20; ++i) last = pool.submit(add, i, i);
        pool.shutdown({.wait = false});
    }
    EXPECT_EQ(last.result(Deadline::poll()), 38);
}

TEST_F(ProcessExecutor, shutdown_can_cancel_what_no_worker_has_got) {
    ProcessPoolExecutor pool(1);
    auto first = pool.submit([] { ::poll(nullptr, 0, 50); });
    std::vector<sync::Future<int>> rest;
    for (int i = 0; i < 20; ++i) rest.push_back(pool.submit(add, i, i));
    pool.shutdown({.wait = true, .cancel_futures = true});
    EXPECT_FALSE(first.cancelled() && !first.done());
    EXPECT_TRUE(rest.back().cancelled());
    for (auto& f : rest) EXPECT_TRUE(f.done());
}

TEST_F(ProcessExecutor, a_future_that_waits_can_be_cancelled) {
    ProcessPoolExecutor pool(1);
    pool.submit(add, 0, 0).result();
    auto slow = pool.submit([] { ::poll(nullptr, 0, 100); });
    std::vector<sync::Future<int>> many;
    for (int i = 0; i < 2000; ++i) many.push_back(pool.submit(add, i, i));
    EXPECT_TRUE(many.back().cancel());
    EXPECT_TRUE(many.back().cancel());
    EXPECT_THROW(many.back().result(), CancelledError);
    slow.result();
    EXPECT_FALSE(slow.cancel());
    EXPECT_EQ(many[5].result(), 10);
}

TEST_F(ProcessExecutor, a_job_that_runs_is_ended_by_cancel_and_no_other_job_with_it) {
    ProcessPoolExecutor pool(1);
    multiprocessing::Event runs;
    auto endless = pool.submit(
        [](multiprocessing::Event e) {
            e.set();
            for (;;) ::pause();
        },
        runs);
    std::vector<sync::Future<int>> behind;
    for (int i = 0; i < 50; ++i) behind.push_back(pool.submit(add, i, i));
    runs.wait();
    EXPECT_TRUE(endless.running());
    bool told = false;
    endless.add_done_callback([&](const sync::Future<void>& f) { told = f.cancelled(); });
    EXPECT_TRUE(endless.cancel());
    EXPECT_TRUE(told);
    EXPECT_TRUE(endless.cancelled());
    EXPECT_TRUE(endless.cancel());
    EXPECT_THROW(endless.result(), CancelledError);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(behind[static_cast<std::size_t>(i)].result(), 2 * i);
}

TEST_F(ProcessExecutor, leaving_map_lets_what_runs_come_to_its_end) {
    ProcessPoolExecutor pool(2);
    multiprocessing::Event begun, go, done;
    {
        using Step = std::tuple<int, multiprocessing::Event, multiprocessing::Event, multiprocessing::Event>;
        const std::vector<Step> steps{{0, begun, go, done}, {1, begun, go, done}};
        auto results = pool.map(
            [](Step step) {
                auto& [i, b, g, d] = step;
                if (i == 0) return i;
                b.set();
                g.wait();
                d.set();
                return i;
            },
            steps);
        EXPECT_EQ(results.next(), 0);
        begun.wait();
    }
    go.set();
    EXPECT_TRUE(done.wait(10s));
}

// Jobs so short that many are handed out ahead: what is cancelled waits, runs, or has just run.
TEST_F(ProcessExecutor, cancelling_at_random_loses_and_repeats_no_other_job) {
    const auto jobs = static_cast<std::size_t>(testing::by_tier(300, 3'000, 30'000));
    const std::uint64_t seed = testing::seed();
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    multiprocessing::RawArray<int> runs(jobs);
    ProcessPoolExecutor pool(2);
    std::vector<sync::Future<std::size_t>> futures;
    for (std::size_t i = 0; i < jobs; ++i) {
        futures.push_back(pool.submit(
            [](multiprocessing::RawArray<int> all, std::size_t k, int ms) {
                ++all[k]; // nobody else's
                if (ms > 0) ::poll(nullptr, 0, ms);
                return k;
            },
            runs, i, random() % 16 == 0 ? 2 : 0));
        if (random() % 4 == 0) futures[i - random() % std::min<std::size_t>(i + 1, 20)].cancel();
    }
    std::size_t cancelled = 0;
    for (std::size_t i = 0; i < jobs; ++i) {
        try {
            EXPECT_EQ(futures[i].result(), i);
            EXPECT_EQ(runs[i], 1);
        } catch (const CancelledError&) {
            EXPECT_TRUE(futures[i].cancelled());
            EXPECT_LE(runs[i], 1);
            ++cancelled;
        }
    }
    EXPECT_GT(cancelled, 0U);
    EXPECT_LT(cancelled, jobs);
}

TEST_F(ProcessExecutor, map_stops_at_the_shortest_range_and_keeps_the_order) {
    ProcessPoolExecutor pool(2);
    std::vector<int> sums;
    for (int x : pool.map(add, std::vector{1, 2, 3}, std::views::iota(10))) sums.push_back(x);
    EXPECT_EQ(sums, (std::vector{11, 13, 15}));
    int n = 0;
    for (int x : pool.map([](int i) { return 2 * i; }, std::views::iota(0, 100), {.chunksize = 7}))
        EXPECT_EQ(x, 2 * n++);
    EXPECT_EQ(n, 100);
    n = 0;
    for (int x : pool.map([](int i) { return i; }, std::views::iota(0), {.buffersize = 8})) {
        EXPECT_EQ(x, n);
        if (++n == 50) break;
    }
    EXPECT_THROW(static_cast<void>(pool.map(add, std::vector{1}, std::vector{1}, {.chunksize = 0})), UsageError);
}

TEST_F(ProcessExecutor, map_ends_with_the_exception_and_at_the_deadline) {
    ProcessPoolExecutor pool(2);
    auto results = pool.map(
        [](int i) {
            if (i == 2) throw std::out_of_range("two");
            return i;
        },
        std::views::iota(0, 5));
    EXPECT_EQ(results.next(), 0);
    EXPECT_EQ(results.next(), 1);
    EXPECT_THROW(results.next(), std::out_of_range);
    EXPECT_EQ(results.next(), std::nullopt);
    auto late = pool.map([](int ms) { return ::poll(nullptr, 0, ms); }, std::vector{0, 600}, {.timeout = 200ms});
    EXPECT_EQ(late.next(), 0);
    EXPECT_THROW(late.next(), TimeoutError);
}

TEST_F(ProcessExecutor, one_crash_fails_one_job_and_not_the_pool) {
    ProcessPoolExecutor pool(2);
    auto bad = pool.submit([] { ::raise(SIGKILL); });
    std::vector<sync::Future<int>> good;
    for (int i = 0; i < 20; ++i) good.push_back(pool.submit(add, i, 1));
    EXPECT_THROW(bad.result(), multiprocessing::WorkerDied);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(good[static_cast<std::size_t>(i)].result(), i + 1);
}

TEST_F(ProcessExecutor, idle_workers_are_used_before_new_ones_start) {
    ProcessPoolExecutor pool(4);
    std::set<int> pids;
    for (int i = 0; i < 10; ++i) pids.insert(pool.submit(own_pid).result());
    EXPECT_EQ(pids.size(), 1U);
    EXPECT_EQ(pool.statistics().started, 1U);
}

TEST_F(ProcessExecutor, max_tasks_per_child_keeps_the_pool_going) {
    ProcessPoolExecutor pool(1, {.max_tasks_per_child = 3});
    std::vector<int> pids;
    for (int i = 0; i < 9; ++i) pids.push_back(pool.submit(own_pid).result());
    EXPECT_EQ(pids[0], pids[2]);
    EXPECT_NE(pids[2], pids[3]);
    EXPECT_EQ(std::set<int>(pids.begin(), pids.end()).size(), 3U);
}

TEST_F(ProcessExecutor, an_initializer_that_throws_breaks_it_with_the_cause) {
    ProcessPoolExecutor pool(
        1, {.initializer = {[](const std::string& why) { throw std::runtime_error(why); }, "no luck"}});
    auto one = pool.submit(add, 1, 1);
    try {
        one.result();
        FAIL();
    } catch (const BrokenExecutor& e) {
        EXPECT_NE(std::string(e.what()).find("no luck"), std::string::npos) << e.what();
    }
}

TEST_F(ProcessExecutor, callbacks_and_coroutines_get_their_results_from_its_futures) {
    ProcessPoolExecutor pool(2);
    std::atomic<int> sum{0};
    std::vector<sync::Future<int>> all;
    for (int i = 0; i < 5; ++i) {
        all.push_back(pool.submit(add, i, i));
        all.back().add_done_callback([&](sync::Future<int> f) { sum += f.result(); });
    }
    pool.shutdown();
    EXPECT_EQ(sum, 20);
}

TEST_F(ProcessExecutor, a_task_may_have_an_executor_of_its_own) {
    ProcessPoolExecutor pool(1);
    EXPECT_EQ(pool.submit(
                      [](int n) {
                          ProcessPoolExecutor inner(1);
                          return inner.submit(add, n, 1).result();
                      },
                      4)
                  .result(),
              5);
}

TEST_F(ProcessExecutor, kill_workers_ends_what_runs) {
    ProcessPoolExecutor pool(2);
    auto endless = pool.submit([] { ::pause(); });
    pool.kill_workers();
    EXPECT_THROW(endless.result(), CancelledError);
}

} // namespace
} // namespace sennit::futures
