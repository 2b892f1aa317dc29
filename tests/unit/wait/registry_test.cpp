#include <sennit/wait/registry.hpp>

#include <sennit/sync.hpp>

#include "support/test_loop.hpp"
#include "support/virtual_clock.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

TEST(Registry, tells_who_waits_for_what_and_who_holds_it) {
    wait::current_agent().set_name("the holder");
    sync::Lock lock;
    lock.acquire();
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> { auto guard = co_await lock.async_scoped_lock(); }, "the waiter");
    testing::wait_until_parked(task);
    bool found = false;
    for (const auto& a : wait::Registry::snapshot()) {
        if (a.agent != &task.agent()) continue;
        found = true;
        EXPECT_STREQ(a.name, "the waiter");
        EXPECT_STREQ(a.site->object, "Lock");
        EXPECT_EQ(a.object, &lock);
        EXPECT_EQ(a.holder, wait::current_agent().id());
        EXPECT_FALSE(a.has_deadline);
        EXPECT_GT(a.since_ns, 0);
    }
    EXPECT_TRUE(found);
    const std::string text = wait::Registry::describe();
    EXPECT_NE(text.find("coroutine"), std::string::npos) << text;
    EXPECT_NE(text.find("waits in Lock.acquire"), std::string::npos) << text;
    EXPECT_NE(text.find("\"the holder\""), std::string::npos) << text;
    EXPECT_EQ(text.find("DEADLOCK"), std::string::npos) << text;
    lock.release();
    loop.join();
}

TEST(Registry, tells_two_waits_of_one_agent_apart_though_the_clock_stands_still) {
    testing::VirtualClock clock;
    sync::Semaphore permits(0);
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> {
        co_await permits.async_acquire();
        co_await permits.async_acquire();
    });
    testing::wait_until_parked(task, &permits);
    const auto first = task.snapshot();
    permits.release();
    wait::Agent::Snapshot second;
    do { // the first one may still be on its way out
        testing::wait_until_parked(task, &permits);
        second = task.snapshot();
    } while (second.wait == first.wait);
    EXPECT_EQ(second.since_ns, first.since_ns);
    EXPECT_EQ(second.object, first.object);
    permits.release();
    loop.join();
}

TEST(Registry, proves_a_deadlock_of_two_and_tells_nothing_before) {
    sync::Lock a, b;
    sync::Event both;
    TestLoop loop;
    loop.start();
    std::thread thread([&] {
        a.acquire();
        both.wait();
        b.acquire();
        b.release();
        a.release();
    });
    auto& task = loop.spawn([&]() -> Co<> {
        co_await b.async_acquire();
        co_await both.async_wait();
        co_await a.async_acquire(); // cancelled below
    });
    testing::wait_until_parked(2);
    EXPECT_TRUE(wait::Registry::find_deadlock().empty());
    both.set();
    const auto cycle_found = [&] { return !wait::Registry::find_deadlock().empty(); };
    const Deadline limit(30s);
    while (!cycle_found() && !limit.has_passed()) std::this_thread::yield();
    EXPECT_EQ(wait::Registry::find_deadlock().size(), 2U);
    EXPECT_NE(wait::Registry::describe().find("DEADLOCK of 2 agents"), std::string::npos);
    task.cancel();
    EXPECT_TRUE(task.done().wait(30s));
    EXPECT_TRUE(wait::Registry::find_deadlock().empty());
    b.release(); // the cancelled coroutine still held it
    thread.join();
    loop.join();
}

TEST(Registry, a_wait_with_a_deadline_is_no_deadlock) {
    sync::Lock lock;
    lock.acquire();
    TestLoop loop;
    loop.start();
    bool got = true;
    std::thread thread([&] {
        sync::Lock own;
        own.acquire();
        got = own.acquire(true, 50ms);
    });
    thread.join();
    EXPECT_FALSE(got);
    EXPECT_TRUE(wait::Registry::find_deadlock().empty());
    lock.release();
    loop.join();
}

TEST(Registry, in_the_child_of_a_fork_knows_only_who_forked) {
    TestLoop loop;
    loop.start();
    sync::Event end;
    loop.spawn([&]() -> Co<> { co_await end.async_wait(); });
    testing::wait_until_parked(1);
    EXPECT_GE(wait::Registry::snapshot().size(), 1U);
    wait::current_agent();
    const pid_t child = ::fork();
    if (child == 0) {
        sync::Lock lock; // the library works in the child
        lock.acquire();
        ::_exit(wait::Registry::snapshot().size() == 1 && !lock.acquire(true, 1ms) ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    end.set();
    loop.join();
}

} // namespace
} // namespace sennit
