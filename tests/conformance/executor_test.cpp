// What Python's test_concurrent_futures knows of executors on threads. The table of cases is docs/conformance/futures.md.
#include <sennit/futures.hpp>
#include <sennit/os/cpu_count.hpp>
#include <sennit/sync.hpp>
#include <sennit/wait/registry.hpp>

#include "support/test_loop.hpp"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <malloc.h>
#include <map>
#include <memory>
#include <ranges>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using futures::Future;
using futures::ThreadPoolExecutor;
using testing::Co;
using testing::TestLoop;
using testing::wait_until_parked;

template <class Range>
auto list(Range&& range) {
    std::vector<std::remove_cvref_t<decltype(*range.begin())>> all;
    for (auto&& x : range) all.push_back(std::forward<decltype(x)>(x));
    return all;
}

// Lets other threads run until it is true.
template <class F>
void until(F is_true) {
    while (!is_true()) std::this_thread::yield();
}

// ---- executor.py

TEST(Executor, submit_calls_with_the_arguments) {
    ThreadPoolExecutor pool(5);
    EXPECT_EQ(pool.submit([](int x, int y) { return x * y; }, 2, 8).result(), 16);
    EXPECT_EQ(pool.submit(&std::string::size, std::string("four")).result(), 4U);
}

TEST(Executor, map_gives_results_in_the_order_of_the_elements) {
    ThreadPoolExecutor pool(5);
    const auto mul = [](int a, int b) { return a * b; };
    const std::vector<int> expected{0, 1, 4, 9, 16, 25, 36, 49, 64, 81};
    for (std::size_t chunksize : {1U, 3U, 10U, 100U})
        for (std::size_t buffersize : {0U, 1U, 4U, 1000U}) {
            sync::MapOptions options{.chunksize = chunksize};
            if (buffersize) options.buffersize = buffersize;
            EXPECT_EQ(list(pool.map(mul, std::views::iota(0, 10), std::views::iota(0, 10), options)), expected);
        }
    EXPECT_EQ(list(pool.map([](int a, int b, int c) { return a + b + c; }, std::vector{1, 2}, std::vector{3, 4},
                            std::vector{5, 6})),
              (std::vector{9, 12}));
}

TEST(Executor, map_ends_with_the_shortest_range) {
    ThreadPoolExecutor pool(2);
    const auto sum = [](int a, int b) { return a + b; };
    EXPECT_EQ(list(pool.map(sum, std::vector{1, 2, 3}, std::vector{1})), std::vector{2});
    EXPECT_TRUE(list(pool.map(sum, std::vector<int>(), std::views::iota(0))).empty());
    EXPECT_EQ(list(pool.map(sum, std::vector{1, 2, 3}, std::views::iota(0), {.buffersize = 1})),
              (std::vector{1, 3, 5}));
}

TEST(Executor, map_takes_any_range_and_leaves_the_caller_its_own) {
    ThreadPoolExecutor pool(2);
    std::vector<std::string> words{"a", "bb"};
    EXPECT_EQ(list(pool.map([](const std::string& s) { return s.size(); }, words)), (std::vector<std::size_t>{1, 2}));
    EXPECT_EQ(words[1], "bb");
    std::vector<std::unique_ptr<int>> owned;
    owned.push_back(std::make_unique<int>(7));
    auto given = list(pool.map([](std::unique_ptr<int> p) { return p; }, std::move(owned)));
    EXPECT_EQ(*given.at(0), 7);
    std::istringstream in("1 2 3");
    EXPECT_EQ(list(pool.map([](int i) { return -i; }, std::views::istream<int>(in))), (std::vector{-1, -2, -3}));
    EXPECT_EQ(list(pool.map([](bool b) { return !b; }, std::vector{true, false})), (std::vector{false, true}));
    int n = 0;
    std::mutex m;
    for (auto nothing : pool.map(
             [&](int i) {
                 const std::lock_guard g(m);
                 n += i;
             },
             std::vector{1, 2, 3}))
        EXPECT_EQ(nothing, std::monostate());
    EXPECT_EQ(n, 6);
    std::vector<int> numbers{1, 2};
    for (int& i : pool.map([](int* p) -> int& { return *p; }, std::vector{&numbers[0], &numbers[1]})) i += 10;
    EXPECT_EQ(numbers, (std::vector{11, 12}));
}

