// Every awaitable in every function that takes awaitables.
#include <sennit/asyncio.hpp>
#include <sennit/futures.hpp>
#include <sennit/queue.hpp>

#include "support/cancel_everywhere.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

using Items = Queue<std::unique_ptr<int>>;

Coro<int> three() { co_return 3; }

std::pair<os::Fd, os::Fd> socket_pair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    return {os::Fd(fds[0]), os::Fd(fds[1])};
}

TEST(AsCoro, gather_takes_each_kind_of_awaitable_in_one_call) {
    run([]() -> Coro<> {
        Items items;
        LifoQueue<std::string> names;
        Lock lock;
        Condition condition;
        Semaphore permits(0);
        Event event;
        Barrier both(2);
        sync::Future<int> future;
        Task<int> task = create_task(three());
        items.put(std::make_unique<int>(1));
        const auto later = [&]() -> Coro<> {
            co_await sleep(0s);
            event.set();
            permits.release();
            future.set_result(4);
            names.put("n");
        };
        const auto all = co_await gather(sleep(1us), items.async_get(), names.async_get(), lock.async_acquire(),
                                         permits.async_acquire(), event.async_wait(), both.async_wait(),
                                         both.async_wait(), future, future.async_result(), task, task.async_join(),
                                         three(), three, later, condition.async_scoped_lock());
        EXPECT_EQ(*std::get<1>(all), 1);
        EXPECT_EQ(std::get<2>(all), "n");
        EXPECT_TRUE(std::get<3>(all));
        EXPECT_EQ(std::get<6>(all) + std::get<7>(all), 1);
        EXPECT_EQ(std::get<8>(all) + std::get<9>(all) + std::get<10>(all), 4 + 4 + 3);
        EXPECT_EQ(std::get<12>(all) + std::get<13>(all), 6);
        lock.release();
    });
}

TEST(AsCoro, input_and_output_that_has_not_begun_moves_into_a_task_with_its_buffers) {
    run([]() -> Coro<> {
        const auto [a, b] = socket_pair();
        auto first = create_task(sock_recv(a.get(), 3)); // short strings lie in the object that moves
        auto sent = create_task(sock_sendall(b.get(), "abcdef", 6));
        EXPECT_EQ(co_await first, "abc");
        co_await sent;
        char rest[8];
        EXPECT_EQ(co_await wait_for(sock_recv_into(a.get(), rest, sizeof rest), 10s), 3U);
        co_await gather(wait_writable(a.get()), wait_writable(b.get()));
    });
}

