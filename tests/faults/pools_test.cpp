// F10 for threads: pools nested three deep, whose middle one ends. F37 for pools and queues: the consumer is ever so slow.
#include <sennit/futures.hpp>
#include <sennit/multiprocessing.hpp>
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>

#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"

#include <atomic>
#include <cstdio>
#include <gtest/gtest.h>
#include <ranges>
#include <stdexcept>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using futures::Future;
using futures::ThreadPoolExecutor;
using testing::by_tier;
using testing::FaultRow;

template <class F>
void until(F holds) {
    while (!holds()) std::this_thread::yield();
}

// ---- F10

enum class End { shut_down, cancelled, broken };

// outer's tasks submit to middle, and those to inner. Middle ends after so many leaves; every future must be settled, and a leaf
// that began is finished and counted once, whatever became of who waited for it.
void nest(End how, std::int64_t after, FaultRow::Trial& trial) {
    constexpr int tasks = 12;
    std::atomic<std::int64_t> began{0}, finished{0};
    std::int64_t good = 0, bad = 0;
    ThreadPoolExecutor outer(2), inner(2);
    std::atomic<bool> break_it{false};
    ThreadPoolExecutor middle(2, {.initializer = [&] {
                                  if (break_it) throw std::runtime_error("no more");
                              }});
    sync::Event now;
    std::vector<Future<int>> all;
    for (int i = 0; i < tasks; ++i)
        all.push_back(outer.submit([&] {
            std::vector<Future<int>> parts;
            for (int k = 0; k < 3; ++k)
                parts.push_back(middle.submit([&] {
                    auto leaf = inner.submit([&] {
                        if (began++ == after) now.set();
                        ++finished;
                        return 1;
                    });
                    return leaf.result();
                }));
            int sum = 0;
            for (auto& p : parts) sum += p.result();
            return sum;
        }));
    now.wait();
    trial.injected = 1;
    switch (how) {
    case End::shut_down:
        middle.shutdown();
        break;
    case End::cancelled:
        middle.shutdown({.wait = false, .cancel_futures = true});
        break;
    case End::broken:
        break_it = true;
        break; // from its next thread on: one that makes up for who waits
    }
    for (auto& f : all) {
        try {
            ASSERT_EQ(f.result(), 3);
            ++good;
        } catch (const CancelledError&) {
            ++bad;
        } catch (const UsageError&) { // submitted after the end
            ++bad;
        } catch (const BrokenExecutor&) {
            ++bad;
        }
    }
    EXPECT_EQ(good + bad, tasks);
    EXPECT_EQ(inner.submit([] { return 7; }).result(), 7) << "the leaves' pool is as before";
    EXPECT_EQ(outer.submit([] { return 8; }).result(), 8);
    inner.shutdown();
    EXPECT_EQ(began, finished);
    EXPECT_GE(finished, 3 * good);
}

