#include <sennit/asyncio.hpp>
#include <sennit/multiprocessing.hpp>

#include "support/seed.hpp"
#include "support/snapshot.hpp"
#include "support/tier.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <numeric>
#include <sennit/base/fault_point.hpp>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

class SharedQueue : public sennit::testing::SnapshotTest {
  protected:
    void SetUp() override {
        wait::current_agent(); // the main thread is one from here on
        SnapshotTest::SetUp();
    }
};

pid_t start_child(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        body();
        ::_exit(0);
    }
    return child;
}
int status_of(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

struct Order {
    std::string item;
    std::vector<double> prices;
    bool operator==(const Order&) const = default;
};

TEST_F(SharedQueue, items_come_as_they_were_put_and_in_order) { // _TestQueue.put, get, qsize
    Queue<Order> q(6);
    EXPECT_EQ(q.maxsize(), 6u);
    EXPECT_TRUE(q.empty());
    for (int i = 0; i < 6; ++i) q.put({std::to_string(i), {1.5 * i}}, i % 2 == 0);
    EXPECT_TRUE(q.full());
    EXPECT_EQ(q.qsize(), 6u);
    EXPECT_THROW(q.put_nowait({}), queue::Full);
    EXPECT_THROW(q.put({}, false), queue::Full);
    EXPECT_THROW(q.put({}, true, 1ms), queue::Full);
    EXPECT_THROW(q.put({}, -1s), queue::Full);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(q.get(), (Order{std::to_string(i), {1.5 * i}}));
    EXPECT_THROW(q.get_nowait(), queue::Empty);
    EXPECT_THROW(q.get(false), queue::Empty);
    EXPECT_THROW(q.get(1ms), queue::Empty);
    EXPECT_THROW(q.get(-1s), queue::Empty);
    EXPECT_THROW(q.get(false, 1s), UsageError);
    EXPECT_THROW(q.put({}, false, 1s), UsageError);
    EXPECT_TRUE(q.empty());
}

TEST_F(SharedQueue, messages_of_all_sizes_go_through_the_chunks) {
    Queue<std::string> q;
    sennit::testing::Random random(sennit::testing::seed());
    std::vector<std::string> sent;
    std::size_t next = 0;
    constexpr std::size_t chunk = (2 << 20) + 65'536;
    const std::size_t odd[] = {0,          1,          15,        16,    17,        chunk - 41, chunk - 40,
                               chunk - 24, chunk - 16, chunk - 1, chunk, chunk + 1, 3 * chunk};
    for (int i = 0; i < 300; ++i) {
        const std::size_t size = random.percent(10)   ? odd[random.below(std::size(odd))]
                                 : random.percent(20) ? random.below(1'000'000)
                                                      : random.below(2'000);
        sent.emplace_back(size, static_cast<char>('a' + i % 26));
        q.put(sent.back());
        while (next < sent.size() && random.percent(55)) {
            ASSERT_EQ(q.get(), sent[next]) << next;
            std::string().swap(sent[next++]);
        }
    }
    for (; next < sent.size(); ++next) ASSERT_EQ(q.get(), sent[next]) << next;
    EXPECT_TRUE(q.empty());
}

TEST_F(SharedQueue, ranges_are_copied_in_and_out_once) {
    Queue<std::vector<int>> q;
    std::vector<int> numbers(300'000);
    std::iota(numbers.begin(), numbers.end(), 0);
    q.put_range(std::span(numbers));
    q.put(numbers);
    std::vector<int> buffer(numbers.size());
    EXPECT_EQ(q.get_range(std::span(buffer)), numbers.size());
    EXPECT_EQ(buffer, numbers);
    EXPECT_EQ(q.get(), numbers);
    q.put({1, 2, 3});
    int two[2];
    try {
        q.get_range(std::span(two));
        ADD_FAILURE();
    } catch (const BufferTooShort& e) {
        EXPECT_EQ(e.message().size(), 12u);
    }
    q.put({});
    EXPECT_TRUE(q.get().empty());
    std::vector<int> large(2'000'000, 7), room(large.size()); // more than a chunk
    q.put(large);
    EXPECT_EQ(q.get_range(std::span(room)), large.size());
    EXPECT_EQ(room, large);
}

TEST_F(SharedQueue, a_closed_handle_is_refused_and_others_go_on) { // _TestQueue.closed_queue_put_get_exceptions
    Queue<int> q;
    Queue<int> same = q;
    q.put(1);
    q.close();
    q.close();
    EXPECT_THROW(q.put(1), UsageError);
    EXPECT_THROW(q.get(), UsageError);
    EXPECT_THROW(static_cast<void>(q.qsize()), UsageError);
    EXPECT_EQ(same.get(), 1);
}

struct Refusing {
    int value;
    explicit Refusing(int v) : value(v) {}
    void pack(CargoWriter& to) const {
        if (value < 0) throw std::runtime_error("not packed");
        to.write_raw(value);
    }
    static Refusing unpack(CargoReader& from) {
        const int v = from.read_raw<int>();
        if (v > 100) throw std::runtime_error("not unpacked");
        return Refusing(v);
    }
};

TEST_F(SharedQueue,
       an_item_that_can_not_be_packed_or_made_costs_itself_alone) { // _TestQueue.queue_feeder_donot_stop_onexc
    Queue<Refusing> q;
    EXPECT_THROW(q.put(Refusing(-1)), std::runtime_error);
    q.put(Refusing(101));
    q.put(Refusing(5));
    EXPECT_THROW(q.get(), std::runtime_error);
    EXPECT_EQ(q.get().value, 5);
}

struct Parcel {
    std::string label;
    std::vector<Value<int>> values;
};

TEST_F(SharedQueue, shared_objects_and_queues_go_through_it_to_other_processes) {
    Queue<Parcel> q;
    Queue<Queue<Parcel>> queues;
    queues.put(q);
    const pid_t child = start_child([&] {
        Queue<Parcel> same = queues.get();
        for (int i = 0; i < 20; ++i) {
            Parcel parcel{std::to_string(i), {}};
            for (int n = 0; n < i % 3; ++n) parcel.values.emplace_back(100 * i + n);
            same.put(parcel);
        }
    });
    for (int i = 0; i < 20; ++i) {
        Parcel parcel = q.get(30s);
        EXPECT_EQ(parcel.label, std::to_string(i));
        ASSERT_EQ(parcel.values.size(), static_cast<std::size_t>(i % 3));
        for (int n = 0; n < i % 3; ++n) EXPECT_EQ(*parcel.values[static_cast<std::size_t>(n)], 100 * i + n);
    }
    EXPECT_EQ(status_of(child), 0);
    EXPECT_EQ(q.qsize() + queues.qsize(), 0u);
}

TEST_F(SharedQueue, more_descriptors_than_the_system_keeps_are_refused_and_those_before_come) {
    Queue<Value<int>> q;
    int put = 0;
    try {
        for (; put < 100'000; ++put) q.put(Value<int>(put));
    } catch (const OSError&) {}
    EXPECT_GT(put, 50);
    EXPECT_LT(put, 100'000);
    for (int i = 0; i < put; ++i) ASSERT_EQ(*q.get(), i);
    EXPECT_TRUE(q.empty());
    q.put(Value<int>(7));
    EXPECT_EQ(*q.get(), 7);
}

TEST_F(SharedQueue, processes_put_and_get_together) { // _TestQueue.fork, get
    Queue<std::vector<int>> work(8);
    Queue<long> results;
    std::vector<pid_t> children;
    for (int c = 0; c < 3; ++c)
        children.push_back(start_child([&] {
            long sum = 0;
            for (;;) {
                const std::vector<int> item = work.get();
                if (item.empty()) break;
                for (const int n : item) sum += n;
            }
            results.put(sum);
        }));
    constexpr int items = 3'000;
    long expected = 0;
    for (int i = 0; i < items; ++i) {
        std::vector<int> item(static_cast<std::size_t>(i % 50) + 1, i);
        expected += static_cast<long>(item.size()) * i;
        work.put(item);
    }
    for (int c = 0; c < 3; ++c) work.put({});
    long sum = 0;
    for (int c = 0; c < 3; ++c) sum += results.get(60s);
    EXPECT_EQ(sum, expected);
    for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
}

TEST_F(SharedQueue,
       a_child_may_end_with_unread_items) { // _TestQueue.no_import_lock_contention's neighbours: no feeder thread
    Queue<std::string> q;
    const std::string item(200'000, 'x');
    const pid_t child = start_child([&] {
        for (int i = 0; i < 50; ++i) q.put(item);
    });
    EXPECT_EQ(status_of(child), 0);
    EXPECT_EQ(q.qsize(), 50u);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(q.get(), item);
}

TEST_F(SharedQueue, that_is_empty_time_and_again_keeps_to_little_memory) {
    using Item = std::array<std::uint64_t, 8>;
    Queue<Item> q;
    CargoWriter handle;
    q.pack(handle);
    struct stat before {};
    ASSERT_EQ(::fstat(handle.fds()[0], &before), 0);
    std::uint64_t put = 0, got = 0;
    // 8 MiB go through, at most 3 items at a time.
    for (const std::uint64_t all = 100'000; got < all;) {
        for (std::uint64_t n = put % 4; n > 0; --n) q.put(Item{0, ++put});
        if (got == put) q.put(Item{0, ++put});
        while (got < put) {
            const Item item = q.get();
            ASSERT_EQ(item[1], ++got);
        }
    }
    struct stat after {};
    ASSERT_EQ(::fstat(handle.fds()[0], &after), 0);
    EXPECT_LE((after.st_blocks - before.st_blocks) * 512, 512 * 1024) << "bytes";
}

TEST_F(SharedQueue, that_is_new_has_a_page_of_memory) {
    Queue<int> q;
    CargoWriter handle;
    q.pack(handle);
    struct stat about {};
    ASSERT_EQ(::fstat(handle.fds()[0], &about), 0);
    EXPECT_LE(about.st_blocks * 512, ::sysconf(_SC_PAGESIZE));
}

TEST_F(SharedQueue, a_burst_of_more_chunks_than_are_kept_at_hand_comes_whole_in_every_process) {
    Queue<std::string> q, other; // each item takes a chunk, and the table of chunks is in pieces of 64
    const std::size_t size = (std::size_t{1} << 20) + 50'000;
    constexpr int chunks = 70;
    for (int i = 0; i < chunks; ++i) q.put(std::string(size, static_cast<char>('0' + i)));
    const pid_t child = start_child([&] { // which maps what it has not seen
        for (int i = 0; i < 3; ++i) other.put(q.get());
    });
    for (int i = 0; i < 3; ++i) ASSERT_EQ(other.get(), std::string(size, static_cast<char>('0' + i)));
    EXPECT_EQ(status_of(child), 0);
    CargoWriter handle;
    q.pack(handle);
    std::vector<os::Fd> fds;
    for (const int fd : handle.fds()) fds.emplace_back(::dup(fd));
    CargoReader in(handle.bytes(), std::move(fds));
    Queue<std::string> again = Queue<std::string>::unpack(in); // of the same memory, nothing mapped yet
    for (int i = 3; i < chunks; ++i) ASSERT_EQ(again.get(), std::string(size, static_cast<char>('0' + i)));
    EXPECT_TRUE(q.empty());
}

TEST_F(SharedQueue, with_items_of_another_type_refuses_each_and_goes_on) {
    Queue<std::array<int, 4>> q;
    CargoWriter handle;
    q.pack(handle);
    std::vector<os::Fd> fds;
    for (const int fd : handle.fds()) fds.push_back(os::duplicate(fd));
    CargoReader from(handle.bytes(), std::move(fds));
    Queue<int> other = Queue<int>::unpack(from);
    q.put({1, 2, 3, 4});
    EXPECT_THROW(other.get(), CargoError);
    EXPECT_THROW(other.get(100ms), CargoError) << "the item stays, and the lock is free";
    EXPECT_EQ(q.get(), (std::array<int, 4>{1, 2, 3, 4}));
    other.put(7);
    EXPECT_EQ(other.get(), 7);
}

TEST_F(SharedQueue, a_handle_that_was_sent_is_of_the_same_queue) {
    JoinableQueue<int> q(3);
    auto [here, there] = Pipe();
    here.send(q);
    auto same = there.recv<JoinableQueue<int>>();
    same.put(5);
    EXPECT_EQ(same.maxsize(), 3u);
    EXPECT_EQ(q.get(), 5);
    EXPECT_FALSE(q.join(0s));
    same.task_done();
    EXPECT_TRUE(q.join());
    here.send(Value<int>(3)); // no queue
    EXPECT_THROW(there.recv<Queue<int>>(), Error);
}

TEST_F(SharedQueue, join_returns_when_all_is_done) { // _TestQueue.task_done
    JoinableQueue<int> q;
    for (int i = 0; i < 20; ++i) q.put(i);
    std::vector<pid_t> children;
    for (int c = 0; c < 3; ++c)
        children.push_back(start_child([&] {
            while (q.get() >= 0) q.task_done();
            q.task_done();
        }));
    EXPECT_TRUE(q.join(60s));
    for (int c = 0; c < 3; ++c) q.put(-1);
    EXPECT_TRUE(q.join(60s));
    EXPECT_THROW(q.task_done(), UsageError);
    for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
}

TEST_F(SharedQueue, coroutines_and_threads_share_it) {
    Queue<std::string> q(2);
    constexpr int items = 500;
    std::thread thread([&] {
        for (int i = 0; i < items; ++i) q.put(std::to_string(i));
    });
    const auto main = [&]() -> asyncio::Coro<> {
        for (int i = 0; i < items; ++i) {
            const std::string item = co_await q.async_get(60s);
            EXPECT_EQ(item, std::to_string(i));
        }
        bool empty = false;
        try {
            co_await q.async_get(1ms);
        } catch (const queue::Empty&) {
            empty = true;
        }
        EXPECT_TRUE(empty);
        co_await q.async_put("a");
        co_await q.async_put("b");
        bool full = false;
        try {
            co_await q.async_put("c", 1ms);
        } catch (const queue::Full&) {
            full = true;
        }
        EXPECT_TRUE(full);
        co_await q.async_get();
        co_await q.async_get();
        // One that is cancelled takes nothing.
        const auto get = [&]() -> asyncio::Coro<std::string> {
            std::string item = co_await q.async_get();
            co_return item;
        };
        auto cancelled = asyncio::create_task(get());
        co_await asyncio::sleep(0s);
        cancelled.cancel();
        try {
            co_await cancelled;
        } catch (const CancelledError&) {}
        co_await q.async_put("d");
        const std::string last = co_await q.async_get();
        EXPECT_EQ(last, "d");
    };
    asyncio::run(main());
    thread.join();
}

TEST_F(SharedQueue, SimpleQueue_has_its_few_functions) { // TestSimpleQueue
    SimpleQueue<std::string> q;
    EXPECT_TRUE(q.empty());
    q.put("a");
    EXPECT_FALSE(q.empty());
    EXPECT_EQ(q.get(), "a");
    q.close();
    EXPECT_THROW(q.put("b"), UsageError);
}

#if defined(SENNIT_FAULT_POINTS)

TEST_F(SharedQueue, who_is_killed_while_it_handles_descriptors_takes_none_of_others_along) {
    for (const char* point :
         {"queue.put.room", "queue.put.copied", "queue.put.published", "queue.get.copied", "queue.get.published"}) {
        SCOPED_TRACE(point);
        const std::string name(point);
        Queue<Value<int>> q;
        if (name.starts_with("queue.get"))
            for (int i = 1; i <= 2; ++i) q.put(Value<int>(i));
        const pid_t child = start_child([&] {
            base::arm_faults((name + "=kill@1").c_str());
            if (name.starts_with("queue.get"))
                q.get();
            else
                q.put(Value<int>(2));
        });
        EXPECT_TRUE(WIFSIGNALED(status_of(child)));
        q.put(Value<int>(3));
        if (name == "queue.get.copied") {
            EXPECT_EQ(*q.get(), 1) << "it was not taken";
        }
        if (name != "queue.put.room" && name != "queue.put.copied") {
            EXPECT_EQ(*q.get(), 2);
        }
        EXPECT_EQ(*q.get(), 3);
        EXPECT_TRUE(q.empty());
    }
}

// A child puts and gets, and is killed at a point; the queue goes on, with whole items in order, none of them twice.
template <class Item>
void kill_at_any_point(Item (*make)(int)) {
    const auto deaths = static_cast<int>(sennit::testing::by_tier(8, 100, 2'000));
    for (const char* point : {"queue.put.room", "queue.put.copied", "queue.put.published", "queue.put.before_unlock",
                              "queue.get.copied", "queue.get.published"}) {
        const bool puts = std::string(point).starts_with("queue.put");
        Queue<Item> q(4);
        int next = 0; // of the items that this process has seen or put
        for (int death = 0; death < deaths; ++death) {
            const int nth = 1 + death % 3;
            const pid_t child = start_child([&] {
                base::arm_faults((std::string(point) + "=kill@" + std::to_string(nth)).c_str());
                for (int i = 0; i < 100; ++i) {
                    if (puts)
                        q.put(make(next + i));
                    else
                        q.get();
                }
            });
            if (puts) {
                int seen = 0;
                // What it put before its death, and maybe the last one.
                int status = 0;
                while (true) {
                    try {
                        ASSERT_EQ(q.get(5ms), make(next + seen)) << point;
                        ++seen;
                    } catch (const queue::Empty&) {
                        if (::waitpid(child, &status, WNOHANG) == child) break;
                    }
                }
                EXPECT_TRUE(WIFSIGNALED(status)) << point;
                while (!q.empty()) {
                    q.get();
                    ++seen;
                }
                const bool published =
                    std::string(point) != "queue.put.room" && std::string(point) != "queue.put.copied";
                EXPECT_EQ(seen, published ? nth : nth - 1) << point;
                next += seen;
            } else {
                int put = 0;
                int status = 0;
                while (::waitpid(child, &status, WNOHANG) != child) {
                    try {
                        q.put(make(next + put), 5ms);
                        ++put;
                    } catch (const queue::Full&) {}
                }
                EXPECT_TRUE(WIFSIGNALED(status)) << point;
                const bool published = std::string(point) == "queue.get.published";
                const int taken = published ? nth : nth - 1;
                for (int i = taken; i < put; ++i) EXPECT_EQ(q.get(10s), make(next + i)) << point;
                EXPECT_TRUE(q.empty()) << point;
                next += put;
            }
        }
    }
}

TEST_F(SharedQueue, who_is_killed_at_any_point_leaves_it_whole) {
    kill_at_any_point<std::vector<int>>([](int n) { return std::vector<int>(50'000, n); });
}
TEST_F(SharedQueue, who_is_killed_at_any_point_with_a_small_item_leaves_it_whole) {
    kill_at_any_point<std::array<int, 16>>([](int n) {
        std::array<int, 16> item;
        item.fill(n);
        return item;
    });
}

#endif

} // namespace
} // namespace sennit::multiprocessing
