// What conformance/process_test.cpp has not: coroutines, and many threads that start at once.
#include <sennit/asyncio.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/threading.hpp>

#include "support/processes.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <sched.h>
#include <string>
#include <unistd.h>
#include <utility>
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

TEST(ProcessSignals, interrupt_is_what_a_terminal_sends) {
    Process p([] { ::pause(); });
    p.start();
    p.interrupt();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(p.exitcode(), -SIGINT);
}

TEST(CpuCount, is_that_of_the_machine_and_that_of_this_thread) {
    std::ifstream file("/sys/devices/system/cpu/online"); // "0-3,6"
    int online = 0;
    for (std::string part; std::getline(file, part, ',');) {
        const std::size_t dash = part.find('-');
        online += dash == std::string::npos ? 1 : std::stoi(part.substr(dash + 1)) - std::stoi(part) + 1;
    }
    if (online > 0) {
        EXPECT_EQ(cpu_count(), online);
    }
    int seen = 0;
    threading::Thread pinned([&seen] {
        cpu_set_t all{}, one{};
        ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
        for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
            if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
        ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
        seen = process_cpu_count();
    });
    pinned.start();
    pinned.join();
    EXPECT_EQ(seen, 1);
    EXPECT_LE(process_cpu_count(), cpu_count());
}

void greet(Connection there) {
    there.send(std::string("hello"));
    there.close();
}

// The program of Python's documentation, with the end that is given away: by value, as a function takes it there.
TEST(ProcessArguments, an_end_of_a_pipe_is_given_away_and_its_end_of_file_comes) {
    for (const char* const method : {"forkserver", "spawn", "fork"}) {
        SCOPED_TRACE(method);
        auto [mine, theirs] = Pipe();
        Process p({.context = method}, greet, std::move(theirs));
        p.start();
        EXPECT_EQ(mine.recv<std::string>(20s), "hello");
        EXPECT_THROW(mine.recv<std::string>(20s), EndOfFile) << "the end that was given away is open here";
        EXPECT_TRUE(p.join(20s));
        EXPECT_EQ(p.exitcode(), 0);
    }
}

TEST(ProcessArguments, that_can_be_copied_are_copied_by_each_call_of_run_before_the_start) {
    Value<int> sum(0);
    const auto add = [](std::string text, Value<int> to) { to.set(to.value() + static_cast<int>(text.size())); };
    Process p(add, std::string("four"), sum);
    p.run();
    p.run();
    EXPECT_EQ(sum.value(), 8);
    p.start();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(sum.value(), 12);
    EXPECT_THROW(p.run(), UsageError);
}

} // namespace
} // namespace sennit::multiprocessing
