// What conformance/process_test.cpp has not: coroutines, and many threads that start at once.
#include <sennit/asyncio.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/threading.hpp>

#include "support/processes.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <gtest/gtest.h>
#include <unistd.h>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

asyncio::Coro<int> join_in_a_coroutine() {
    Process p([] { ::pause(); });
    p.start();
    if (co_await p.async_join(1ms)) co_return -1;
    if (co_await p.async_join(0ms)) co_return -2;
    p.terminate();
    if (!co_await p.async_join(20s)) co_return -3;
    if (!co_await p.async_join()) co_return -4;
    const int code = p.exitcode().value_or(-99);
    p.close();
    co_return code;
}

TEST(ProcessJoin, suspends_a_coroutine_till_the_end_or_the_deadline) {
    EXPECT_EQ(asyncio::run(join_in_a_coroutine()), -SIGTERM);
}

TEST(ProcessStart, by_many_threads_at_once_gives_each_its_own) {
    std::vector<int> codes(8, -1);
    {
        std::vector<threading::Thread> threads;
        for (int i = 0; i < 8; ++i)
            threads.emplace_back([&codes, i] {
                Process p([](int n) { std::exit(n); }, i + 1);
                p.start();
                p.join(30s);
                codes[static_cast<std::size_t>(i)] = p.exitcode().value_or(-99);
            });
        for (auto& t : threads) t.start();
        for (auto& t : threads) t.join();
    }
    EXPECT_EQ(codes, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(ProcessStart, goes_on_when_the_thread_that_began_the_zygote_has_ended) {
    detail::stop_forkserver();
    Process p([] { ::pause(); });
    threading::Thread first([&p] { p.start(); });
    first.start();
    first.join();
    EXPECT_FALSE(p.join(20ms)) << "a parent-death signal would follow the thread";
    Process q([] {});
    q.start();
    EXPECT_TRUE(q.join(20s));
    EXPECT_TRUE(p.is_alive());
    p.kill();
    EXPECT_TRUE(p.join(20s));
}

} // namespace
} // namespace sennit::multiprocessing
