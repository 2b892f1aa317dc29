#include <sennit/loop/event_loop.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/loop/helper_threads.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/sync/semaphore.hpp>
#include <sennit/wait/registry.hpp>

#include <atomic>
#include <csignal>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::loop {
namespace {

using namespace std::chrono_literals;

TEST(EventLoop, callbacks_run_in_the_order_of_the_calls_and_new_ones_in_the_next_turn) {
    EventLoop loop;
    std::string order;
    loop.call_soon([&] {
        order += 'a';
        loop.call_soon([&] {
            order += 'd';
            loop.stop();
        });
    });
    loop.call_soon([&](char c) { order += c; }, 'b');
    loop.call_soon([&] { order += 'c'; });
    loop.run_forever();
    EXPECT_EQ(order, "abcd");
}

TEST(EventLoop, a_cancelled_callback_does_not_run) {
    EventLoop loop;
    int ran = 0;
    Handle soon = loop.call_soon([&] { ++ran; });
    TimerHandle later = loop.call_later(0s, [&] { ++ran; });
    soon.cancel();
    later.cancel();
    EXPECT_TRUE(soon.cancelled());
    EXPECT_TRUE(later.cancelled());
    loop.call_later(1ms, [&] { loop.stop(); });
    loop.run_forever();
    EXPECT_EQ(ran, 0);
}

TEST(EventLoop, timers_come_in_the_order_of_their_times_and_equal_ones_in_the_order_of_the_calls) {
    EventLoop loop;
    std::string order;
    const auto now = EventLoop::time();
    loop.call_at(now + 3ms, [&] {
        order += 'e';
        loop.stop();
    });
    loop.call_at(now + 2ms, [&] { order += 'c'; });
    loop.call_at(now + 1ms, [&] { order += 'b'; });
    loop.call_at(now + 2ms, [&] { order += 'd'; });
    const TimerHandle first = loop.call_later(-1s, [&] { order += 'a'; });
    EXPECT_LE(first.when(), now);
    loop.run_forever();
    EXPECT_EQ(order, "abcde");
    EXPECT_GE(EventLoop::time(), now + 3ms);
}

TEST(EventLoop, stop_before_run_forever_makes_one_turn) {
    EventLoop loop;
    int turns = 0;
    loop.call_soon([&] {
        ++turns;
        loop.call_soon([&] { ++turns; });
    });
    loop.stop();
    loop.run_forever();
    EXPECT_EQ(turns, 1);
    loop.stop();
    loop.run_forever();
    EXPECT_EQ(turns, 2);
}

TEST(EventLoop, callbacks_of_many_threads_arrive_each_thread_in_its_order) {
    constexpr int threads = 4, each = 2'000;
    EventLoop loop;
    std::vector<std::vector<int>> came(threads);
    int left = threads * each;
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&, t] {
            for (int i = 0; i < each; ++i)
                loop.call_soon_threadsafe([&, t, i] {
                    came[static_cast<std::size_t>(t)].push_back(i);
                    if (--left == 0) loop.stop();
                });
        });
    loop.run_forever();
    for (auto& t : all) t.join();
    for (const auto& list : came) {
        ASSERT_EQ(list.size(), static_cast<std::size_t>(each));
        EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
    }
}

TEST(EventLoop, of_all_who_put_something_in_while_it_sleeps_one_owes_the_wake) {
    Inbox inbox;
    Ready first, second, third;
    EXPECT_FALSE(inbox.put(first)) << "it runs: it comes by itself";
    EXPECT_FALSE(inbox.begin_sleep()) << "there is something to take";
    ReadyList list;
    inbox.take(list);
    EXPECT_EQ(list.pop_front(), &first);
    EXPECT_TRUE(inbox.begin_sleep());
    EXPECT_TRUE(inbox.put(first));
    EXPECT_FALSE(inbox.put(second));
    EXPECT_FALSE(inbox.put(third));
    EXPECT_TRUE(inbox.end_sleep()) << "a wake is on its way";
    inbox.take(list);
    for (Ready* one : {&first, &second, &third}) EXPECT_EQ(list.pop_front(), one);
}

TEST(EventLoop, a_thread_that_sleeps_in_its_loop_is_in_the_list_of_agents) {
    EventLoop loop;
    std::thread thread([&] { loop.run_forever(); });
    for (;;) {
        bool seen = false;
        for (const auto& s : wait::Registry::snapshot())
            seen |= s.site && s.object == &loop && s.parked && std::string(s.site->call) == "run_forever";
        if (seen) break;
        std::this_thread::yield();
    }
    loop.stop(); // from another thread
    thread.join();
}