TEST(AsCoro, a_stream_read_outlives_the_reader_that_made_it) {
    run([]() -> Coro<> {
        Event come;
        auto server = co_await start_server(
            [&](StreamReader, StreamWriter writer) -> Coro<> {
                co_await come.async_wait();
                writer.write("line\n");
                co_await writer.drain();
            },
            "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.sockets().at(0).port());
        auto line = [&reader] {
            StreamReader mine = std::move(reader);
            return create_task(mine.readline());
        }();
        come.set();
        EXPECT_EQ(co_await line, "line\n");
        writer.close();
        co_await writer.wait_closed();
    });
}

TEST(AsCoro, wait_for_of_a_sleep_and_of_a_get_ends_at_the_deadline_and_takes_nothing) {
    run([]() -> Coro<> {
        Items items;
        Lock lock;
        bool late = false;
        try {
            co_await wait_for(sleep(1h), 1ms);
        } catch (const TimeoutError&) {
            late = true;
        }
        EXPECT_TRUE(late);
        try {
            co_await wait_for(items.async_get(), 1ms);
            ADD_FAILURE() << "got what nobody put";
        } catch (const TimeoutError&) {}
        items.put(std::make_unique<int>(7));
        EXPECT_EQ(*co_await wait_for(items.async_get(), 1h), 7);

        lock.acquire();
        try {
            co_await wait_for(lock.async_acquire(), 1ms);
            ADD_FAILURE() << "took a lock that was held";
        } catch (const TimeoutError&) {}
        lock.release();
        EXPECT_TRUE(co_await timeout(1h, lock.async_acquire()));
        lock.release();
        try {
            co_await wait_for(items.async_get(), 0s);
            ADD_FAILURE() << "began";
        } catch (const TimeoutError&) {}
    });
}

TEST(AsCoro, an_item_that_comes_at_the_very_deadline_is_given_or_stays_in_the_queue) {
    run([]() -> Coro<> {
        Items items;
        int given = 0, late = 0;
        for (int i = 0; i < 300; ++i) {
            // The loop runs timers of one turn one after the other: the put comes before, in the same turn as, or after the
            // deadline.
            const auto delay = 200us + 10us * (i % 3 - 1);
            auto put = EventLoop::running().call_later(delay, [&] { items.put(std::make_unique<int>(1)); });
            std::unique_ptr<int> item;
            try {
                item = co_await wait_for(items.async_get(), 200us);
                ++given;
            } catch (const TimeoutError&) {
                ++late;
            }
            if (!item) {
                while (items.empty()) co_await sleep(0s);
                EXPECT_TRUE(items.try_get());
            }
            EXPECT_TRUE(items.empty());
            EXPECT_EQ(current_task().cancelling(), 0);
        }
        EXPECT_EQ(given + late, 300);
        // Both in one turn, the item first: it is given, and no request of the deadline's is left behind.
        Items one;
        const auto when = std::chrono::steady_clock::now() + 5ms;
        auto put = EventLoop::running().call_at(when, [&] { one.put(std::make_unique<int>(2)); });
        auto limited = create_task(timeout_at(when + 1us, one.async_get()));
        co_await sleep(0s);
        while (std::chrono::steady_clock::now() < when + 1ms) {} // the loop is late: both are due in one turn
        co_await limited.async_join();
        if (limited.exception()) // it has not even begun in time
            EXPECT_EQ(one.qsize(), 1U);
        else
            EXPECT_EQ(*limited.result(), 2);
        co_await sleep(1us);
    });
}

TEST(AsCoro, who_is_cancelled_while_an_item_comes_gets_it_or_leaves_it) {
    for (const bool put_first : {false, true}) {
        run([&]() -> Coro<> {
            Items items;
            bool got = false;
            auto getter = create_task([&]() -> Coro<> {
                got = co_await wait_for(items.async_get(), 1h) != nullptr;
                co_await sleep(1h);
            });
            co_await sleep(0s);
            if (put_first) items.put(std::make_unique<int>(1));
            getter.cancel();
            if (!put_first) items.put(std::make_unique<int>(1));
            co_await getter.async_join();
            EXPECT_TRUE(getter.cancelled());
            EXPECT_EQ(got, put_first);
            EXPECT_EQ(items.qsize(), put_first ? 0U : 1U);
        });
    }
}

TEST(AsCoro, groups_shields_waits_and_completions_take_them_too) {
    run([]() -> Coro<> {
        Queue<int> items;
        Event event;
        int n = co_await TaskGroup::run([&](TaskGroup& group) -> Coro<int> {
            Task<int> got = group.create_task(items.async_get());
            group.create_task(sleep(1us), {.name = "nap"});
            group.create_task(event.async_wait());
            items.put(5);
            event.set();
            co_return co_await got;
        });
        EXPECT_EQ(n, 5);

        auto inner = shield(items.async_get());
        const auto outer = create_task(wait_for(inner.task(), 1h));
        items.put(6);
        EXPECT_EQ(co_await outer, 6);

        auto [done, pending] =
            co_await wait(WaitOptions{.return_when = FIRST_COMPLETED}, items.async_get(), sleep(1us));
        EXPECT_EQ(done.size(), 1U);
        EXPECT_EQ(pending.size(), 1U);
        for (auto& task : pending) EXPECT_TRUE(task.cancel());

        std::vector<decltype(items.async_get())> gets;
        for (int i = 0; i < 3; ++i) gets.push_back(items.async_get());
        auto results = as_completed(std::move(gets), 1h);
        for (int i = 0; i < 3; ++i) items.put(i);
        int sum = 0;
        while (auto task = co_await results.async_next()) sum += task->result();
        EXPECT_EQ(sum, 3);
    });
}

TEST(AsCoro, a_future_that_nobody_waits_for_any_more_is_cancelled) {
    run([]() -> Coro<> {
        const sync::Future<int> future;
        try {
            co_await wait_for(future, 1ms);
            ADD_FAILURE() << "has no value";
        } catch (const TimeoutError&) {}
        EXPECT_TRUE(future.cancelled());
    });
}

TEST(AsCoro, cancelled_everywhere_they_leave_nothing) {
    const int n = testing::cancel_everywhere([]() -> Coro<> {
        Items items;
        Lock lock;
        items.put(std::make_unique<int>(1));
        const auto [item, held] = co_await gather(items.async_get(), lock.async_scoped_lock());
        co_await wait_for(sleep(1us), 1h);
        co_await timeout(1h, sleep(1us));
        auto again = create_task(lock.async_acquire(1us));
        co_await again;
    });
    EXPECT_GE(n, 4);
}

} // namespace
} // namespace sennit::asyncio
