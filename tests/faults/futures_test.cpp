// F18, F19 and F33 for thread pools and futures. SENNIT_FAULT_TIER=1, 2, 3 sets their size.
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/sync.hpp>

#include "support/seed.hpp"
#include "support/shim.hpp"
#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <atomic>
#include <cerrno>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using futures::Future;
using futures::ThreadPoolExecutor;
using testing::AllocationFault;
using testing::by_tier;
using testing::Co;
using testing::Shim;
using testing::TestLoop;

// ---- F19: no thread

TEST(PoolFaults, the_first_thread_refused_is_an_error_of_submit_and_the_pool_is_as_before) {
    ThreadPoolExecutor pool(2);
    {
        Shim shim;
        shim.fail("pthread_create", EAGAIN);
        for (int i = 0; i < 3; ++i) {
            try {
                pool.submit([] { return 1; });
                ADD_FAILURE();
            } catch (const OSError& e) {
                EXPECT_EQ(e.code(), EAGAIN);
            }
        }
        EXPECT_EQ(pool.statistics().queued, 0U);
    }
    EXPECT_EQ(pool.submit([] { return 1; }).result(), 1);
}

TEST(PoolFaults, further_threads_refused_make_the_pool_smaller_until_there_is_room) {
    ThreadPoolExecutor pool(2);
    sync::Event begun, go;
    auto first = pool.submit([&] {
        begun.set();
        go.wait();
    });
    begun.wait();
    Future<int> second;
    {
        Shim shim;
        shim.fail("pthread_create", EAGAIN);
        second = pool.submit([] { return 2; });
        EXPECT_EQ(pool.statistics().threads, 1U);
        EXPECT_FALSE(second.done());
    }
    auto third = pool.submit([] { return 3; }); // starts the second thread
    EXPECT_EQ(third.result(), 3);
    EXPECT_EQ(second.result(), 2);
    go.set();
    first.result();
}

TEST(PoolFaults, a_thread_refused_while_all_workers_wait_breaks_the_pool_and_nobody_hangs) {
    ThreadPoolExecutor pool(1);
    Shim shim;
    auto outer = pool.submit([&] {
        auto inner = pool.submit([] { return 1; });
        shim.fail("pthread_create", EAGAIN);
        return inner.result(std::chrono::seconds(100)); // not run here: it could overrun the deadline
    });
    EXPECT_THROW(outer.result(), BrokenExecutor);
}

// ---- F18: no memory

// Calls f with the n-th allocation of this thread failing, for n = 1, 2, ... until it succeeds without. Each failure must be
// bad_alloc. Gives the number of failures.
int fail_each_allocation(const std::function<void()>& f) {
    for (int n = 1;; ++n) {
        try {
            const AllocationFault fault(n);
            f();
            if (!fault.injected()) return n - 1;
        } catch (const std::bad_alloc&) {
            continue;
        }
        if (n > 1000) {
            ADD_FAILURE() << "no end";
            return n;
        }
    }
}

TEST(PoolFaults, submit_without_memory_throws_and_changes_nothing) {
    ThreadPoolExecutor pool(1);
    pool.submit([] {}).result();
    std::atomic<int> ran{0};
    int given = 0;
    fail_each_allocation([&] {
        auto f = pool.submit([&ran, large = std::vector<int>(100)] { ++ran; });
        ++given;
        f.result();
    });
    pool.submit([] {}).result();
    EXPECT_EQ(ran, given);
    EXPECT_GE(given, 1);
}

TEST(PoolFaults, the_start_of_a_thread_without_memory_throws_and_the_pool_is_usable) {
    ThreadPoolExecutor pool(1);
    Future<int> f;
    for (int n = 1; n < 100; ++n) {
        try {
            const AllocationFault fault(n);
            f = pool.submit([] { return 1; });
            break;
        } catch (const std::bad_alloc&) {
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), ENOMEM);
        }
    }
    EXPECT_EQ(f.result(), 1);
}

TEST(PoolFaults, waits_maps_and_callbacks_without_memory_throw_and_leave_nothing_behind) {
    ThreadPoolExecutor pool(2);
    multiprocessing::pool::ThreadPool threads(2);
    pool.submit([] {}).result();
    threads.apply([] {});
    const std::vector<int> numbers{1, 2, 3, 4, 5};
    EXPECT_GT(fail_each_allocation([&] {
                  Future<int> a, b;
                  a.set_result(1);
                  const std::vector<Future<int>> both{a, b};
                  futures::wait(both, {.return_when = futures::FIRST_COMPLETED});
                  for (auto f : futures::as_completed(both)) break;
                  a.add_done_callback([big = std::vector<int>(10)](const Future<int>&) {});
                  b.add_done_callback([big = std::vector<int>(10)](const Future<int>&) {});
              }),
              3);
    EXPECT_GT(fail_each_allocation([&] {
                  int sum = 0;
                  for (int i : pool.map([](int x) { return x; }, numbers, {.buffersize = 2})) sum += i;
                  ASSERT_EQ(sum, 15);
              }),
              3);
    EXPECT_GT(fail_each_allocation([&] { ASSERT_EQ(threads.map([](int x) { return x; }, numbers, 2), numbers); }), 3);
    EXPECT_GT(fail_each_allocation([&] {
                  auto results = threads.imap_unordered([](int x) { return x; }, numbers);
                  int sum = 0;
                  while (auto i = results.next()) sum += *i;
                  ASSERT_EQ(sum, 15);
              }),
              3);
}

// ---- F33: cancelled while it waits

TEST(PoolFaults, coroutines_cancelled_at_any_await_of_a_future_leave_all_results_and_frames_in_order) {
    const auto tasks = by_tier(300, 3'000, 10'000);
    testing::Random random(testing::seed());
    ThreadPoolExecutor pool(2);
    TestLoop loop;
    loop.start();
    std::atomic<std::int64_t> ran{0}, submitted{0}, ended{0};
    std::vector<testing::TestTask*> all;
    for (std::int64_t i = 0; i < tasks; ++i) {
        all.push_back(&loop.spawn([&]() -> Co<void> {
            struct Count {
                std::atomic<std::int64_t>& n;
                ~Count() { ++n; }
            } count{ended};
            for (int k = 0; k < 5; ++k) {
                auto f = pool.submit([&] {
                    ++ran;
                    return 1;
                });
                ++submitted;
                co_await f;
            }
        }));
        if (random.percent(70))
            all[static_cast<std::size_t>(random.below(static_cast<std::uint64_t>(i + 1)))]->cancel();
    }
    for (auto* t : all) t->done().wait();
    loop.join();
    pool.shutdown();
    EXPECT_EQ(ended, tasks);
    EXPECT_EQ(ran, submitted);
}

} // namespace
} // namespace sennit
