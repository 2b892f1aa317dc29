#include <sennit/threading/timer.hpp>

#include <sennit/threading.hpp>

#include "support/test_loop.hpp"

#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <string>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using threading::Event;
using threading::Timer;

TEST(Timer, calls_its_function_once_not_before_the_interval) {
    std::string result;
    const auto begin = std::chrono::steady_clock::now();
    Timer t(
        20ms, [&](std::string a, int b) { result = a + std::to_string(b); }, "n", 1);
    EXPECT_FALSE(t.is_alive());
    t.start();
    EXPECT_TRUE(t.join());
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
    EXPECT_EQ(result, "n1");
    EXPECT_THROW(t.start(), UsageError);
}

TEST(Timer, two_share_nothing) { // test_init_immutable_default_args
    int calls = 0;
    Timer a(0s, [&] { ++calls; });
    a.start();
    a.join();
    Timer b(0s, [&] { ++calls; });
    b.start();
    b.join();
    EXPECT_EQ(calls, 2);
}

TEST(Timer, interval_of_zero_or_less_is_at_once) {
    int calls = 0;
    Timer zero(0s, [&] { ++calls; });
    Timer negative(-1h, [&] { ++calls; });
    zero.start();
    negative.start();
    EXPECT_TRUE(zero.join());
    EXPECT_TRUE(negative.join());
    EXPECT_EQ(calls, 2);
}

TEST(Timer, cancelled_before_start_never_calls) {
    bool called = false;
    Timer t(0s, [&] { called = true; });
    EXPECT_TRUE(t.cancel());
    EXPECT_TRUE(t.cancel());
    t.start();
    EXPECT_TRUE(t.join());
    EXPECT_FALSE(called);
}

TEST(Timer, cancelled_in_time_never_calls_and_ends_at_once) {
    bool called = false;
    Timer t(std::chrono::hours::max(), [&] { called = true; });
    t.start();
    testing::wait_until_parked(1);
    EXPECT_TRUE(t.cancel());
    EXPECT_TRUE(t.join());
    EXPECT_FALSE(called);
}

TEST(Timer, cancelled_after_it_has_called_says_so) {
    int calls = 0;
    Timer t(0s, [&] { ++calls; });
    t.start();
    t.join();
    EXPECT_FALSE(t.cancel());
    EXPECT_EQ(calls, 1);
}

TEST(Timer, cancelled_by_its_own_function_says_that_it_is_too_late) {
    bool in_time = true;
    std::unique_ptr<Timer> t;
    t = std::make_unique<Timer>(0s, [&] { in_time = t->cancel(); });
    t->start();
    t->join();
    EXPECT_FALSE(in_time);
}

TEST(Timer, race_of_firing_and_cancelling_has_one_winner) {
    int fired_and_cancelled = 0, neither = 0;
    for (int i = 0; i < 300; ++i) {
        atomic<bool> called{false};
        Timer t(std::chrono::microseconds(i % 50), [&] { called.store(true); });
        t.start();
        const bool cancelled = t.cancel();
        t.join();
        if (cancelled && called.load()) ++fired_and_cancelled;
        if (!cancelled && !called.load()) ++neither;
    }
    EXPECT_EQ(fired_and_cancelled, 0);
    EXPECT_EQ(neither, 0);
}

TEST(Timer, takes_options_and_is_a_thread) {
    Timer t({.name = "alarm", .daemon = true}, 1h, [] {});
    EXPECT_EQ(t.name(), "alarm");
    EXPECT_TRUE(t.daemon());
    t.start();
    EXPECT_TRUE(t.is_alive());
    t.cancel();
    t.join();
}

TEST(Timer, destructor_waits_till_the_function_has_run) {
    bool called = false;
    {
        Timer t(5ms, [&] { called = true; });
        t.start();
    }
    EXPECT_TRUE(called);
}

TEST(Timer, interval_that_is_no_number_is_refused) {
    EXPECT_THROW(Timer(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN()), [] {}), UsageError);
}

TEST(Timer, function_that_throws_is_reported) {
    std::string told;
    threading::excepthook = [&](const threading::ExceptHookArgs& a) { told = a.message; };
    Timer t(0s, [] { throw std::runtime_error("too late"); });
    t.start();
    t.join();
    threading::excepthook = nullptr;
    EXPECT_EQ(told, "too late");
}

TEST(Timer, function_ends_with_the_thread_also_when_cancelled) {
    auto held = std::make_shared<int>(0);
    Timer t(1h, [held] {});
    t.start();
    t.cancel();
    t.join();
    EXPECT_EQ(held.use_count(), 1);
}

} // namespace
} // namespace sennit
