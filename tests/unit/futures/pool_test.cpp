#include <sennit/futures/pool.hpp>
#include <sennit/futures/process_pool_executor.hpp>
#include <sennit/futures/thread_pool.hpp>

#include "support/seed.hpp"
#include "support/snapshot.hpp"
#include "support/tier.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <poll.h>
#include <ranges>
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/multiprocessing/event.hpp>
#include <sennit/wait/agent.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

class ProcessPool : public testing::SnapshotTest {
  protected:
    // The process that children are copied from stays.
    static void SetUpTestSuite() {
        Pool(1).apply([] {});
    }
};

int square(int x) { return x * x; }

TEST_F(ProcessPool, calls_a_function_in_another_process) {
    Pool pool(2);
    EXPECT_EQ(pool.apply(square, 7), 49);
    EXPECT_NE(pool.apply([] { return ::getpid(); }), ::getpid());
    EXPECT_EQ(pool.apply([](const std::string& a, int n) { return a + std::to_string(n); }, "x", 3), "x3");
    pool.apply([] {});
}

int send_to(Connection there, int n) {
    there.send(n);
    return n;
}

TEST_F(ProcessPool, arguments_that_can_not_be_copied_travel_and_stay) {
    auto [mine, theirs] = Pipe();
    Pool pool(1, {.initializer = {send_to, theirs, 0}});
    EXPECT_EQ(pool.apply(send_to, theirs, 1), 1);
    EXPECT_EQ(pool.apply_async(send_to, std::tuple(std::move(theirs), 2)).get(), 2);
    futures::ProcessPoolExecutor executor(1);
    auto [here, there] = Pipe();
    EXPECT_EQ(executor.submit(send_to, there, 3).result(), 3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(mine.recv<int>(20s), i);
    EXPECT_EQ(here.recv<int>(20s), 3);
}

TEST_F(ProcessPool, map_gives_the_results_in_order) {
    Pool pool(2);
    const auto squares = pool.map([](int x) { return x * x; }, std::views::iota(0, 1000));
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(squares[static_cast<std::size_t>(i)], i * i);
    const std::vector<std::string> words{"a", "bc", ""};
    EXPECT_EQ(pool.map([](const std::string& w) { return w + w; }, words),
              (std::vector<std::string>{"aa", "bcbc", ""}));
    EXPECT_EQ(pool.map([](const std::string& w) { return w.size(); }, words), (std::vector<std::size_t>{1, 2, 0}));
    EXPECT_TRUE(pool.map(square, std::vector<int>()).empty());
    EXPECT_EQ(pool.starmap([](int a, int b) { return a - b; }, std::vector<std::tuple<int, int>>{{3, 1}, {1, 3}}),
              (std::vector<int>{2, -2}));
}

TEST_F(ProcessPool, an_exception_comes_with_its_type_and_text) {
    Pool pool(1);
    try {
        pool.apply([] { throw std::out_of_range("no such place"); });
        FAIL();
    } catch (const std::out_of_range& e) {
        EXPECT_STREQ(e.what(), "no such place");
        const auto remote = remote_cause(e);
        ASSERT_TRUE(remote);
        EXPECT_NE(remote->pid(), ::getpid());
    }
    EXPECT_EQ(pool.apply(square, 2), 4) << "the worker goes on";
}

TEST_F(ProcessPool, a_worker_that_dies_costs_its_own_task_alone) {
    Pool pool(2);
    std::vector<AsyncResult<int>> all;
    for (int i = 0; i < 200; ++i)
        all.push_back(pool.apply_async(
            [](int n) {
                if (n == 77) ::raise(SIGKILL);
                if (n == 99) std::_Exit(3);
                return n;
            },
            std::tuple(i)));
    for (int i = 0; i < 200; ++i) {
        if (i == 77 || i == 99) {
            try {
                all[static_cast<std::size_t>(i)].get();
                FAIL();
            } catch (const WorkerDied& e) {
                EXPECT_EQ(e.exitcode(), i == 77 ? -SIGKILL : 3);
                EXPECT_EQ(e.task(), static_cast<std::uint64_t>(i));
            }
        } else {
            ASSERT_EQ(all[static_cast<std::size_t>(i)].get(), i);
        }
    }
    EXPECT_EQ(pool.statistics().died, 2U);
}

TEST_F(ProcessPool, close_and_join_wait_for_what_was_given) {
    std::vector<AsyncResult<int>> all;
    Pool pool(2);
    for (int i = 0; i < 50; ++i) all.push_back(pool.apply_async(square, std::tuple(i)));
    EXPECT_THROW(pool.join(), UsageError);
    pool.close();
    EXPECT_THROW(pool.apply_async(square, std::tuple(1)), UsageError);
    pool.join();
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(all[static_cast<std::size_t>(i)].ready());
        ASSERT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
    }
}

