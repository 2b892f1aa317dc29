// Blocking queues of int between threads on two cores: one, two and four producers to as many consumers.
#include "common/bench.hpp"

#include <atomic>
#include <boost/fiber/buffered_channel.hpp>
#include <concurrentqueue/blockingconcurrentqueue.h>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <sennit/queue.hpp>
#include <tbb/concurrent_queue.h>
#include <thread>

namespace {

using bench::Board;
using bench::seconds;

constexpr unsigned capacity = 1024;

class CondvarQueue { // what everybody writes once
  public:
    explicit CondvarQueue(std::size_t limit) : limit_(limit) {}
    void put(int v) {
        {
            std::unique_lock hold(mutex_);
            not_full_.wait(hold, [&] { return items_.size() < limit_; });
            items_.push_back(v);
        }
        not_empty_.notify_one();
    }
    int get() {
        int v;
        {
            std::unique_lock hold(mutex_);
            not_empty_.wait(hold, [&] { return !items_.empty(); });
            v = items_.front();
            items_.pop_front();
        }
        if (limit_ == capacity) not_full_.notify_one();
        return v;
    }

  private:
    const std::size_t limit_;
    std::mutex mutex_;
    std::condition_variable not_empty_, not_full_;
    std::deque<int> items_;
};
struct CondvarBounded : CondvarQueue {
    CondvarBounded() : CondvarQueue(capacity) {}
};
struct CondvarUnbounded : CondvarQueue {
    CondvarUnbounded() : CondvarQueue(SIZE_MAX) {}
};

struct SennitBounded {
    sennit::queue::Queue<int> queue{capacity};
    void put(int v) { queue.put(v); }
    int get() { return queue.get(); }
};
struct SennitUnbounded {
    sennit::queue::Queue<int> queue;
    void put(int v) { queue.put(v); }
    int get() { return queue.get(); }
};
struct SennitSimple {
    sennit::queue::SimpleQueue<int> queue;
    void put(int v) { queue.put(v); }
    int get() { return queue.get(); }
};
struct TbbBounded {
    tbb::concurrent_bounded_queue<int> queue;
    TbbBounded() { queue.set_capacity(capacity); }
    void put(int v) { queue.push(v); }
    int get() {
        int v;
        queue.pop(v);
        return v;
    }
};
struct Moodycamel {
    moodycamel::BlockingConcurrentQueue<int> queue;
    void put(int v) { queue.enqueue(v); }
    int get() {
        int v;
        queue.wait_dequeue(v);
        return v;
    }
};
struct FiberChannel {
    boost::fibers::buffered_channel<int> queue{capacity};
    void put(int v) { queue.push(v); }
    int get() { return queue.value_pop(); }
};

// The limits never sleep in the kernel: they spin, and give the core away after a while. No shutdown, no time-out.

class SpscRing { // one producer, one consumer; each looks at the other's index only when it must
  public:
    void put(int v) {
        const unsigned head = head_.load(std::memory_order_relaxed);
        for (int tries = 0; head - tail_seen_ == capacity;) {
            tail_seen_ = tail_.load(std::memory_order_acquire);
            if (++tries > 1000) sched_yield();
        }
        cells_[head % capacity] = v;
        head_.store(head + 1, std::memory_order_release);
    }
    int get() {
        const unsigned tail = tail_.load(std::memory_order_relaxed);
        for (int tries = 0; tail == head_seen_;) {
            head_seen_ = head_.load(std::memory_order_acquire);
            if (++tries > 1000) sched_yield();
        }
        const int v = cells_[tail % capacity];
        tail_.store(tail + 1, std::memory_order_release);
        return v;
    }

