#include <sennit/futures/fork_scope.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/futures/thread_pool_executor.hpp>
#include <sennit/sync/event.hpp>

#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace sennit::futures {
namespace {

// Forks until `done()`: so what stands in the scope's list before is given away as soon as a worker is idle.
template <class Done>
void fork_until(ForkScope& scope, Done done) {
    while (!done())
        fork_join(
            scope, [] {}, [] {});
}

long fib(ForkScope& scope, int n) {
    if (n < 2) return n;
    auto [a, b] = fork_join(
        scope, [n](ForkScope& s) { return fib(s, n - 1); }, [n](ForkScope& s) { return fib(s, n - 2); });
    return a + b;
}

struct Oops : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::string what_comes_out(ThreadPoolExecutor& pool, auto f) {
    try {
        fork_join(pool, f);
    } catch (const std::exception& e) {
        return e.what();
    }
    return "nothing";
}

TEST(ForkScope, both_results_come_as_a_pair) {
    ThreadPoolExecutor pool(2);
    const auto [a, b] = fork_join(pool, [](ForkScope& s) {
        return fork_join(
            s, [] { return 1; }, [](ForkScope&) { return std::string("two"); });
    });
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, "two");
}

TEST(ForkScope, results_may_be_movable_only_or_references_or_nothing) {
    ThreadPoolExecutor pool(2);
    int x = 1, y = 2;
    fork_join(pool, [&](ForkScope& s) {
        auto [p, q] = fork_join(
            s, [] { return std::make_unique<int>(3); }, [] { return std::make_unique<int>(4); });
        EXPECT_EQ(*p + *q, 7);
        auto both = fork_join(
            s, [&]() -> int& { return x; }, [&]() -> int& { return y; });
        both.second = 5;
        static_assert(std::is_void_v<decltype(fork_join(
                          s, [] {}, [] {}))>);
        EXPECT_EQ(fork_join(
                      s, [] {}, [] { return 6; })
                      .second,
                  6);
    });
    EXPECT_EQ(y, 5);
}

TEST(ForkScope, a_taken_forks_result_may_be_movable_only_or_a_reference) {
    ThreadPoolExecutor pool(2);
    std::atomic<int> taken{0};
    int x = 0;
    fork_join(pool, [&](ForkScope& s) {
        auto both = fork_join(
            s, [&](ForkScope& t) { fork_until(t, [&] { return taken == 1; }); },
            [&] {
                taken = 1;
                return std::make_unique<int>(7);
            });
        EXPECT_EQ(*both.second, 7);
        auto same = fork_join(
            s, [&](ForkScope& t) { fork_until(t, [&] { return taken == 2; }); },
            [&]() -> int& {
                taken = 2;
                return x;
            });
        EXPECT_EQ(&same.second, &x);
    });
}

TEST(ForkScope, recursion_without_a_cut_off_gives_the_right_sum) {
    for (const std::size_t workers : {1U, 2U, 3U, 8U}) {
        ThreadPoolExecutor pool(workers);
        EXPECT_EQ(fork_join(pool, [](ForkScope& s) { return fib(s, 22); }), 17711);
    }
}

TEST(ForkScope, an_idle_worker_takes_the_oldest_fork) {
    ThreadPoolExecutor pool(2);
    std::atomic<bool> old_one{false}, younger_one{false};
    const auto caller = std::this_thread::get_id();
    fork_join(pool, [&](ForkScope& s) {
        fork_join(
            s,
            [&](ForkScope& t) {
                fork_join(
                    t, [&](ForkScope& u) { fork_until(u, [&] { return old_one.load(); }); },
                    [&] { younger_one = true; });
            },
            [&] {
                EXPECT_NE(std::this_thread::get_id(), caller);
                EXPECT_FALSE(younger_one);
                old_one = true;
            });
    });
    EXPECT_TRUE(younger_one);
}