TEST(EventLoop, what_a_callback_throws_goes_to_the_exception_handler_and_the_loop_goes_on) {
    EventLoop loop;
    std::vector<std::string> told;
    loop.set_exception_handler([&](EventLoop& it, const ExceptionContext& context) {
        EXPECT_EQ(&it, &loop);
        EXPECT_NE(context.source.find("callback"), std::string::npos);
        try {
            std::rethrow_exception(context.exception);
        } catch (const std::exception& e) {
            told.emplace_back(e.what());
        }
    });
    loop.call_soon([] { throw std::runtime_error("first"); });
    loop.call_later(0s, [] { throw std::runtime_error("second"); });
    loop.call_later(1ms, [&] { loop.stop(); });
    loop.run_forever();
    EXPECT_EQ(told, (std::vector<std::string>{"first", "second"}));
}

TEST(EventLoop, a_reader_is_called_as_long_as_there_is_something_to_read) {
    EventLoop loop;
    os::Pipe pipe = os::make_pipe();
    os::set_nonblocking(pipe.read_end.get(), true);
    std::string got;
    loop.add_reader(pipe.read_end.get(), [&] {
        char c;
        if (::read(pipe.read_end.get(), &c, 1) == 1) got += c;
        if (got.size() == 3) {
            EXPECT_TRUE(loop.remove_reader(pipe.read_end.get()));
            loop.stop();
        }
    });
    loop.call_soon([&] { EXPECT_EQ(::write(pipe.write_end.get(), "abc", 3), 3); });
    loop.run_forever();
    EXPECT_EQ(got, "abc");
    EXPECT_FALSE(loop.remove_reader(pipe.read_end.get()));
    // In place of the first; and what was put in place of it, once it is removed, too.
    int first = 0, second = 0;
    loop.add_writer(pipe.write_end.get(), [&] { ++first; });
    loop.add_writer(pipe.write_end.get(), [&] {
        if (++second == 2) loop.stop();
    });
    loop.run_forever();
    EXPECT_EQ(first, 0);
    EXPECT_EQ(second, 2);
    EXPECT_TRUE(loop.remove_writer(pipe.write_end.get()));
}

TEST(EventLoop, a_burst_of_signals_calls_the_handler_at_least_once_and_never_within_itself) {
    EventLoop loop;
    int calls = 0, inside = 0;
    loop.add_signal_handler(
        SIGUSR1,
        [&](int add) {
            EXPECT_EQ(inside++, 0);
            calls += add;
            if (calls < 50) ::raise(SIGUSR1);
            --inside;
            if (calls == 50) loop.stop();
        },
        1);
    loop.call_soon([] {
        for (int i = 0; i < 10'000; ++i) ::raise(SIGUSR1);
    });
    loop.run_forever();
    EXPECT_EQ(calls, 50);
    EventLoop other;
    EXPECT_THROW(other.add_signal_handler(SIGUSR1, [] {}), UsageError);
    EXPECT_THROW(loop.add_signal_handler(SIGKILL, [] {}), OSError);
    EXPECT_THROW(loop.add_signal_handler(1000, [] {}), UsageError);
    EXPECT_TRUE(loop.remove_signal_handler(SIGUSR1));
    EXPECT_FALSE(loop.remove_signal_handler(SIGUSR1));
}

TEST(EventLoop, signals_reach_a_loop_that_sleeps_from_other_threads) {
    EventLoop loop;
    int calls = 0;
    loop.add_signal_handler(SIGUSR2, [&] {
        if (++calls == 3)
            loop.stop();
        else
            ::kill(::getpid(), SIGUSR2);
    });
    std::thread thread([] { ::kill(::getpid(), SIGUSR2); });
    loop.run_forever();
    thread.join();
    EXPECT_EQ(calls, 3);
}

TEST(EventLoop, run_in_executor_runs_elsewhere_and_gives_the_result) {
    EventLoop loop;
    const auto here = std::this_thread::get_id();
    auto future = loop.run_in_executor(
        nullptr, [here](int x) { return std::this_thread::get_id() != here ? x : -1; }, 7);
    EXPECT_EQ(future.result(), 7);
    HelperThreads own(1);
    loop.set_default_executor(own);
    EXPECT_EQ(&loop.default_executor(), &own);
    EXPECT_THROW(loop.run_in_executor(own, [] { throw std::runtime_error("there"); }).result(), std::runtime_error);
}

TEST(EventLoop, misuse_is_told) {
    EventLoop loop;
    EXPECT_THROW(EventLoop::running(), UsageError);
    loop.call_soon([&] {
        EXPECT_EQ(&EventLoop::running(), &loop);
        EXPECT_TRUE(loop.is_running());
        EXPECT_THROW(loop.run_forever(), UsageError);
        EXPECT_THROW(loop.close(), UsageError);
        EventLoop second;
        EXPECT_THROW(second.run_forever(), UsageError);
        loop.set_debug(true);
        std::thread([&] { EXPECT_THROW(loop.call_soon([] {}), UsageError); }).join();
        loop.stop();
    });
    loop.run_forever();
    EXPECT_EQ(EventLoop::running_or_null(), nullptr);
    loop.close();
    EXPECT_TRUE(loop.is_closed());
    loop.close();
    EXPECT_THROW(loop.call_soon([] {}), UsageError);
    EXPECT_THROW(loop.call_later(1s, [] {}), UsageError);
    EXPECT_THROW(loop.run_forever(), UsageError);
}

TEST(EventLoop, close_drops_what_has_not_run) {
    auto kept = std::make_shared<int>(1);
    {
        EventLoop loop;
        os::Pipe pipe = os::make_pipe();
        loop.call_soon([kept] { ++*kept; });
        loop.call_later(0s, [kept] { ++*kept; });
        loop.call_later(1h, [kept] { ++*kept; });
        loop.add_reader(pipe.read_end.get(), [kept] { ++*kept; });
        loop.add_signal_handler(SIGUSR1, [kept] { ++*kept; });
        EXPECT_GT(kept.use_count(), 5);
        loop.close();
        EXPECT_EQ(kept.use_count(), 1);
    }
    EXPECT_EQ(*kept, 1);
}

TEST(EventLoop, a_seed_shuffles_what_is_ready_and_nothing_is_lost) {
    EventLoop loop;
    loop.shuffle_ready(42);
    std::string order;
    for (char c = 'a'; c <= 'z'; ++c) loop.call_soon([&, c] { order += c; });
    loop.stop();
    loop.run_forever();
    EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, "abcdefghijklmnopqrstuvwxyz");
}

