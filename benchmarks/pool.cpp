// Pools of two threads: empty tasks with a future each, tasks within tasks, and one task at a time.
#include "common/bench.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <sennit/futures.hpp>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <thread>
#include <vector>

namespace {

using bench::Board;
using bench::seconds;

constexpr std::size_t workers = 2;

// submit(f) gives something with get().

struct Sennit {
    sennit::futures::ThreadPoolExecutor pool{workers};
    template <class F>
    auto submit(F f) {
        struct Result {
            sennit::futures::Future<int> future;
            int get() { return future.result(); }
        };
        return Result{pool.submit(std::move(f))};
    }
};

struct Asio {
    boost::asio::thread_pool pool{workers};
    template <class F>
    std::future<int> submit(F f) {
        std::packaged_task<int()> task(std::move(f));
        auto future = task.get_future();
        boost::asio::post(pool, std::move(task));
        return future;
    }
    ~Asio() { pool.join(); }
};

struct Tbb {
    // Without it TBB has one worker less than there are cores, and a task that waits for another of the same pool never ends on two.
    tbb::global_control allowed{tbb::global_control::max_allowed_parallelism, workers + 1};
    tbb::task_arena arena{static_cast<int>(workers) + 1}; // a place for who submits
    tbb::task_group group;
    template <class F>
    std::future<int> submit(F f) {
        auto promise = std::make_shared<std::promise<int>>();
        auto future = promise->get_future();
        arena.enqueue([promise, f] { promise->set_value(f()); });
        return future;
    }
};

class MutexPool { // what everybody writes once
  public:
    MutexPool() {
        for (std::size_t i = 0; i < workers; ++i) team_.emplace_back([this] { work(); });
    }
    ~MutexPool() {
        {
            const std::lock_guard hold(mutex_);
            over_ = true;
        }
        wake_.notify_all();
        for (auto& t : team_) t.join();
    }
    template <class F>
    std::future<int> submit(F f) {
        std::packaged_task<int()> task(std::move(f));
        auto future = task.get_future();
        {
            const std::lock_guard hold(mutex_);
            tasks_.push_back(std::move(task));
        }
        wake_.notify_one();
        return future;
    }

  private:
    void work() {
        for (;;) {
            std::packaged_task<int()> task;
            {
                std::unique_lock hold(mutex_);
                wake_.wait(hold, [this] { return over_ || !tasks_.empty(); });
                if (tasks_.empty()) return;
                task = std::move(tasks_.front());
                tasks_.pop_front();
            }
            task();
        }
    }
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::packaged_task<int()>> tasks_;
    bool over_ = false;
    std::vector<std::thread> team_;
};

// The limit: a task and its result are one allocation, handed over in blocks of 64 by a mutex, to one worker for each half;
// who waits polls. No cancellation, no waiting worker, no end.
class Limit {
    struct Task {
        std::atomic<std::uint32_t> done{0};
        int value = 0;
    };

  public:
    Limit() {
        for (std::size_t i = 0; i < workers; ++i) team_.emplace_back([this] { work(); });
    }
    ~Limit() {
        flush();
        over_ = true;
        for (auto& t : team_) t.join();
    }
    struct Result {
        Limit* limit;
        std::unique_ptr<Task> task;
        int get() {
            if (task->done.load(std::memory_order_acquire) == 0) {
                limit->flush();
                while (task->done.load(std::memory_order_acquire) == 0) sched_yield();
            }
            return task->value;
        }
    };
    template <class F>
    Result submit(F f) {
        auto* task = new Task;
        task->value = f.value;
        block_.push_back(task);
        if (block_.size() == 64) flush();
        return {this, std::unique_ptr<Task>(task)};
    }