TEST(ForkScope, in_a_pool_of_one_the_caller_does_all) {
    ThreadPoolExecutor pool(1);
    const auto caller = std::this_thread::get_id();
    std::atomic<int> elsewhere{0};
    fork_join(pool, [&](ForkScope& s) {
        for (int i = 0; i < 200'000; ++i)
            fork_join(
                s, [] {}, [&] { elsewhere += std::this_thread::get_id() != caller; });
    });
    EXPECT_EQ(elsewhere, 0);
    EXPECT_EQ(pool.statistics().threads, 0U);
}

TEST(ForkScope, what_either_side_throws_comes_out_and_the_second_is_not_begun_after_the_first_threw) {
    ThreadPoolExecutor pool(1);
    bool begun = false;
    EXPECT_EQ(what_comes_out(pool,
                             [&](ForkScope& s) {
                                 fork_join(
                                     s, [] { throw Oops("first"); }, [&] { begun = true; });
                             }),
              "first");
    EXPECT_FALSE(begun);
    EXPECT_EQ(what_comes_out(pool,
                             [&](ForkScope& s) {
                                 fork_join(
                                     s, [] {}, [] { throw Oops("second"); });
                             }),
              "second");
}

TEST(ForkScope, what_a_taken_fork_throws_comes_out_and_cancels_the_other_side) {
    ThreadPoolExecutor pool(2);
    bool cancelled = false;
    EXPECT_EQ(what_comes_out(pool,
                             [&](ForkScope& s) {
                                 fork_join(
                                     s,
                                     [&](ForkScope& t) {
                                         try {
                                             fork_until(t, [] { return false; });
                                         } catch (const CancelledError&) {
                                             cancelled = t.cancelled();
                                             throw;
                                         }
                                     },
                                     [] { throw Oops("taken"); });
                             }),
              "taken");
    EXPECT_TRUE(cancelled);
}

TEST(ForkScope, when_the_first_throws_a_taken_fork_is_cancelled_and_waited_for) {
    ThreadPoolExecutor pool(2);
    std::atomic<bool> taken{false}, ended{false};
    EXPECT_EQ(what_comes_out(pool,
                             [&](ForkScope& s) {
                                 fork_join(
                                     s,
                                     [&](ForkScope& t) {
                                         fork_until(t, [&] { return taken.load(); });
                                         throw Oops("first");
                                     },
                                     [&](ForkScope& t) {
                                         taken = true;
                                         try {
                                             fork_until(t, [] { return false; });
                                         } catch (const CancelledError&) {
                                             ended = true;
                                             throw Oops("too late");
                                         }
                                     });
                             }),
              "first");
    EXPECT_TRUE(ended);
}

TEST(ForkScope, a_scope_works_on_after_an_exception_was_caught) {
    ThreadPoolExecutor pool(2);
    int caught = 0;
    fork_join(pool, [&](ForkScope& s) {
        for (int i = 0; i < 50; ++i) {
            std::atomic<bool> taken{false};
            try {
                fork_join(
                    s, [&](ForkScope& t) { fork_until(t, [] { return false; }); },
                    [&] {
                        taken = true;
                        throw Oops("again");
                    });
            } catch (const Oops&) {
                ++caught;
            }
            EXPECT_FALSE(s.cancelled());
            EXPECT_EQ(fib(s, 10), 55);
        }
    });
    EXPECT_EQ(caught, 50);
}

TEST(ForkScope, a_call_within_a_call_is_part_of_it) {
    ThreadPoolExecutor pool(2);
    std::atomic<bool> taken{false};
    // The inner call's forks stand behind the outer one's frame in the same list: so that is given away from within.
    fork_join(pool, [&](ForkScope& s) {
        fork_join(
            s, [&] { fork_join(pool, [&](ForkScope& inner) { fork_until(inner, [&] { return taken.load(); }); }); },
            [&] { taken = true; });
    });
    EXPECT_TRUE(taken);
}

TEST(ForkScope, a_task_of_the_pool_may_fork_and_so_may_all_of_them_at_once) {
    ThreadPoolExecutor pool(2);
    std::vector<sync::Future<long>> sums;
    for (int i = 0; i < 20; ++i)
        sums.push_back(pool.submit([&] { return fork_join(pool, [](ForkScope& s) { return fib(s, 15); }); }));
    for (auto& f : sums) EXPECT_EQ(f.result(), 610);
}

TEST(ForkScope, many_threads_may_call_at_the_same_time) {
    ThreadPoolExecutor pool(3);
    std::vector<std::thread> callers;
    std::atomic<long> sum{0};
    for (int i = 0; i < 8; ++i)
        callers.emplace_back([&] {
            for (int j = 0; j < 20; ++j) sum += fork_join(pool, [](ForkScope& s) { return fib(s, 14); });
        });
    for (auto& t : callers) t.join();
    EXPECT_EQ(sum, 8 * 20 * 377);
}

TEST(ForkScope, a_hundred_thousand_forks_deep_is_as_deep_as_the_stack) {
    // ThreadSanitizer's runtime has room for 65,536 calls, and a fork takes several.
    const int depth = testing::thread_sanitized() ? 5'000 : 100'000;
    ThreadPoolOptions options;
    options.stack_size = std::size_t{1} << 30;
    ThreadPoolExecutor pool(2, options);
    struct Down {
        static long go(ForkScope& scope, int n) {
            if (n == 0) return 0;
            auto [below, one] = fork_join(
                scope, [n](ForkScope& s) { return go(s, n - 1); }, [] { return 1L; });
            return below + one;
        }
    };
    EXPECT_EQ(pool.submit([&] { return fork_join(pool, [&](ForkScope& s) { return Down::go(s, depth); }); }).result(),
              depth);
}

TEST(ForkScope, a_stop_ends_the_call_with_CancelledError_wherever_it_forks) {
    ThreadPoolExecutor pool(2);
    std::stop_source source;
    std::atomic<bool> taken{false}, other_side_saw_it{false};
    EXPECT_THROW(fork_join(pool,
                           [&](ForkScope& s) {
                               fork_join(
                                   s,
                                   [&](ForkScope& t) {
                                       fork_until(t, [&] { return taken.load(); });
                                       source.request_stop();
                                       fork_until(t, [] { return false; });
                                   },
                                   [&](ForkScope& t) {
                                       taken = true;
                                       try {
                                           fork_until(t, [] { return false; });
                                       } catch (const CancelledError&) {
                                           other_side_saw_it = true;
                                           throw;
                                       }
                                   });
                           },
                           {.stop = source.get_token()}),
                 CancelledError);
    EXPECT_TRUE(other_side_saw_it);
}

TEST(ForkScope, a_stop_that_came_before_lets_nothing_fork) {
    ThreadPoolExecutor pool(2);
    std::stop_source source;
    source.request_stop();
    bool ran = false;
    EXPECT_THROW(fork_join(pool,
                           [&](ForkScope& s) {
                               fork_join(
                                   s, [&] { ran = true; }, [&] { ran = true; });
                           },
                           {.stop = source.get_token()}),
                 CancelledError);
    EXPECT_FALSE(ran);
}

TEST(ForkScope, a_cancelled_agent_leaves_a_join_when_both_sides_have_ended) {
    ThreadPoolExecutor pool(2);
    std::atomic<wait::Agent*> caller{nullptr};
    std::atomic<bool> taken{false}, ended{false};
    std::thread t([&] {
        caller = &wait::current_agent();
        EXPECT_THROW(fork_join(pool,
                               [&](ForkScope& s) {
                                   fork_join(
                                       s, [&](ForkScope& u) { fork_until(u, [&] { return taken.load(); }); },
                                       [&](ForkScope& u) {
                                           taken = true;
                                           try {
                                               fork_until(u, [] { return false; });
                                           } catch (const CancelledError&) {
                                               ended = true;
                                               throw;
                                           }
                                       });
                               }),
                     CancelledError);
        EXPECT_TRUE(ended);
        EXPECT_FALSE(wait::current_agent().cancel_requested());
    });
    while (!taken) std::this_thread::yield();
    testing::wait_until_parked(*caller);
    caller.load()->cancel();
    t.join();
}

TEST(ForkScope, after_shutdown_the_caller_does_all_by_itself) {
    ThreadPoolExecutor pool(2);
    pool.shutdown();
    EXPECT_EQ(fork_join(pool, [](ForkScope& s) { return fib(s, 20); }), 6765);
}

TEST(ForkScope, while_all_workers_are_busy_the_caller_does_all_by_itself) {
    ThreadPoolExecutor pool(2);
    sync::Event go;
    auto a = pool.submit([&] { go.wait(); });
    auto b = pool.submit([&] { go.wait(); });
    EXPECT_EQ(fork_join(pool, [](ForkScope& s) { return fib(s, 20); }), 6765);
    go.set();
}

TEST(ForkScope, a_submitted_task_is_not_kept_waiting_by_a_worker_that_is_idle_in_a_call) {
    ThreadPoolExecutor pool(2);
    std::atomic<bool> taken{false}, submitted_ran{false};
    fork_join(pool, [&](ForkScope& s) {
        fork_join(
            s, [&](ForkScope& t) { fork_until(t, [&] { return taken.load(); }); }, [&] { taken = true; });
        // One worker has been here and is idle now; it, or another one, runs these.
        auto a = pool.submit([&] { submitted_ran = true; });
        auto b = pool.submit([] {});
        fork_until(s, [&] { return submitted_ran.load() && b.done(); });
    });
    EXPECT_TRUE(submitted_ran);
}

TEST(ForkScope, a_task_that_a_worker_runs_in_place_of_waiting_is_no_part_of_its_call) {
    ThreadPoolExecutor pool(1);
    // The call is cancelled, and the task that is waited for in it forks: it does so for itself.
    auto outer = pool.submit([&] {
        std::stop_source source;
        EXPECT_THROW(fork_join(pool,
                               [&](ForkScope& s) {
                                   source.request_stop();
                                   EXPECT_TRUE(s.cancelled());
                                   auto inner = pool.submit(
                                       [&] { return fork_join(pool, [](ForkScope& t) { return fib(t, 10); }); });
                                   EXPECT_EQ(inner.result(), 55);
                                   fib(s, 2);
                               },
                               {.stop = source.get_token()}),
                     CancelledError);
    });
    outer.result();
}

TEST(ForkScope, a_coroutine_that_calls_it_is_told_that_it_blocks_its_loop) {
    if (wait::blocking_call_policy() != wait::BlockingCallPolicy::raise) GTEST_SKIP() << "the policy of a debug build";
    ThreadPoolExecutor pool(2);
    testing::TestLoop loop;
    std::string said;
    loop.spawn([&]() -> testing::Co<void> {
        try {
            fork_join(pool, [](ForkScope&) {});
        } catch (const UsageError& e) {
            said = e.what();
        }
        co_return;
    });
    loop.run();
    EXPECT_NE(said.find("would stop its event loop"), std::string::npos) << said;
}

} // namespace
} // namespace sennit::futures