TEST_F(ProcessPool, leaving_the_scope_ends_what_runs) {
    std::vector<AsyncResult<void>> all;
    {
        Pool pool(2);
        for (int i = 0; i < 5; ++i) all.push_back(pool.apply_async([] { ::pause(); }));
        EXPECT_FALSE(all[0].wait(1ms));
    }
    for (auto& one : all) EXPECT_THROW(one.get(), CancelledError);
}

TEST_F(ProcessPool, imap_takes_an_endless_range_and_keeps_its_order) {
    Pool pool(2);
    int expected = 0;
    for (int x : pool.imap(square, std::views::iota(0), 3)) {
        ASSERT_EQ(x, expected * expected);
        if (++expected == 300) break;
    }
    std::multiset<int> seen;
    for (int x : pool.imap_unordered(square, std::views::iota(0, 100), 7)) seen.insert(x);
    EXPECT_EQ(seen.size(), 100U);
    EXPECT_EQ(*seen.rbegin(), 99 * 99);
    EXPECT_THROW(static_cast<void>(pool.imap(square, std::views::iota(0, 3), 0)), UsageError);
}

TEST_F(ProcessPool, an_error_of_one_element_leaves_the_others_in_imap) {
    Pool pool(2);
    auto results = pool.imap(
        [](int x) {
            if (x == 4) throw std::domain_error("four");
            return x;
        },
        std::views::iota(0, 10), 3);
    for (int i = 0; i < 10; ++i) {
        if (i == 4)
            EXPECT_THROW(results.next(), std::domain_error);
        else
            EXPECT_EQ(results.next(), i);
    }
    EXPECT_FALSE(results.next());
}

TEST_F(ProcessPool, maxtasksperchild_counts_chunks) {
    Pool pool(1, {.maxtasksperchild = 2});
    std::map<int, int> chunks;
    for (int i = 0; i < 10; ++i) ++chunks[pool.apply([] { return ::getpid(); })];
    EXPECT_EQ(chunks.size(), 5U);
    for (const auto& [pid, n] : chunks) EXPECT_EQ(n, 2) << pid;
}

int prepared = 0;

TEST_F(ProcessPool, the_initializer_runs_first_in_each_worker) {
    Pool pool(2, {.initializer = {[](int a, const std::string& b) { prepared = a + std::stoi(b); }, 40, "2"}});
    for (int i = 0; i < 20; ++i) ASSERT_EQ(pool.apply([] { return prepared; }), 42);
    EXPECT_EQ(prepared, 0);
}

TEST_F(ProcessPool, a_task_that_takes_too_long_is_ended_alone) {
    Pool pool(2, {.task_timeout = 100ms});
    auto slow = pool.apply_async([] { ::pause(); });
    auto quick = pool.apply_async(square, std::tuple(3));
    EXPECT_EQ(quick.get(), 9);
    EXPECT_THROW(slow.get(10s), TimeoutError);
    EXPECT_EQ(pool.apply(square, 4), 16);
}

TEST_F(ProcessPool, retries_begin_a_task_anew_that_its_worker_died_with) {
    Pool pool(2, {.retries = 2});
    EXPECT_THROW(pool.apply([] { ::raise(SIGKILL); }), WorkerDied);
    try {
        pool.apply([] { ::raise(SIGKILL); });
    } catch (const WorkerDied& e) {
        EXPECT_EQ(e.death().attempt, 3U);
    }
    EXPECT_EQ(pool.apply(square, 4), 16);
}

TEST_F(ProcessPool, large_arguments_and_results_come_whole) {
    Pool pool(2);
    for (const std::size_t n :
         {std::size_t{0}, std::size_t{1}, std::size_t{24}, std::size_t{25}, std::size_t{65535}, std::size_t{65536},
          std::size_t{131000}, std::size_t{131056}, std::size_t{131072}, std::size_t{524288}, std::size_t{5'000'001}}) {
        std::string text(n, 'q');
        if (n > 0) text[n / 2] = '!';
        EXPECT_EQ(pool.apply([](std::string s) { return s + "."; }, text), text + ".") << n;
    }
}