  private:
    void flush() {
        if (block_.empty()) return;
        const std::lock_guard hold(mutex_);
        blocks_.push_back(std::move(block_));
        block_.clear();
        block_.reserve(64);
    }
    void work() {
        while (!over_) {
            std::vector<Task*> mine;
            {
                const std::lock_guard hold(mutex_);
                if (!blocks_.empty()) {
                    mine = std::move(blocks_.front());
                    blocks_.pop_front();
                }
            }
            for (Task* t : mine) t->done.store(1, std::memory_order_release);
            if (mine.empty()) sched_yield();
        }
    }
    std::mutex mutex_;
    std::deque<std::vector<Task*>> blocks_;
    std::vector<Task*> block_;
    std::atomic<bool> over_{false};
    std::vector<std::thread> team_;
};

struct Give {
    int value;
    int operator()() const { return value; }
};

// Millions of tasks a second: one thread submits them all, and then takes all results. From a warm pool; the results' memory
// is given back within the time.
template <class Pool>
double tasks_per_us(Pool& pool, int total) {
    long sum = 0;
    const double start = seconds();
    {
        std::vector<decltype(pool.submit(Give{1}))> all;
        all.reserve(static_cast<std::size_t>(total));
        for (int i = 0; i < total; ++i) all.push_back(pool.submit(Give{1}));
        for (auto& f : all) sum += f.get();
    }
    const double took = seconds() - start;
    if (sum != total) bench::die("a pool lost or doubled a task");
    return total / took / 1e6;
}

// The same, 1,000 at a time: memory is used again, and the pool runs empty in between.
template <class Pool>
double rounds_per_us(Pool& pool, int rounds) {
    constexpr int at_a_time = 1000;
    long sum = 0;
    std::vector<decltype(pool.submit(Give{1}))> all;
    all.reserve(at_a_time);
    const double start = seconds();
    for (int r = 0; r < rounds; ++r) {
        for (int i = 0; i < at_a_time; ++i) all.push_back(pool.submit(Give{1}));
        for (auto& f : all) sum += f.get();
        all.clear();
    }
    const double took = seconds() - start;
    if (sum != static_cast<long>(rounds) * at_a_time) bench::die("a pool lost or doubled a task");
    return static_cast<double>(sum) / took / 1e6;
}

// The same in a task of the pool itself: what that submits, and takes the results of.
template <class Pool>
double within_a_task_per_us(Pool& pool, int total) {
    struct Nested {
        Pool& pool;
        int total;
        int operator()() const {
            std::vector<decltype(pool.submit(Give{1}))> all;
            all.reserve(static_cast<std::size_t>(total));
            for (int i = 0; i < total; ++i) all.push_back(pool.submit(Give{1}));
            int sum = 0;
            for (auto& f : all) sum += f.get();
            return sum;
        }
    };
    const double start = seconds();
    const int sum = pool.submit(Nested{pool, total}).get();
    const double took = seconds() - start;
    if (sum != total) bench::die("a pool lost or doubled a task");
    return total / took / 1e6;
}

// Submit one, wait for it, a thousand times: microseconds each.
template <class Pool>
double round_trip_us(Pool& pool, int total) {
    long sum = 0;
    const double start = seconds();
    for (int i = 0; i < total; ++i) sum += pool.submit(Give{1}).get();
    const double took = seconds() - start;
    if (sum != total) bench::die("a pool lost or doubled a task");
    return took / total * 1e6;
}

const char* const many = "1,000,000 empty tasks, a future each";
const char* const batches = "empty tasks, a future each, 1,000 at a time";
const char* const trip = "one task at a time";
const char* const nested = "300,000 empty tasks that a task submits";

template <class Pool>
void add(Board& board, const char* who, int total) {
    auto pool = std::make_shared<std::unique_ptr<Pool>>();
    const auto get = [pool]() -> Pool& {
        if (!*pool) *pool = std::make_unique<Pool>();
        return **pool;
    };
    // Its threads are gone when the next contender's turn comes.
    board.add(many, who, "Mtasks/s", [=] {
        tasks_per_us(get(), 1000);
        const double figure = tasks_per_us(get(), total);
        pool->reset();
        return figure;
    });
}
template <class Pool>
void add_batches(Board& board, const char* who, int rounds) {
    board.add(batches, who, "Mtasks/s", [=] {
        Pool pool;
        tasks_per_us(pool, 1000);
        return rounds_per_us(pool, rounds);
    });
}
template <class Pool>
void add_trip(Board& board, const char* who, int total) {
    board.add(trip, who, "us", [=] {
        Pool pool;
        tasks_per_us(pool, 1000);
        return round_trip_us(pool, total);
    });
}
template <class Pool>
void add_nested(Board& board, const char* who, int total) {
    board.add(nested, who, "Mtasks/s", [=] {
        Pool pool;
        tasks_per_us(pool, 1000);
        return within_a_task_per_us(pool, total);
    });
}

} // namespace

int main(int argc, char** argv) {
    Board board;
    add<Limit>(board, "blocks of 64, polling (limit)", 1'000'000);
    add<Sennit>(board, "sennit ThreadPoolExecutor", 1'000'000);
    add<Asio>(board, "Asio thread_pool, packaged_task", 300'000);
    add<Tbb>(board, "TBB task_arena, std::promise", 300'000);
    add<MutexPool>(board, "mutex + condition variable, packaged_task", 300'000);
    add_batches<Limit>(board, "blocks of 64, polling (limit)", 300);
    add_batches<Sennit>(board, "sennit ThreadPoolExecutor", 300);
    add_batches<Asio>(board, "Asio thread_pool, packaged_task", 100);
    add_batches<Tbb>(board, "TBB task_arena, std::promise", 100);
    add_batches<MutexPool>(board, "mutex + condition variable, packaged_task", 100);
    add_trip<Sennit>(board, "sennit ThreadPoolExecutor", 5'000);
    add_trip<Asio>(board, "Asio thread_pool, packaged_task", 5'000);
    add_trip<Tbb>(board, "TBB task_arena, std::promise", 5'000);
    add_trip<MutexPool>(board, "mutex + condition variable, packaged_task", 5'000);
    add_nested<Sennit>(board, "sennit ThreadPoolExecutor", 300'000);
    add_nested<Asio>(board, "Asio thread_pool, packaged_task", 100'000);
    add_nested<Tbb>(board, "TBB task_arena, std::promise", 100'000);
    add_nested<MutexPool>(board, "mutex + condition variable, packaged_task", 100'000);
    return board.run(argc, argv);
}
