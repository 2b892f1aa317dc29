#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>
#include <sennit/wait/agent.hpp>

#include "support/test_loop.hpp"

#include <gtest/gtest.h>
#include <thread>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

class BlockingCall : public ::testing::Test {
  protected:
    ~BlockingCall() override { wait::set_blocking_call_policy(before_); }
    const wait::BlockingCallPolicy before_ = wait::blocking_call_policy();
};

TEST_F(BlockingCall, in_a_coroutine_throws_under_the_strict_policy_and_leaves_the_lock_alone) {
    wait::set_blocking_call_policy(wait::BlockingCallPolicy::raise);
    sync::Lock lock;
    lock.acquire();
    std::string text;
    TestLoop loop;
    loop.spawn([&]() -> Co<> {
        try {
            lock.acquire();
        } catch (const UsageError& e) {
            text = e.what();
        }
        co_return;
    });
    loop.run();
    EXPECT_NE(text.find("Lock.acquire"), std::string::npos) << text;
    EXPECT_NE(text.find("co_await"), std::string::npos) << text;
    lock.release();
    EXPECT_TRUE(lock.acquire(false));
    lock.release();
}

TEST_F(BlockingCall, in_a_coroutine_is_reported_with_its_stack_and_still_waits) {
    wait::set_blocking_call_policy(wait::BlockingCallPolicy::warn);
    sync::Event ready;
    TestLoop loop;
    ::testing::internal::CaptureStderr();
    bool got = false;
    loop.spawn([&]() -> Co<> {
        got = ready.wait();
        co_return;
    });
    std::thread runner([&] { loop.run(); });
    testing::wait_until_parked(1);
    ready.set();
    runner.join();
    const std::string text = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(got);
    EXPECT_NE(text.find("blocking call Event.wait() in a coroutine"), std::string::npos) << text;
    EXPECT_NE(text.find("0x"), std::string::npos) << "no stack: " << text;
}

TEST_F(BlockingCall, that_need_not_wait_is_nobodys_business) {
    wait::set_blocking_call_policy(wait::BlockingCallPolicy::raise);
    sync::Lock lock;
    TestLoop loop;
    loop.spawn([&]() -> Co<> {
        lock.acquire();
        lock.release();
        co_return;
    });
    loop.run();
    EXPECT_EQ(loop.first_error(), nullptr);
}

TEST(AsyncTwin, outside_of_a_loop_says_what_to_do) {
    sync::Lock lock;
    lock.acquire();
    auto awaitable = lock.async_acquire();
    ASSERT_FALSE(awaitable.await_ready());
    try {
        awaitable.await_suspend(std::noop_coroutine());
        FAIL() << "it suspended a thread";
    } catch (const UsageError& e) {
        EXPECT_NE(std::string(e.what()).find("event loop"), std::string::npos) << e.what();
    }
    lock.release();
}

} // namespace
} // namespace sennit