TEST(Executor, map_refuses_sizes_of_zero) {
    ThreadPoolExecutor pool(1);
    const auto id = [](int i) { return i; };
    EXPECT_THROW(static_cast<void>(pool.map(id, std::vector{1}, {.chunksize = 0})), UsageError);
    EXPECT_THROW(static_cast<void>(pool.map(id, std::vector{1}, {.buffersize = 0})), UsageError);
}

TEST(Executor, map_throws_what_an_element_threw_in_its_place_and_ends) {
    ThreadPoolExecutor pool(5);
    for (std::size_t chunksize : {1U, 2U, 4U}) {
        auto results = pool.map(
            [](int a, int b) {
                if (b == 0) throw std::domain_error("division by zero");
                return a / b;
            },
            std::vector{1, 1, 1, 1}, std::vector{2, 3, 0, 5}, {.chunksize = chunksize});
        auto i = results.begin();
        EXPECT_EQ(*i, 0);
        ++i;
        EXPECT_EQ(*i, 0);
        EXPECT_THROW(++i, std::domain_error);
        EXPECT_TRUE(i == results.end());
    }
}

TEST(Executor, map_times_out_counting_from_the_call) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    int given = 0;
    EXPECT_THROW(
        {
            for (auto i : pool.map(
                     [&](int n) {
                         if (n == 2) go.wait();
                         return n;
                     },
                     std::vector{0, 1, 2}, {.timeout = 50ms})) {
                EXPECT_EQ(i, given);
                ++given;
            }
        },
        TimeoutError);
    EXPECT_EQ(given, 2);
    go.set();
}

TEST(Executor, map_submits_without_being_gone_through) {
    std::mutex m;
    std::set<int> finished;
    {
        ThreadPoolExecutor pool(5);
        auto results = pool.map(
            [&](int n) {
                const std::lock_guard g(m);
                finished.insert(n);
            },
            std::views::iota(0, 10));
        pool.shutdown();
    }
    EXPECT_EQ(finished.size(), 10U);
}

TEST(Executor, map_with_a_buffersize_takes_only_so_much_ahead_of_an_endless_range) {
    ThreadPoolExecutor pool(2);
    int taken = 0;
    auto results = pool.map([](int i) { return i; }, std::views::iota(0) | std::views::transform([&](int i) {
                                                         ++taken;
                                                         return i;
                                                     }),
                            {.buffersize = 5});
    EXPECT_EQ(taken, 5);
    auto i = results.begin();
    EXPECT_EQ(*i, 0);
    EXPECT_EQ(taken, 6);
    ++i;
    EXPECT_EQ(*i, 1);
    EXPECT_EQ(taken, 7);
}

TEST(Executor, leaving_map_cancels_the_rest) {
    ThreadPoolExecutor pool(1);
    sync::Event stop;
    std::atomic<int> begun{0};
    const auto log_and_wait = [&](int) {
        ++begun;
        stop.wait();
    };
    auto first = pool.submit(log_and_wait, 1);
    EXPECT_THROW(
        {
            for (auto x : pool.map(log_and_wait, std::vector{2, 3}, {.timeout = 0s})) static_cast<void>(x);
        },
        TimeoutError);
    { auto left = pool.map(log_and_wait, std::vector{4, 5}); }
    stop.set();
    first.result();
    pool.shutdown();
    EXPECT_EQ(begun, 1);
}

TEST(Executor, an_input_range_that_throws_ends_map_and_the_pool_goes_on) {
    ThreadPoolExecutor pool(1);
    auto bad = std::views::iota(0, 10) | std::views::transform([](int i) {
                   if (i == 3) throw std::runtime_error("no more");
                   return i;
               });
    EXPECT_THROW(static_cast<void>(pool.map([](int i) { return i; }, bad)), std::runtime_error);
    auto lazily = pool.map([](int i) { return i; }, bad, {.buffersize = 2});
    auto i = lazily.begin();
    EXPECT_EQ(*i, 0);
    EXPECT_THROW(++i, std::runtime_error);
    EXPECT_EQ(pool.submit([] { return 1; }).result(), 1);
}

