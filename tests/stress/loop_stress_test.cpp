// What other threads may do to an event loop, all at once.
#include "support/on_both_pollers.hpp"
#include "support/tier.hpp"

#include <sennit/asyncio.hpp>
#include <sennit/queue.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

/// f(number) on `n` threads, which end before this does.
class Crowd {
  public:
    template <class F>
    Crowd(int n, F f) {
        for (int i = 0; i < n; ++i) threads_.emplace_back([f, i] { f(i); });
    }
    ~Crowd() { join(); }
    void join() {
        for (auto& t : threads_)
            if (t.joinable()) t.join();
    }

  private:
    std::vector<std::thread> threads_;
};

TEST(LoopStress, callbacks_of_many_threads_all_run_each_threads_in_its_order) {
    const auto calls = static_cast<int>(testing::by_tier(2'000, 50'000, 500'000));
    EventLoop loop;
    std::vector<int> last(4, -1); // the loop's thread alone
    int ran = 0, out_of_order = 0, threads_done = 0;
    {
        Crowd crowd(4, [&](int me) {
            for (int i = 0; i < calls; ++i) {
                auto handle = loop.call_soon_threadsafe([&, me, i] {
                    out_of_order += last[static_cast<std::size_t>(me)] >= i ? 1 : 0;
                    last[static_cast<std::size_t>(me)] = i;
                    ++ran;
                });
                if (i % 97 == 0) handle.cancel(); // it may have run
            }
            loop.call_soon_threadsafe([&] {
                if (++threads_done == 4) loop.stop();
            });
        });
        loop.run_forever();
    }
    EXPECT_EQ(out_of_order, 0);
    EXPECT_GE(ran, 4 * (calls - calls / 97 - 1));
    EXPECT_LE(ran, 4 * calls);
}

TEST(LoopStress, coroutines_from_other_threads_give_their_results_or_are_cancelled) {
    const auto calls = static_cast<int>(testing::by_tier(300, 10'000, 100'000));
    Runner runner;
    EventLoop& loop = runner.get_loop();
    std::atomic<int> right{0}, cancelled{0}, threads_left{3};
    std::atomic<int> inside{0};
    Event over;
    Crowd crowd(3, [&](int me) {
        for (int i = 0; i < calls; ++i) {
            auto future = run_coroutine_threadsafe(
                [&, i]() -> Coro<int> {
                    const struct In {
                        std::atomic<int>& n;
                        explicit In(std::atomic<int>& in) : n(in) { ++n; }
                        ~In() { --n; }
                    } in(inside);
                    co_await sleep(i % 5 == 0 ? 50us : 0us);
                    co_return i;
                },
                loop);
            if ((i + me) % 4 == 0) future.cancel();
            try {
                right += future.result() == i ? 1 : 0;
            } catch (const CancelledError&) {
                ++cancelled;
            }
        }
        if (--threads_left == 0) over.set();
    });
    runner.run([&]() -> Coro<> { co_await over.async_wait(); });
    crowd.join();
    EXPECT_EQ(right + cancelled, 3 * calls);
    EXPECT_GT(right, 0);
    runner.run([&]() -> Coro<> {
        while (inside > 0) co_await sleep(0s); // those whose future was cancelled end in their own time
    });
}

TEST(LoopStress, stop_and_close_while_others_call) {
    const auto rounds = static_cast<int>(testing::by_tier(60, 2'000, 20'000));
    for (int round = 0; round < rounds; ++round) {
        std::atomic<int> begun{0}, refused{0}, dropped{0};
        {
            EventLoop loop;
            Crowd crowd(3, [&](int me) {
                ++begun;
                const std::shared_ptr<void> witness(nullptr, [&](void*) { ++dropped; });
                try {
                    for (int i = 0;; ++i) {
                        loop.call_soon_threadsafe([witness] {});
                        if (me == 0 && i == 20) loop.stop();
                        if (i > 200) std::this_thread::yield();
                    }
                } catch (const UsageError&) {
                    ++refused;
                }
            });
            while (begun < 3) std::this_thread::yield();
            loop.run_forever();
            loop.close();
            crowd.join();
        }
        ASSERT_EQ(refused, 3);
        ASSERT_EQ(dropped, 3); // whatever was put in was destroyed
    }
}

TEST(LoopStress, signals_that_come_while_handlers_come_and_go) {
    const auto rounds = static_cast<int>(testing::by_tier(200, 5'000, 50'000));
    EventLoop loop;
    std::signal(SIGUSR2, SIG_IGN);
    std::atomic<bool> over{false};
    std::atomic<int> seen{0};
    Crowd crowd(2, [&](int) {
        while (!over) {
            ::raise(SIGUSR2); // in the thread that calls it
            std::this_thread::yield();
        }
    });
    int round = 0;
    std::function<void()> next = [&] {
        if (round == 1 && seen == 0) { // the first handler stays until it has been called
            loop.call_later(10us, next);
            return;
        }
        if (++round == rounds) {
            loop.remove_signal_handler(SIGUSR2);
            loop.stop();
            return;
        }
        if (round % 2 == 0)
            loop.remove_signal_handler(SIGUSR2);
        else
            loop.add_signal_handler(SIGUSR2, [&] { ++seen; });
        loop.call_later(10us, next);
    };
    loop.call_soon(next);
    loop.run_forever();
    over = true;
    crowd.join();
    EXPECT_GT(seen, 0);
    std::signal(SIGUSR2, SIG_DFL);
}

TEST(LoopStress, two_loops_and_threads_share_the_primitives_while_some_are_cancelled) {
    const auto items = static_cast<int>(testing::by_tier(400, 20'000, 200'000));
    Queue<int> there(8), back(8);
    Lock lock;
    Semaphore permits(2);
    int under_lock = 0;
    std::atomic<int> came{0}, cancelled{0};
    const auto work = [&]() -> Coro<> {
        auto guard = co_await lock.async_scoped_lock();
        ++under_lock;
        guard.unlock();
        co_await permits.async_acquire();
        permits.release();
    };
    // There and back again: each item makes a round through both loops and one thread. Beside it, getters that give up.
    Crowd crowd(3, [&](int me) {
        if (me == 2) {
            for (int i = 0; i < items; ++i) there.put(i);
            return;
        }
        run([&, me]() -> Coro<> {
            for (int i = 0; i < items; ++i) {
                int item = -1;
                while (item < 0) {
                    Task<int> get = create_task(me == 0 ? there.async_get() : back.async_get());
                    if (i % 7 == 0) get.cancel();
                    if (i % 5 == 0) co_await sleep(0s);
                    if (i % 5 == 0) get.cancel();
                    co_await get.async_join();
                    if (get.cancelled())
                        ++cancelled;
                    else
                        item = get.result();
                    if (get.cancelled() && (i % 7 == 0 || i % 5 == 0))
                        item = co_await (me == 0 ? there : back).async_get();
                }
                EXPECT_EQ(item, i);
                co_await work();
                if (me == 0)
                    co_await back.async_put(item);
                else
                    ++came;
            }
        });
    });
    crowd.join();
    EXPECT_EQ(came, items);
    EXPECT_EQ(under_lock, 2 * items);
    EXPECT_EQ(there.qsize() + back.qsize(), 0U);
    EXPECT_FALSE(lock.locked());
}

TEST(LoopStress, tasks_that_another_thread_cancels_while_they_run_all_end) {
    const auto tasks = static_cast<int>(testing::by_tier(300, 10'000, 100'000));
    testing::on_both_pollers([tasks]() -> Coro<> {
        std::vector<TaskRef> all;
        Queue<TaskRef> victims;
        std::thread killer([&] {
            for (TaskRef& task : victims) task.cancel();
        });
        int ended = 0;
        Event event;
        for (int i = 0; i < tasks; ++i) {
            Task<> task = create_task([&, i]() -> Coro<> {
                const struct Count {
                    int& n;
                    ~Count() { ++n; }
                } count{ended};
                for (int turn = 0; turn < 3; ++turn) co_await sleep(turn == i % 3 ? 10us : 0us);
                co_await event.async_wait();
            });
            all.push_back(task);
            victims.put(task);
            if (i % 16 == 0) co_await sleep(0s);
        }
        victims.shutdown();
        for (auto& task : all) co_await task.async_join();
        killer.join();
        EXPECT_LE(ended, tasks); // who was cancelled before its first step never began
        for (auto& task : all) EXPECT_TRUE(task.cancelled());
    });
}

} // namespace
} // namespace sennit::asyncio