TEST_F(ProcessPool, tasks_behind_a_slow_one_are_run_elsewhere) {
    Pool pool(2);
    std::vector<AsyncResult<int>> all;
    // Quick ones first: many are handed out ahead then.
    for (int i = 0; i < 5000; ++i) all.push_back(pool.apply_async(square, std::tuple(i)));
    auto slow = pool.apply_async([] { ::pause(); });
    for (int i = 0; i < 5000; ++i) all.push_back(pool.apply_async(square, std::tuple(i)));
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_TRUE(all[i].wait(20s)) << i;
        const int x = static_cast<int>(i % 5000);
        ASSERT_EQ(all[i].get(), x * x);
    }
    EXPECT_FALSE(slow.ready());
}

// ---- who waits in apply() waits for the worker itself

TEST_F(ProcessPool, who_waits_in_apply_hears_how_its_worker_ended) {
    Pool pool(1);
    for (const int ms : {0, 1, 30}) {
        try {
            pool.apply(
                [](int n) {
                    ::poll(nullptr, 0, n);
                    ::raise(SIGKILL);
                },
                ms);
            FAIL();
        } catch (const WorkerDied& e) {
            EXPECT_EQ(e.exitcode(), -SIGKILL);
        }
        EXPECT_EQ(pool.apply(square, 3), 9);
    }
    EXPECT_THROW(pool.apply([] { throw std::out_of_range("late"); }), std::out_of_range);
}

TEST_F(ProcessPool, terminate_ends_who_waits_in_apply) {
    Pool pool(1);
    Event begun;
    std::thread waiting([&] {
        EXPECT_THROW(pool.apply(
                         [](Event e) {
                             e.set();
                             ::pause();
                         },
                         begun),
                     CancelledError);
    });
    begun.wait();
    pool.terminate();
    waiting.join();
}

TEST_F(ProcessPool, who_is_cancelled_leaves_apply_and_the_task_goes_on) {
    Pool pool(1);
    Event begun, go, done;
    std::atomic<wait::Agent*> agent{nullptr};
    std::thread waiting([&] {
        agent = &wait::current_agent();
        EXPECT_THROW(pool.apply(
                         [](Event b, Event g, Event d) {
                             b.set();
                             g.wait();
                             d.set();
                         },
                         begun, go, done),
                     CancelledError);
        EXPECT_EQ(pool.statistics().handed_out, 1U);
    });
    begun.wait();
    agent.load()->cancel();
    waiting.join();
    go.set();
    EXPECT_TRUE(done.wait());
    EXPECT_EQ(pool.apply(square, 4), 16);
}

void stop_and_wait(int pid) {
    ::kill(pid, SIGSTOP);
    for (std::string line; line.find(") T") == std::string::npos;) {
        std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
        if (!std::getline(stat, line)) break;
    }
}

TEST_F(ProcessPool, who_waits_in_apply_gets_the_answer_of_whoever_took_the_task_over) {
    Pool pool(2);
    // Quick ones first: many are handed out ahead then.
    for (const int n : pool.map(square, std::views::iota(0, 4000), 1)) ASSERT_GE(n, 0);
    for (const std::size_t who : {0U, 1U}) {
        std::vector<int> pids;
        while ((pids = pool.pids()).size() < 2) ::poll(nullptr, 0, 1);
        for (const int pid : pids) stop_and_wait(pid);
        std::thread waiting([&] { EXPECT_EQ(pool.apply(square, 5), 25); });
        while (pool.statistics().handed_out < 1) std::this_thread::yield();
        std::vector<AsyncResult<int>> behind;
        for (int i = 0; i < 3000; ++i) behind.push_back(pool.apply_async(square, std::tuple(i)));
        ::kill(pids[who], SIGCONT);
        // The one that is stopped keeps the task that it has if that is the only one.
        PoolStatistics now = pool.statistics();
        for (; now.handed_out > 1 || now.waiting > 0; now = pool.statistics()) ::poll(nullptr, 0, 1);
        if (now.handed_out == 0) waiting.join();
        ::kill(pids[1 - who], SIGCONT);
        for (auto& one : behind) EXPECT_GE(one.get(60s), 0);
        if (waiting.joinable()) waiting.join();
    }
    EXPECT_EQ(pool.statistics().died, 0U);
}