TEST(Executor, keeps_neither_callable_nor_arguments_nor_results) {
    ThreadPoolExecutor pool(1);
    auto object = std::make_shared<int>(1);
    {
        auto f = pool.submit([object] { return object; });
        EXPECT_EQ(*f.result(), 1);
        EXPECT_EQ(object.use_count(), 2); // the result
    }
    pool.submit([] {}).result(); // the worker has let go of the task before this one
    EXPECT_EQ(object.use_count(), 1);
    for (auto made : pool.map([](int i) { return std::make_shared<int>(i); }, std::views::iota(0, 10)))
        EXPECT_EQ(made.use_count(), 1);
}

TEST(Executor, max_workers_is_at_least_one) {
    EXPECT_THROW(ThreadPoolExecutor(0), UsageError);
    EXPECT_THROW(ThreadPoolExecutor(static_cast<std::size_t>(-1)), UsageError);
}

// ---- test_thread_pool.py

TEST(ThreadPool, has_as_many_workers_as_python_by_default) {
    ThreadPoolExecutor pool;
    EXPECT_EQ(pool.max_workers(), std::min<std::size_t>(32, static_cast<std::size_t>(os::usable_cpu_count()) + 4));
}

TEST(ThreadPool, starts_all_its_workers_when_they_are_needed_and_no_more) {
    ThreadPoolExecutor pool(4);
    EXPECT_EQ(pool.statistics().threads, 0U);
    sync::Semaphore permits(0);
    std::vector<Future<bool>> all;
    for (int i = 0; i < 60; ++i) all.push_back(pool.submit([&] { return permits.acquire(); }));
    until([&] { return pool.statistics().threads == 4; });
    const auto s = pool.statistics();
    EXPECT_EQ(s.max_workers, 4U);
    EXPECT_EQ(s.started, 4U);
    EXPECT_EQ(s.waiting, 0U); // for a semaphore, which the pool does not see
    wait_until_parked(4);
    EXPECT_EQ(pool.statistics().queued, 56U);
    permits.release(60);
    for (auto& f : all) EXPECT_TRUE(f.result());
}

TEST(ThreadPool, idle_workers_are_used_first) {
    ThreadPoolExecutor pool(5);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(pool.submit([] { return 42; }).result(), 42);
        until([&] { return pool.statistics().idle == 1; });
    }
    EXPECT_EQ(pool.statistics().started, 1U);
}

TEST(ThreadPool, workers_have_the_prefix_of_their_pool_in_their_names) {
    const auto names = [](ThreadPoolExecutor& pool) {
        sync::Barrier all(3);
        std::vector<Future<std::string>> names;
        for (int i = 0; i < 3; ++i)
            names.push_back(pool.submit([&] {
                all.wait();
                return std::string(wait::current_agent().snapshot().name);
            }));
        std::set<std::string> set;
        for (auto& n : names) set.insert(n.result());
        return set;
    };
    ThreadPoolExecutor special(3, {.thread_name_prefix = "SpecialPool"});
    EXPECT_EQ(names(special), (std::set<std::string>{"SpecialPool_0", "SpecialPool_1", "SpecialPool_2"}));
    ThreadPoolExecutor a(3), b(3);
    const auto first = names(a), second = names(b);
    for (const auto& name : first) EXPECT_EQ(name.find("ThreadPoolExecutor-"), 0U) << name;
    for (const auto& name : second) EXPECT_FALSE(first.contains(name));
}

// ---- test_shutdown.py

TEST(Shutdown, submit_and_map_are_refused_afterwards) {
    ThreadPoolExecutor pool(2);
    pool.shutdown();
    EXPECT_THROW(pool.submit([] {}), UsageError);
    EXPECT_THROW(static_cast<void>(pool.map([](int) {}, std::vector{1})), UsageError);
    pool.shutdown(); // twice is as once
    pool.shutdown({.wait = false, .cancel_futures = true});
}

TEST(Shutdown, waits_for_all_that_was_submitted) {
    ThreadPoolExecutor pool(5);
    std::atomic<int> ran{0};
    std::vector<Future<int>> all;
    for (int i = 0; i < 50; ++i)
        all.push_back(pool.submit([&] {
            std::this_thread::yield();
            return ++ran;
        }));
    pool.shutdown();
    EXPECT_EQ(ran, 50);
    for (auto& f : all) EXPECT_TRUE(f.done());
    EXPECT_EQ(pool.statistics().threads, 0U);
}