TEST(EventLoop, a_slow_callback_is_named_in_debug_mode) {
    EventLoop loop;
    loop.set_debug(true);
    loop.slow_callback_duration = 0ns;
    struct TheSlowOne {
        void operator()() const noexcept {}
    };
    loop.call_soon(TheSlowOne{});
    loop.stop();
    testing::internal::CaptureStderr();
    loop.run_forever();
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("TheSlowOne"), std::string::npos) << said;
}

TEST(EventLoop, a_call_that_blocks_in_a_plain_callback_is_reported_in_debug_mode) {
    const auto before = wait::blocking_call_policy();
    wait::set_blocking_call_policy(wait::BlockingCallPolicy::raise);
    EventLoop loop;
    std::vector<std::string> told;
    loop.set_exception_handler([&](EventLoop&, const ExceptionContext& context) {
        try {
            std::rethrow_exception(context.exception);
        } catch (const UsageError& e) {
            told.emplace_back(e.what());
        }
    });
    sync::Semaphore none(0), one(1);
    struct Blocks {
        sync::Semaphore& semaphore;
        void operator()() const { semaphore.acquire(true, 1ms); }
    };
    loop.call_soon(Blocks{none}); // without the mode it just blocks
    loop.call_soon([&] { loop.set_debug(true); });
    loop.call_soon(Blocks{one}); // need not wait
    loop.call_soon(Blocks{none});
    loop.call_later(0s, Blocks{none});
    loop.call_later(1us, [&] {
        std::thread([&] { none.acquire(true, 1ms); }).join(); // another thread is no business of the loop's
        loop.stop();
    });
    loop.run_forever();
    none.acquire(true, 1ms); // nor is who runs no callback any more
    wait::set_blocking_call_policy(wait::BlockingCallPolicy::warn);
    loop.call_soon(Blocks{none});
    loop.stop();
    testing::internal::CaptureStderr();
    loop.run_forever();
    const std::string said = testing::internal::GetCapturedStderr();
    wait::set_blocking_call_policy(before);
    ASSERT_EQ(told.size(), 2U);
    EXPECT_NE(told[0].find("Semaphore.acquire() in the callback"), std::string::npos) << told[0];
    EXPECT_NE(told[0].find("Blocks"), std::string::npos) << told[0];
    EXPECT_NE(said.find("Semaphore.acquire() in the callback"), std::string::npos) << said;
}

TEST(EventLoop, the_child_of_a_fork_makes_a_loop_of_its_own) {
    EventLoop loop;
    int status = -1;
    loop.call_soon([&] {
        const pid_t pid = ::fork();
        if (pid == 0) {
            int right = EventLoop::running_or_null() == nullptr ? 1 : 0;
            try {
                loop.run_forever();
            } catch (const UsageError&) {
                ++right;
            }
            EventLoop own;
            own.call_later(1ms, [&] {
                ++right;
                own.stop();
            });
            own.run_forever();
            ::_exit(right);
        }
        ::waitpid(pid, &status, 0);
        loop.stop();
    });
    loop.run_forever();
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 3);
}

} // namespace
} // namespace sennit::loop
