// Many items through one queue, put and taken by threads and coroutines at once: all arrive, once, in each producer's order; and
// none is lost between put, get, time-out and cancellation.
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>

#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using testing::Co;
using testing::TestLoop;

struct Item {
    int producer;
    long number;
};

long items_in_all() { return testing::by_tier(200'000, 1'000'000, 1'000'000); }

class QueueStress : public ::testing::TestWithParam<int> {};

TEST_P(QueueStress, every_item_arrives_once_and_in_its_producers_order) {
    constexpr int producers = 4, consumers = 4; // half of each are coroutines
    const long each = items_in_all() / producers;
    queue::Queue<Item> q(GetParam());
    std::atomic<long> taken{0}, disorder{0};
    std::vector<std::vector<long>> counts(consumers, std::vector<long>(producers, 0));
    const auto look = [&](int consumer, std::vector<long>& last, const Item& item) {
        auto& before = last[static_cast<std::size_t>(item.producer)];
        if (item.number <= before) ++disorder;
        before = item.number;
        ++counts[static_cast<std::size_t>(consumer)][static_cast<std::size_t>(item.producer)];
        ++taken;
        q.task_done();
    };
    TestLoop loop[2];
    for (auto& l : loop) l.start();
    std::vector<std::thread> threads;
    for (int p = 0; p < 2; ++p) {
        threads.emplace_back([&, p] {
            for (long i = 1; i <= each; ++i) q.put({p, i});
        });
        loop[0].spawn([&, p]() -> Co<> {
            for (long i = 1; i <= each; ++i) co_await q.async_put({p + 2, i});
        });
    }
    for (int c = 0; c < 2; ++c) {
        threads.emplace_back([&, c] {
            std::vector<long> last(producers, 0);
            for (Item& item : q) look(c, last, item);
        });
        loop[1].spawn([&, c]() -> Co<> {
            std::vector<long> last(producers, 0);
            try {
                for (;;) look(c + 2, last, co_await q.async_get());
            } catch (const queue::ShutDown&) {}
        });
    }
    while (taken < each * producers) std::this_thread::yield();
    EXPECT_TRUE(q.join(std::chrono::seconds(60)));
    q.shutdown();
    for (auto& t : threads) t.join();
    for (auto& l : loop) l.join();
    EXPECT_EQ(taken.load(), each * producers);
    EXPECT_EQ(disorder.load(), 0);
    for (int p = 0; p < producers; ++p) {
        long sum = 0;
        for (const auto& of_consumer : counts) sum += of_consumer[static_cast<std::size_t>(p)];
        EXPECT_EQ(sum, each) << "producer " << p;
    }
}
INSTANTIATE_TEST_SUITE_P(maxsizes, QueueStress, ::testing::Values(1, 3, 1024, 0));

TEST(QueueRace, no_item_is_lost_between_put_get_time_out_and_cancel) {
    const long each = items_in_all() / 4;
    queue::Queue<long> q(2);
    std::atomic<long> put_sum{0}, got_sum{0}, early{0};
    std::atomic<bool> over{false};
    TestLoop loop;
    loop.start();
    const auto soon = [](std::uint64_t& state) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return Deadline(std::chrono::nanoseconds(state % 30'000));
    };
    auto& getter = loop.spawn([&]() -> Co<> {
        std::uint64_t random = 1;
        while (!over || !q.empty()) {
            bool ended_early = false;
            try {
                got_sum += co_await q.async_get(soon(random));
            } catch (const queue::Empty&) {
                ended_early = true;
            } catch (const CancelledError&) {
                ended_early = true;
            }
            if (ended_early) ++early;
        }
    });
    auto& putter = loop.spawn([&]() -> Co<> {
        std::uint64_t random = 2;
        for (long i = 1; i <= each; ++i) {
            bool ended_early = false;
            try {
                co_await q.async_put(i, soon(random));
                put_sum += i;
            } catch (const queue::Full&) {
                ended_early = true;
            } catch (const CancelledError&) {
                ended_early = true;
            }
            if (ended_early) ++early;
        }
    });
    std::thread canceller([&] {
        for (unsigned n = 0; !over; ++n) {
            (n % 2 ? getter : putter).cancel();
            for (unsigned i = n % 997; i > 0; --i) cpu_relax();
        }
    });
    std::thread thread([&] {
        std::uint64_t random = 3;
        for (long i = 1; i <= each; ++i) {
            try {
                q.put(i, soon(random));
                put_sum += i;
            } catch (const queue::Full&) {
                ++early;
            }
            try {
                got_sum += q.get(soon(random));
            } catch (const queue::Empty&) {
                ++early;
            }
        }
    });
    thread.join();
    EXPECT_TRUE(putter.done().wait(std::chrono::seconds(120)));
    over = true;
    canceller.join();
    EXPECT_TRUE(getter.done().wait(std::chrono::seconds(60)));
    while (auto left = q.try_get()) got_sum += *left;
    EXPECT_EQ(got_sum.load(), put_sum.load());
    EXPECT_GT(early.load(), 0);
    loop.join();
}

} // namespace
} // namespace sennit