  private:
    alignas(64) std::atomic<unsigned> head_{0};
    alignas(64) unsigned tail_seen_ = 0; // the producer's
    alignas(64) std::atomic<unsigned> tail_{0};
    alignas(64) unsigned head_seen_ = 0; // the consumer's
    alignas(64) int cells_[capacity];
};

class VyukovRing { // many to many, a turn number in each cell. Source: D. Vyukov, "Bounded MPMC queue", 1024cores.net
  public:
    VyukovRing() {
        for (unsigned i = 0; i < capacity; ++i) cells_[i].turn.store(i);
    }
    void put(int v) {
        claim(head_, 0, [v](Cell& cell, unsigned at) {
            cell.value = v;
            cell.turn.store(at + 1, std::memory_order_release);
        });
    }
    int get() {
        int v = 0;
        claim(tail_, 1, [&v](Cell& cell, unsigned at) {
            v = cell.value;
            cell.turn.store(at + capacity, std::memory_order_release);
        });
        return v;
    }

  private:
    struct Cell {
        std::atomic<unsigned> turn;
        int value;
    };
    void claim(std::atomic<unsigned>& end, unsigned offset, auto use) {
        unsigned at = end.load(std::memory_order_relaxed);
        for (int tries = 0;;) {
            Cell& cell = cells_[at % capacity];
            const int ahead = static_cast<int>(cell.turn.load(std::memory_order_acquire) - (at + offset));
            if (ahead == 0) {
                if (end.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) return use(cell, at);
            } else {
                if (ahead < 0 && ++tries > 100) {
                    sched_yield();
                    tries = 0;
                }
                at = end.load(std::memory_order_relaxed);
            }
        }
    }
    Cell cells_[capacity];
    alignas(64) std::atomic<unsigned> head_{0};
    alignas(64) std::atomic<unsigned> tail_{0};
};

// Millions of items a second from n producers to n consumers. One to one, each has a core of its own; with more, each core
// holds as many producers as consumers.
template <class Queue>
double items_per_us(int n, int total) {
    auto queue = std::make_unique<Queue>();
    std::atomic<long> sum{0};
    std::vector<std::thread> team;
    const int share = total / n;
    const double start = seconds();
    for (int i = 0; i < n; ++i)
        team.emplace_back([&, i] {
            bench::pin_to_one_of_two(i + 1);
            long mine = 0;
            for (int k = 0; k < share; ++k) mine += queue->get();
            sum += mine;
        });
    for (int i = 0; i < n; ++i)
        team.emplace_back([&, i] {
            bench::pin_to_one_of_two(i);
            for (int k = 0; k < share; ++k) queue->put(1);
        });
    for (auto& t : team) t.join();
    const double took = seconds() - start;
    if (sum != static_cast<long>(share) * n) bench::die("a queue lost or doubled an item");
    return static_cast<double>(share) * n / took / 1e6;
}

template <class Queue>
void add(Board& board, const char* who, int n, int total) {
    board.add(std::to_string(n) + " to " + std::to_string(n), who, "Mitems/s",
              [=] { return items_per_us<Queue>(n, total); });
}

} // namespace

int main(int argc, char** argv) {
    Board board;
    for (const int n : {1, 2, 4}) {
        if (n == 1) add<SpscRing>(board, "SPSC ring, spinning (limit)", n, 8'000'000);
        add<VyukovRing>(board, "Vyukov MPMC ring, spin then yield (limit)", n, 4'000'000);
        add<SennitBounded>(board, "sennit Queue<int>(1024)", n, 4'000'000);
        add<SennitUnbounded>(board, "sennit Queue<int>, unbounded", n, 4'000'000);
        add<SennitSimple>(board, "sennit SimpleQueue<int>", n, 4'000'000);
        add<FiberChannel>(board, "Boost.Fiber buffered_channel 1024, on threads", n, 1'000'000);
        add<Moodycamel>(board, "moodycamel BlockingConcurrentQueue, unbounded", n, 1'000'000);
        add<TbbBounded>(board, "TBB concurrent_bounded_queue, 1024", n, n == 1 ? 1'000'000 : 300'000);
        add<CondvarBounded>(board, "mutex + 2 condition variables, deque, 1024", n, 500'000);
        add<CondvarUnbounded>(board, "mutex + condition variable, deque, unbounded", n, 500'000);
    }
    return board.run(argc, argv);
}