TEST_F(ProcessPool, many_threads_apply_and_submit_at_the_same_time) {
    Pool pool(2);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&pool, t] {
            std::vector<AsyncResult<int>> later;
            for (int i = 0; i < testing::by_tier(300, 3'000, 30'000); ++i) {
                if (i % 3 == t) later.push_back(pool.apply_async(square, std::tuple(i)));
                ASSERT_EQ(pool.apply(square, i % 100), (i % 100) * (i % 100));
            }
            for (auto& one : later) EXPECT_GE(one.get(60s), 0);
        });
    for (auto& one : threads) one.join();
    EXPECT_EQ(pool.statistics().handed_out, 0U);
}

TEST_F(ProcessPool, many_threads_get_one_result_at_the_same_time) {
    Pool pool(2);
    for (int i = 0; i < testing::by_tier(200, 2'000, 20'000); ++i) {
        Event go;
        auto result = pool.apply_async(
            [](Event e, int n) {
                e.wait();
                return n;
            },
            std::tuple(go, i));
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t) threads.emplace_back([result, i]() mutable { ASSERT_EQ(result.get(), i); });
        const int other = pool.apply_async(square, std::tuple(3)).get();
        go.set();
        for (auto& one : threads) one.join();
        ASSERT_EQ(other, 9);
        ASSERT_EQ(pool.apply_async(square, std::tuple(4)).get(), 16);
    }
    EXPECT_EQ(pool.statistics().handed_out, 0U);
}

TEST_F(ProcessPool, who_waits_in_get_hears_of_the_death_of_the_worker_and_of_the_pools_end) {
    Pool pool(1);
    EXPECT_THROW(pool.apply_async([] { ::_exit(3); }).get(), WorkerDied);
    Event begun;
    auto never = pool.apply_async(
        [](Event b) {
            b.set();
            for (;;) ::pause();
        },
        std::tuple(begun));
    std::thread waiting([&] { EXPECT_THROW(never.get(), CancelledError); });
    begun.wait();
    pool.terminate();
    waiting.join();
}

TEST_F(ProcessPool, callbacks_run_before_the_result_is_ready) {
    Pool pool(2);
    std::atomic<int> sum{0}, errors{0};
    std::vector<AsyncResult<int>> all;
    for (int i = 0; i < 10; ++i)
        all.push_back(pool.apply_async(square, std::tuple(i), {.callback = [&](int x) { sum += x; }}));
    auto bad = pool.apply_async([]() -> int { throw std::runtime_error("no"); }, {},
                                {.error_callback = [&](const std::exception_ptr&) { ++errors; }});
    for (auto& one : all) one.wait();
    EXPECT_EQ(sum, 285);
    EXPECT_THROW(bad.get(), std::runtime_error);
    EXPECT_EQ(errors, 1);
    EXPECT_FALSE(bad.successful());
}

TEST_F(ProcessPool, a_callback_that_waits_for_the_same_pool_gets_an_error_and_does_not_hang) {
    Pool pool(1), other(1);
    Event go;
    AsyncResult<bool> later = pool.apply_async([](Event e) { return e.wait(); }, std::tuple(go));
    std::atomic<int> refused{0}, allowed{0};
    const auto refuse = [&](auto&& wait) {
        try {
            wait();
        } catch (const UsageError& e) {
            refused += std::string(e.what()).find("callback of a pool can't wait") != std::string::npos;
        }
    };
    auto told = other.apply_async(square, std::tuple(3));
    ASSERT_EQ(told.get(), 9);
    auto first = other.apply_async(square, std::tuple(2), {.callback = [&](int) {
                                       refuse([&] { other.apply(square, 1); });
                                       refuse([&] { other.map(square, std::vector<int>{1}); });
                                       refuse([&] { static_cast<void>(other.imap(square, std::vector<int>{1})); });
                                       refuse([&] { other.apply_async(square, std::tuple(1)).get(); });
                                       allowed += told.get() == 9;
                                       allowed += !later.wait(1ms); // a deadline is not for ever
                                       go.set();                    // and another pool's work goes on
                                       allowed += later.get();
                                       allowed += pool.apply(square, 5) == 25;
                                   }});
    EXPECT_EQ(first.get(), 4);
    EXPECT_EQ(refused, 4);
    EXPECT_EQ(allowed, 4);
    EXPECT_EQ(other.apply(square, 6), 36) << "the pool is as before";
}

