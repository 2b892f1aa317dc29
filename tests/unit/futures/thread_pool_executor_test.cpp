#include <sennit/futures.hpp>
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include "support/test_loop.hpp"
#include "support/virtual_clock.hpp"

#include <algorithm>
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using futures::Future;
using futures::ThreadPoolExecutor;

TEST(ThreadPoolExecutor, runs_what_is_submitted_with_copies_of_its_arguments) {
    ThreadPoolExecutor pool(2);
    EXPECT_EQ(pool.submit([](int a, int b) { return a * b; }, 6, 7).result(), 42);
    int n = 1;
    pool.submit([](int& x) { ++x; }, std::ref(n)).result();
    EXPECT_EQ(n, 2);
    auto p = std::make_unique<int>(5);
    EXPECT_EQ(pool.submit([](std::unique_ptr<int> q) { return *q; }, std::move(p)).result(), 5);
}

TEST(ThreadPoolExecutor, runs_many) {
    ThreadPoolExecutor pool(3);
    std::atomic<int> sum{0};
    std::vector<Future<int>> all;
    for (int i = 0; i < 20'000; ++i)
        all.push_back(pool.submit([&sum, i] {
            sum.fetch_add(1, std::memory_order_relaxed);
            return i;
        }));
    for (int i = 0; i < 20'000; ++i) ASSERT_EQ(all[static_cast<std::size_t>(i)].result(), i);
    EXPECT_EQ(sum.load(), 20'000);
}

TEST(ThreadPoolExecutor, a_worker_knows_its_pool) {
    ThreadPoolExecutor pool(1), other(1);
    EXPECT_FALSE(pool.is_worker());
    EXPECT_TRUE(pool.submit([&] { return pool.is_worker() && !other.is_worker(); }).result());
    EXPECT_EQ(pool.max_workers(), 1U);
}

// A task of one's own, without a future: what fork-join is made of.
struct OwnTask final : sync::Task {
    std::atomic<int>* ran;
    sync::Event done;
    explicit OwnTask(std::atomic<int>& r) : ran(&r) {}
    void run() noexcept override {
        ran->fetch_add(1);
        done.set();
    }
    void cancel_and_drop() noexcept override { ran->fetch_add(1000); }
    void fail_and_drop(const std::exception_ptr&) noexcept override { ran->fetch_add(1'000'000); }
};

TEST(ThreadPoolExecutor, runs_intrusive_tasks_and_hands_back_those_that_never_run) {
    std::atomic<int> ran{0};
    OwnTask first(ran), second(ran), late(ran);
    ThreadPoolExecutor pool(1);
    pool.enqueue(first);
    first.done.wait();
    EXPECT_EQ(ran, 1);
    sync::Event go, begun;
    auto blocker = pool.submit([&] {
        begun.set();
        go.wait();
    });
    begun.wait();
    pool.enqueue(second);
    pool.shutdown({.wait = false, .cancel_futures = true});
    EXPECT_EQ(ran, 1001);
    EXPECT_THROW(pool.enqueue(late), UsageError);
    EXPECT_EQ(ran, 1001);
    go.set();
    blocker.result();
}

TEST(ThreadPoolExecutor, a_task_that_waits_for_another_one_of_a_pool_of_one_runs_it) {
    ThreadPoolExecutor pool(1);
    auto outer = pool.submit([&] { return pool.submit([] { return 5; }).result() + 1; });
    EXPECT_EQ(outer.result(), 6);
}

TEST(ThreadPoolExecutor, may_die_in_one_of_its_own_tasks) {
    auto pool = std::make_shared<ThreadPoolExecutor>(2);
    sync::Event go;
    auto last = pool->submit([p = pool, &go]() mutable {
        go.wait();
        p.reset();
        return 3;
    });
    pool.reset();
    go.set();
    EXPECT_EQ(last.result(), 3);
}

TEST(ThreadPoolExecutor, tells_the_excepthook_of_errors_that_nobody_can_catch) {
    std::vector<std::string> told;
    sync::Event go;
    threading::excepthook = [&](const threading::ExceptHookArgs& a) { told.push_back(a.exc_type + " " + a.message); };
    {
        ThreadPoolExecutor pool(1); // so in this order
        auto watched = pool.submit([&] { go.wait(); });
        watched.add_done_callback([](const Future<void>&) { throw std::logic_error("bad callback"); });
        pool.submit([] { throw std::runtime_error("nobody looks"); });
        go.set();
    }
    threading::excepthook = nullptr;
    ASSERT_EQ(told.size(), 2U);
    EXPECT_EQ(told[0], "std::logic_error in a done-callback of a future: bad callback");
    EXPECT_EQ(told[1], "std::runtime_error in a task whose future nobody asked for its result: nobody looks");
}

TEST(ThreadPoolExecutor, its_end_says_after_5_s_which_thread_it_waits_for) { // P2
    testing::VirtualClock clock;
    sync::Event go;
    ::testing::internal::CaptureStderr();
    std::thread time;
    {
        ThreadPoolExecutor pool(1, {.thread_name_prefix = "slow"});
        sync::Event begun;
        pool.submit([&] {
            begun.set();
            go.wait();
        });
        begun.wait();
        time = std::thread([&] {
            const auto wait_for_parked = [](int n) {
                const auto waits_on = [](const wait::Agent::Snapshot& a) {
                    return a.parked && !a.has_deadline && a.site && std::string_view(a.site->object) == "Event";
                };
                while (std::ranges::count_if(wait::Registry::snapshot(), waits_on) < n) std::this_thread::yield();
            };
            wait_for_parked(1);                                                  // the worker
            while (!clock.advance_to_next_deadline()) std::this_thread::yield(); // the destructor waits with one
            wait_for_parked(2);                                                  // and then without
            go.set();
        });
    }
    const std::string said = ::testing::internal::GetCapturedStderr();
    time.join();
    EXPECT_THAT(said,
                ::testing::HasSubstr("sennit: the end of ThreadPoolExecutor \"slow\" has waited for 5 s for its"));
    EXPECT_THAT(said, ::testing::HasSubstr(" waits in Event.wait for "));
}

} // namespace
} // namespace sennit