TEST(Shutdown, by_the_destructor_waits_as_well) {
    std::vector<Future<int>> all;
    {
        ThreadPoolExecutor pool(5);
        for (int i = -5; i < 5; ++i) all.push_back(pool.submit([i] { return std::abs(i); }));
    }
    for (auto& f : all) EXPECT_TRUE(f.done());
}

TEST(Shutdown, without_wait_lets_the_rest_run) {
    std::vector<Future<int>> all;
    sync::Event go;
    ThreadPoolExecutor pool(2);
    for (int i = 0; i < 10; ++i)
        all.push_back(pool.submit([&go, i] {
            go.wait();
            return i;
        }));
    pool.shutdown({.wait = false});
    EXPECT_FALSE(all[9].done());
    EXPECT_THROW(pool.submit([] {}), UsageError);
    go.set();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].result(), i);
}

TEST(Shutdown, cancel_futures_cancels_what_has_not_begun_and_lets_the_running_finish) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    std::atomic<int> begun{0};
    std::vector<Future<int>> all;
    for (int i = 0; i < 200; ++i)
        all.push_back(pool.submit([&] {
            ++begun;
            go.wait();
            return 1;
        }));
    until([&] { return begun == 2; });
    std::thread ender([&] { pool.shutdown({.cancel_futures = true}); });
    until([&] { return all.back().cancelled(); });
    go.set();
    ender.join();
    EXPECT_EQ(std::ranges::count_if(all, [](auto& f) { return f.cancelled(); }), 198);
    for (auto& f : all) {
        EXPECT_TRUE(f.done());
        EXPECT_TRUE(f.cancelled() || f.result() == 1);
    }
}

TEST(Shutdown, does_not_hang_on_a_future_that_was_cancelled_just_before) {
    for (int i = 0; i < 50; ++i) {
        ThreadPoolExecutor pool(1);
        pool.submit([] {}).result();
        pool.submit([] {}).cancel();
        pool.shutdown();
    }
}

TEST(Shutdown, with_wait_in_one_of_its_own_tasks_is_refused) {
    ThreadPoolExecutor pool(1);
    EXPECT_THROW(pool.submit([&] { pool.shutdown(); }).result(), UsageError);
    pool.submit([&] { pool.shutdown({.wait = false}); }).result();
    EXPECT_THROW(pool.submit([] {}), UsageError);
}

TEST(Shutdown, threads_end) {
    ThreadPoolExecutor pool(3);
    sync::Semaphore permits(0);
    for (int i = 0; i < 3; ++i) pool.submit([&] { permits.acquire(); });
    until([&] { return pool.statistics().threads == 3; });
    permits.release(3);
    pool.shutdown();
    EXPECT_EQ(pool.statistics().threads, 0U);
}

TEST(Shutdown, wait_may_be_called_by_several) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    for (int i = 0; i < 4; ++i) pool.submit([&] { go.wait(); });
    std::vector<std::thread> enders;
    for (int i = 0; i < 3; ++i) enders.emplace_back([&] { pool.shutdown(); });
    go.set();
    for (auto& t : enders) t.join();
    EXPECT_EQ(pool.statistics().threads, 0U);
}

// ---- test_init.py

TEST(Initializer, runs_first_in_each_worker) {
    static thread_local int status = 0;
    ThreadPoolExecutor pool(2, {.initializer = [] { status = 1; }});
    sync::Barrier both(2);
    const auto get = [&] {
        both.wait();
        return status;
    };
    auto a = pool.submit(get), b = pool.submit(get);
    EXPECT_EQ(a.result(), 1);
    EXPECT_EQ(b.result(), 1);
}