struct Gated {
    Event gate;
    int value;
};
int pass(Gated gated) { return gated.gate.wait() ? gated.value : 0; }

TEST_F(ProcessPool, a_callback_that_fetches_from_imap_of_the_same_pool_gets_an_error_where_it_would_wait) {
    Pool pool(1);
    for (const bool ordered : {true, false}) {
        const auto map = [&](const std::vector<Gated>& all) {
            return ordered ? pool.imap(pass, all) : pool.imap_unordered(pass, all);
        };
        Event begin, go, open;
        open.set();
        const std::vector<Gated> early{{open, 1}}, late{{go, 2}, {go, 3}};
        std::optional<ImapResults<int>> there, awaited;
        sync::Event made; // what a worker orders no sanitizer sees
        std::atomic<int> refused{0}, allowed{0};
        const auto fetch = [&] {
            made.wait();
            try {
                awaited->next();
            } catch (const UsageError&) {
                ++refused;
            }
            try {
                for (const int x : *awaited) ADD_FAILURE() << x;
            } catch (const UsageError&) {
                ++refused;
            }
        };
        auto first = pool.apply_async(pass, std::tuple(Gated{begin, 0}));
        there.emplace(map(early));
        auto second = pool.apply_async(pass, std::tuple(Gated{open, 4}), {.callback = [&](int) {
                                           allowed += there->next() == 1; // it is there
                                           made.wait();
                                           EXPECT_THROW(awaited->next(1ms), TimeoutError);
                                           fetch();
                                       }});
        sync::Event told;
        auto third = pool.apply_async(pass, std::tuple(Gated{open, 5}));
        third.future().add_done_callback([&](const sync::Future<int>&) {
            fetch();
            told.set();
        });
        awaited.emplace(map(late));
        made.set();
        begin.set();
        EXPECT_EQ(second.get(), 4);
        told.wait();
        EXPECT_EQ(refused, 4);
        EXPECT_EQ(allowed, 1);
        go.set();
        EXPECT_EQ(awaited->next(), 2);
        EXPECT_EQ(awaited->next(), 3);
        EXPECT_EQ(awaited->next(), std::nullopt);
        EXPECT_EQ(first.get(), 0);
    }
}

TEST_F(ProcessPool, a_callback_of_a_future_that_waits_for_another_of_the_pool_gets_an_error_and_does_not_hang) {
    futures::ProcessPoolExecutor pool(1);
    Event go;
    sync::Future<bool> runs = pool.submit([](Event e) { return e.wait(); }, go);
    sync::Future<int> waits = pool.submit(square, 4);
    std::string said;
    sync::Event told;
    runs.add_done_callback([&](const sync::Future<bool>&) {
        try {
            static_cast<void>(pool.submit([](int n) { ::poll(nullptr, 0, n); }, 20).result());
        } catch (const UsageError& e) {
            said = e.what();
        }
        told.set();
    });
    go.set();
    EXPECT_TRUE(told.wait(60s));
    EXPECT_NE(said.find("can't wait for a future of the same pool"), std::string::npos) << said;
    EXPECT_EQ(waits.result(), 16);
}

TEST(ThreadPoolCallback,
     that_waits_for_work_with_callbacks_of_the_same_pool_gets_an_error_and_for_other_work_its_result) {
    pool::ThreadPool pool(1);
    int refused = 0, allowed = 0;
    auto first = pool.apply_async(square, std::tuple(2), {.callback = [&](int) {
                                      allowed += pool.apply(square, 3) == 9;
                                      allowed += pool.apply_async(square, std::tuple(4)).get() == 16;
                                      try {
                                          pool.apply_async(square, std::tuple(5), {.callback = [](int) {}}).wait();
                                      } catch (const UsageError&) {
                                          ++refused;
                                      }
                                  }});
    EXPECT_EQ(first.get(), 4);
    EXPECT_EQ(allowed, 2);
    EXPECT_EQ(refused, 1);
}

} // namespace
} // namespace sennit::multiprocessing