TEST(F10NestedPools, the_middle_one_ends_and_all_futures_are_settled_and_no_leaf_is_lost) {
    testing::Random random(testing::seed());
    FaultRow row("F10");
    const auto trials = by_tier(10, 200, 2'000);
    for (std::int64_t t = 0; t < trials; ++t) {
        FaultRow::Trial trial(row);
        nest(static_cast<End>(t % 3), static_cast<std::int64_t>(random.below(30)), trial);
    }
}

// ---- F37

// Knows how many bytes of its kind there are, and were at most.
class Payload {
  public:
    static constexpr std::size_t bytes = 16 * 1024;
    explicit Payload(int n = 0) : data_(bytes / sizeof(int), n) { count(); }
    Payload(const Payload& other) : data_(other.data_) { count(); }
    Payload(Payload&& other) noexcept : data_(std::move(other.data_)) {}
    Payload& operator=(Payload other) noexcept {
        std::swap(data_, other.data_);
        return *this;
    }
    ~Payload() {
        if (!data_.empty()) now -= bytes;
    }
    [[nodiscard]] int number() const { return data_.at(0); }

    static void reset() {
        ASSERT_EQ(now, 0U) << "bytes that nobody gave back";
        most = 0;
    }
    static inline std::atomic<std::size_t> now{0}, most{0};

  private:
    static void count() {
        const std::size_t n = now += bytes;
        for (std::size_t seen = most; seen < n && !most.compare_exchange_weak(seen, n);) {}
    }
    std::vector<int> data_;
};

// The consumer is as slow as can be: it takes the next one when the producers have come to a stop.
void until_idle(const ThreadPoolExecutor& pool) {
    until([&] {
        const auto s = pool.statistics();
        return s.queued == 0 && s.idle == s.threads;
    });
}
void expect_at_most(std::size_t payloads, const char* what) {
    std::printf("%s: at most %zu KiB at a time, %zu allowed\n", what, Payload::most / 1024,
                payloads * Payload::bytes / 1024);
    EXPECT_LE(Payload::most, payloads * Payload::bytes) << what;
}

constexpr std::size_t workers = 2;
const auto elements = by_tier(200, 3'000, 20'000);

template <class Results, class Pool>
void fetch_slowly(Results& results, const Pool& pool, FaultRow& row) {
    std::int64_t got = 0;
    while (auto r = results.next()) {
        FaultRow::Trial trial(row);
        trial.injected = 1;
        ++got;
        if (got == elements) break;
        until_idle(pool);
    }
    EXPECT_EQ(got, elements);
}

TEST(F37SlowConsumer, map_with_a_buffersize_keeps_its_elements_and_one_result) {
    FaultRow row("F37");
    Payload::reset();
    constexpr std::size_t ahead = 8;
    {
        ThreadPoolExecutor pool(workers);
        auto results = pool.map([](const Payload& p) { return Payload(p.number() + 1); },
                                std::views::iota(0) | std::views::transform([](int n) { return Payload(n); }),
                                {.buffersize = ahead});
        fetch_slowly(results, pool, row);
    }
    expect_at_most(ahead + workers + 2,
                   "map"); // argument and result of a task that runs; one taken out, one on its way in
    Payload::reset();
}

TEST(F37SlowConsumer, imap_keeps_so_many_elements_ahead_and_one_result) {
    FaultRow row("F37");
    for (const bool ordered : {true, false}) {
        Payload::reset();
        {
            multiprocessing::pool::ThreadPool pool(workers);
            const auto f = [](const Payload& p) { return Payload(p.number() + 1); };
            auto endless = std::views::iota(0) | std::views::transform([](int n) { return Payload(n); });
            auto results = ordered ? pool.imap(f, endless) : pool.imap_unordered(f, endless);
            fetch_slowly(results, pool.executor(), row);
        }
        expect_at_most(64 + workers + 2, ordered ? "imap" : "imap_unordered");
    }
    Payload::reset();
}

TEST(F37SlowConsumer, a_queue_keeps_its_maxsize_and_one_item_a_putter) {
    FaultRow row("F37");
    Payload::reset();
    constexpr std::size_t maxsize = 8, putters = 3;
    {
        sennit::queue::Queue<Payload> queue(maxsize);
        std::vector<std::thread> team;
        for (std::size_t p = 0; p < putters; ++p)
            team.emplace_back([&] {
                for (std::int64_t i = 0; i < elements / 3; ++i) queue.put(Payload(static_cast<int>(i)));
            });
        for (std::int64_t left = elements / 3 * 3; left > 0; --left) {
            FaultRow::Trial trial(row);
            trial.injected = 1;
            if (left > static_cast<std::int64_t>(maxsize + putters)) until([&] { return queue.full(); });
            queue.get();
        }
        for (auto& t : team) t.join();
    }
    expect_at_most(maxsize + putters + 1, "queue");
    Payload::reset();
}

} // namespace
} // namespace sennit