TEST(Initializer, that_throws_breaks_the_pool_with_its_cause_in_every_pending_and_later_future) {
    sync::Event go;
    std::atomic<int> runs{0};
    ThreadPoolExecutor pool(2, {.initializer = [&] {
                                ++runs;
                                go.wait();
                                throw std::runtime_error("error in initializer");
                            }});
    std::vector<Future<int>> all;
    for (int i = 0; i < 100; ++i) all.push_back(pool.submit([] { return 1; }));
    go.set();
    all.push_back(pool.submit([] { return 1; }));
    for (auto& f : all) {
        try {
            f.result();
            ADD_FAILURE();
        } catch (const BrokenExecutor& e) {
            EXPECT_NE(std::string(e.what()).find("error in initializer"), std::string::npos) << e.what();
        }
    }
    EXPECT_THROW(pool.submit([] {}).result(), BrokenExecutor);
    pool.shutdown();
    EXPECT_LE(runs, 2); // no storm of starts
}

TEST(Initializer, that_throws_in_a_later_worker_breaks_the_pool_and_running_tasks_finish) {
    std::atomic<int> runs{0};
    ThreadPoolExecutor pool(2, {.initializer = [&] {
                                if (runs++ == 1) throw std::runtime_error("the second one");
                            }});
    sync::Event go, begun;
    auto running = pool.submit([&] {
        begun.set();
        go.wait();
        return 3;
    });
    begun.wait();
    EXPECT_THROW(pool.submit([] {}).result(), BrokenExecutor);
    go.set();
    EXPECT_EQ(running.result(), 3);
}

// ---- ours

TEST(Nested, waits_of_a_pool_that_is_full_end) {
    // The two examples of Python's documentation that wait for ever there.
    {
        ThreadPoolExecutor pool(1);
        auto outer = pool.submit([&] {
            auto f = pool.submit([](int x, int y) { return x * y; }, 5, 2);
            return f.result();
        });
        EXPECT_EQ(outer.result(), 10);
    }
    ThreadPoolExecutor pool(2);
    Future<int> a, b;
    sync::Barrier both_run(2);
    auto wait_on_b = pool.submit([&] {
        both_run.wait();
        b = pool.submit([] { return 5; });
        return b.result();
    });
    auto wait_on_a = pool.submit([&] {
        both_run.wait();
        a = pool.submit([] { return 6; });
        return a.result();
    });
    EXPECT_EQ(wait_on_b.result(), 5);
    EXPECT_EQ(wait_on_a.result(), 6);
}

TEST(Nested, a_worker_that_waits_for_a_running_task_is_made_up_for) {
    ThreadPoolExecutor pool(2);
    sync::Event begun, go;
    auto slow = pool.submit([&] {
        begun.set();
        go.wait();
        return 1;
    });
    begun.wait();
    auto waits = pool.submit([&] { return slow.result() + 1; });
    until([&] { return pool.statistics().waiting == 1; });
    // Both workers are taken: one is blocked, one waits. This one needs a third.
    pool.submit([&] { go.set(); }).result();
    EXPECT_EQ(waits.result(), 2);
}

TEST(Nested, a_worker_that_waits_with_a_deadline_is_made_up_for_and_comes_back_in_time) {
    ThreadPoolExecutor pool(1);
    sync::Event go;
    auto outer = pool.submit([&] {
        auto inner = pool.submit([&] { go.wait(); });
        const bool timed_out = !inner.wait(2ms);
        go.set();
        inner.result();
        return timed_out;
    });
    EXPECT_TRUE(outer.result());
}

TEST(Nested, wait_and_as_completed_and_map_in_a_worker_end_too) {
    ThreadPoolExecutor pool(1);
    const auto make = [&](int n) {
        std::vector<Future<int>> all;
        for (int i = 0; i < n; ++i) all.push_back(pool.submit([i] { return i; }));
        return all;
    };
    EXPECT_EQ(pool.submit([&] { return futures::wait(make(10)).done.size(); }).result(), 10U);
    EXPECT_GE(
        pool.submit([&] { return futures::wait(make(10), {.return_when = futures::FIRST_COMPLETED}).done.size(); })
            .result(),
        1U);
    EXPECT_EQ(pool.submit([&] {
                      int sum = 0;
                      for (auto f : futures::as_completed(make(10))) sum += f.result();
                      return sum;
                  })
                  .result(),
              45);
    EXPECT_EQ(pool.submit([&] {
                      int sum = 0;
                      for (int i : pool.map([](int x) { return x; }, std::views::iota(0, 10))) sum += i;
                      return sum;
                  })
                  .result(),
              45);
}

TEST(Nested, surplus_workers_go_when_those_that_waited_are_back) {
    ThreadPoolExecutor pool(1);
    sync::Event go;
    auto outer = pool.submit([&] {
        auto inner = pool.submit([&] { go.wait(); });
        inner.wait(1ms); // made up for: the inner one runs in another thread
        go.set();
        inner.result();
    });
    outer.result();
    for (int i = 0; i < 3; ++i) pool.submit([] {}).result();
    until([&] { return pool.statistics().threads <= 1; });
    EXPECT_EQ(pool.statistics().waiting, 0U);
}

TEST(Nested, a_hundred_thousand_nested_submits_with_waits_end_in_a_pool_of_two) {
    ::mallopt(M_ARENA_MAX, 2); // glibc keeps the arenas that it makes for threads, and the instruments count mappings
    ThreadPoolExecutor pool(2);
    constexpr int depth = 100'000;
    struct Descend {
        ThreadPoolExecutor& pool;
        int operator()(int left) const {
            if (left == 0) return 0;
            return pool.submit(*this, left - 1).result() + 1;
        }
    };
    EXPECT_EQ(pool.submit(Descend{pool}, depth).result(), depth);
}

TEST(Nested, helps_only_with_what_it_waits_for) {
    ThreadPoolExecutor pool(1);
    std::thread::id outer_thread, inner_thread, foreign_thread;
    auto outer = pool.submit([&] {
        outer_thread = std::this_thread::get_id();
        auto foreign = pool.submit([&] { foreign_thread = std::this_thread::get_id(); });
        auto inner = pool.submit([&] { inner_thread = std::this_thread::get_id(); });
        inner.result();
        const bool untouched = foreign_thread == std::thread::id();
        return std::pair(untouched, foreign);
    });
    auto [untouched, foreign] = outer.result();
    foreign.result();
    EXPECT_EQ(inner_thread, outer_thread);
    EXPECT_TRUE(untouched);
}

TEST(ThreadPool, tasks_own_what_they_capture_and_begin_in_order) {
    ThreadPoolExecutor pool(1);
    std::vector<int> order;
    std::vector<Future<void>> all;
    for (int i = 0; i < 300; ++i)
        all.push_back(pool.submit([&order, p = std::make_unique<int>(i)] { order.push_back(*p); }));
    futures::wait(all);
    EXPECT_TRUE(std::ranges::is_sorted(order));
    EXPECT_EQ(order.size(), 300U);
}

TEST(ThreadPool, a_task_that_submits_itself_again_starves_nobody) {
    ThreadPoolExecutor pool(1);
    std::atomic<bool> stop{false};
    struct Again {
        ThreadPoolExecutor& pool;
        std::atomic<bool>& stop;
        void operator()() const {
            if (!stop) pool.submit(*this);
        }
    };
    pool.submit(Again{pool, stop});
    pool.submit([] {}).result();
    stop = true;
    pool.submit([] {}).result();
}

TEST(ThreadPool, a_coroutine_awaits_what_it_submits) {
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    int sum = 0;
    bool failed = false;
    loop.spawn([&]() -> Co<void> {
        for (int i = 0; i < 100; ++i) sum += co_await pool.submit([i] { return i; });
        try {
            co_await pool.submit([] { throw std::out_of_range("far"); });
        } catch (const std::out_of_range&) {
            failed = true;
        }
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
    EXPECT_EQ(sum, 4950);
    EXPECT_TRUE(failed);
}

TEST(ThreadPool, a_cancelled_future_never_runs) {
    ThreadPoolExecutor pool(1);
    sync::Event go, begun;
    auto blocker = pool.submit([&] {
        begun.set();
        go.wait();
    });
    begun.wait();
    auto held = std::make_shared<int>(0);
    auto f = pool.submit([held] { ++*held; });
    EXPECT_TRUE(f.cancel());
    EXPECT_TRUE(f.cancel());
    EXPECT_FALSE(blocker.cancel());
    go.set();
    EXPECT_THROW(f.result(), CancelledError);
    pool.shutdown();
    EXPECT_EQ(*held, 0);
    f = {};
    EXPECT_EQ(held.use_count(), 1);
}

} // namespace
} // namespace sennit
