// The pool: one queue of chunks under a lock, and a batch of tasks per worker that the others may steal from.
//
//   submit                              worker
//   s1  lock; append to the last chunk  w1  take from its own batch (oldest first); run
//   s2  somebody sleeps: choose to      w2  empty: lock; take the first chunk whole into the batch;
//       wake one; else may start one        more than one task and somebody sleeps: choose to wake one
//   s3  unlock; wake or start           w3  nothing: steal one task from another's batch
//                                       w4  nothing at all: join the sleepers, unlock, sleep on its own word
//
// 1. Nobody sleeps beside work: sleepers are listed (w4) under the lock under which the queue was found empty and batches
//    had nothing to steal; a submitter (s2), and who fills a batch (w2), look for sleepers under the same lock.
// 2. A batch is a window [top, bottom) over 64 slots in one word. Its owner fills it only when it is empty, and everybody,
//    the owner too, takes the oldest by a compare-exchange of the whole word. top only grows (32 bits, and one round
//    through all of them between a thief's load and its exchange is out of the question), so a thief that read a slot
//    which has been refilled meanwhile fails.
// 3. Nested waits end: a worker that waits for a task of this pool runs it itself if nobody has begun it (only that one:
//    a foreign task might need a lock that the waiter holds); else it counts as away, and another thread may work in its
//    place. Back again, the first worker that finds nothing to do while there are too many ends.
// Source: chunks and windows as in Go's scheduler (runqgrab), without its global spinning; helping only with what is
// waited for: after the remarks of TBB on isolation.
#include <sennit/futures/thread_pool_executor.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/wait/agent.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <pthread.h>
#include <vector>

namespace sennit::futures {
namespace {

constexpr std::uint32_t batch_size = 64;
// How much of its stack a worker may use for running nested tasks in place of waiting; beyond that, another thread helps.
constexpr std::size_t nested_stack_bytes = 1024 * 1024;

struct Chunk {
    Chunk* next = nullptr;
    std::uint32_t size = 0;
    sync::Task* tasks[batch_size];
};

class Batch {
  public:
    // By anybody.
    sync::Task* take() noexcept {
        std::uint64_t seen = window_.load(memory_order_acquire); // meets fill()
        for (;;) {
            const auto top = static_cast<std::uint32_t>(seen), bottom = static_cast<std::uint32_t>(seen >> 32);
            if (top == bottom) return nullptr;
            // relaxed: ordered by the window; a stale one is thrown away with the failed exchange.
            sync::Task* task = slots_[top % batch_size].load(memory_order_relaxed);
            const std::uint64_t next = (seen & ~std::uint64_t{0xffffffff}) | (top + 1U);
            // acq_rel: acquire meets fill(): the task's contents; release: the slot was read before it may be filled again.
            if (window_.compare_exchange_weak(seen, next, memory_order_acq_rel, memory_order_acquire)) return task;
        }
    }
    // By the owner, when it is empty.
    void fill(const Chunk& chunk) noexcept {
        const std::uint64_t seen = window_.load(memory_order_acquire); // meets take(): the slots are free
        const auto top = static_cast<std::uint32_t>(seen);
        for (std::uint32_t i = 0; i < chunk.size; ++i)
            slots_[(top + i) % batch_size].store(chunk.tasks[i], memory_order_relaxed);
        // release: meets take(). A store: nobody changes an empty window.
        window_.store((std::uint64_t{top + chunk.size} << 32) | top, memory_order_release);
    }
    [[nodiscard]] bool empty() const noexcept {
        const std::uint64_t seen = window_.load(memory_order_relaxed);
        return static_cast<std::uint32_t>(seen) == static_cast<std::uint32_t>(seen >> 32);
    }
    [[nodiscard]] std::size_t size_hint() const noexcept {
        const std::uint64_t seen = window_.load(memory_order_relaxed);
        return static_cast<std::uint32_t>(seen >> 32) - static_cast<std::uint32_t>(seen);
    }

  private:
    alignas(64) atomic<std::uint64_t> window_{0}; // bottom : top
    atomic<sync::Task*> slots_[batch_size]{};
};

} // namespace

class ThreadPoolExecutor::Impl {
  public:
    Impl(std::size_t max_workers, ThreadPoolOptions options, const void* identity)
        : max_workers_(max_workers), options_(std::move(options)), identity_(identity) {}
    ~Impl() {
        while (chunks_) delete std::exchange(chunks_, chunks_->next);
        while (spare_) delete std::exchange(spare_, spare_->next);
    }

    void enqueue(sync::Task& task);
    void shutdown(bool wait, bool cancel_futures);
    Statistics statistics() const;
    [[nodiscard]] bool called_by_worker() const noexcept;

  private:
    struct Worker final : sync::FutureCore::WaitHook {
        explicit Worker(Impl& p, std::size_t i) : pool(p), index(i) {}
        bool help(sync::FutureCore& future) override;
        void before_park() noexcept override { pool.leave_for_a_wait(); }
        void after_park() noexcept override { pool.return_from_a_wait(); }

        Impl& pool;
        std::size_t index;
        pthread_t thread{};
        Batch batch;
        const char* stack_at_start = nullptr;
        os::FutexWord woken{0}; // 1: taken off the sleepers, go and look
    };
    enum class Next : std::uint8_t { run, end };

    static void* worker_main(void* worker) noexcept;
    void work(Worker& me) noexcept;
    Next find_work(Worker& me, sync::Task*& task) noexcept;
    sync::Task* steal(const Worker& me) noexcept SENNIT_REQUIRES(mutex_);
    sync::Task* take_chunk(Worker& me, Worker*& sleeper) noexcept SENNIT_REQUIRES(mutex_);
    bool may_start() const noexcept SENNIT_REQUIRES(mutex_) { return live_ - waiting_ < max_workers_ && !broken_; }
    bool has_work() const noexcept SENNIT_REQUIRES(mutex_);
    // Wakes that sleeper if there is one, else starts a thread if there is room. Without the lock.
    void attract(Worker* sleeper, bool start) noexcept;
    Worker* choose_sleeper() noexcept SENNIT_REQUIRES(mutex_);
    void wake_all() noexcept;
    static void wake(Worker& sleeper) noexcept;
    void start_thread() noexcept;
    int try_start_thread() noexcept;
    void leave_for_a_wait() noexcept;
    void return_from_a_wait() noexcept;
    void break_pool(std::exception_ptr cause) noexcept;
    Chunk* take_all() noexcept SENNIT_REQUIRES(mutex_);

    const std::size_t max_workers_;
    const ThreadPoolOptions options_;
    const void* const identity_;

    mutable os::Mutex mutex_;
    Chunk* chunks_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Chunk* last_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Chunk* spare_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    std::vector<std::unique_ptr<Worker>> workers_ SENNIT_GUARDED_BY(mutex_);
    std::vector<pthread_t> ended_ SENNIT_GUARDED_BY(mutex_);
    std::size_t live_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::size_t waiting_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::vector<Worker*> sleepers_ SENNIT_GUARDED_BY(mutex_); // has room for all workers
    std::uint64_t started_ SENNIT_GUARDED_BY(mutex_) = 0;
    bool closed_ SENNIT_GUARDED_BY(mutex_) = false;
    std::exception_ptr broken_ SENNIT_GUARDED_BY(mutex_);
    sync::Event all_ended_;
};

// ---- submitting

void ThreadPoolExecutor::Impl::enqueue(sync::Task& task) {
    Worker* sleeper = nullptr;
    bool start = false;
    std::exception_ptr broken;
    {
        os::MutexGuard guard(mutex_);
        if (closed_)
            throw UsageError(
                "ThreadPoolExecutor.submit: the pool was shut down; submit before shutdown(), or make a new pool");
        if (!broken_) {
            if (!last_ || last_->size == batch_size) {
                Chunk* fresh = spare_ ? std::exchange(spare_, spare_->next) : new Chunk;
                fresh->next = nullptr;
                fresh->size = 0;
                (last_ ? last_->next : chunks_) = fresh;
                last_ = fresh;
            }
            last_->tasks[last_->size++] = &task;
            sleeper = choose_sleeper();
            start = !sleeper && may_start();
        }
        broken = broken_;
    }
    if (broken) {
        task.fail_and_drop(broken);
        return;
    }
    attract(sleeper, start);
}

ThreadPoolExecutor::Impl::Worker* ThreadPoolExecutor::Impl::choose_sleeper() noexcept {
    if (sleepers_.empty()) return nullptr;
    Worker* sleeper = sleepers_.back(); // the last to fall asleep: its caches are warm
    sleepers_.pop_back();
    return sleeper;
}

// The sleeper was taken off the list by who calls this, and stays until it has seen the word.
void ThreadPoolExecutor::Impl::wake(Worker& sleeper) noexcept {
    sleeper.woken.store(1, memory_order_release); // meets find_work()
    os::futex_wake(sleeper.woken, 1);             // it may be gone by now: the address alone
}

void ThreadPoolExecutor::Impl::wake_all() noexcept {
    for (;;) {
        Worker* sleeper = nullptr;
        {
            os::MutexGuard guard(mutex_);
            sleeper = choose_sleeper();
        }
        if (!sleeper) return;
        wake(*sleeper);
    }
}

void ThreadPoolExecutor::Impl::attract(Worker* sleeper, bool start) noexcept {
    if (sleeper)
        wake(*sleeper);
    else if (start)
        start_thread();
}

void ThreadPoolExecutor::Impl::start_thread() noexcept {
    std::vector<pthread_t> ended;
    int error = 0;
    {
        os::MutexGuard guard(mutex_);
        ended.swap(ended_);
        if (may_start()) error = try_start_thread();
        if (live_ > waiting_) error = 0; // the others will do the work
    }
    for (pthread_t t : ended) ::pthread_join(t, nullptr);
    if (error)
        break_pool(std::make_exception_ptr(BrokenExecutor(
            "ThreadPoolExecutor: no worker is left that could run, and the system refuses another thread (errno " +
            std::to_string(error) + ")")));
}

int ThreadPoolExecutor::Impl::try_start_thread() noexcept SENNIT_NO_TSA {
    try {
        ended_.reserve(workers_.size() + ended_.size() + 1); // so that a worker's end allocates nothing
        sleepers_.reserve(workers_.size() + 1);
        workers_.push_back(std::make_unique<Worker>(*this, static_cast<std::size_t>(started_)));
    } catch (...) {
        return ENOMEM;
    }
    // Under the lock: the worker reads its own pthread_t under it.
    const int error =
        os::start_thread(workers_.back()->thread, worker_main, workers_.back().get(), options_.stack_size);
    if (error) {
        workers_.pop_back();
        return error;
    }
    ++live_;
    ++started_;
    return 0;
}

// ---- working

void* ThreadPoolExecutor::Impl::worker_main(void* argument) noexcept {
    auto& me = *static_cast<Worker*>(argument);
    me.pool.work(me);
    return nullptr;
}

void ThreadPoolExecutor::Impl::work(Worker& me) noexcept {
    char here = 0;
    me.stack_at_start = &here;
    try {
        const std::string name = options_.thread_name_prefix + "_" + std::to_string(me.index);
        wait::current_agent().set_name(name);
        os::set_kernel_thread_name(name.c_str());
        if (options_.initializer) options_.initializer();
        sync::FutureCore::set_wait_hook(&me);
        sync::Task* task = nullptr;
        while (find_work(me, task) == Next::run) task->run();
    } catch (...) {
        std::string why = "ThreadPoolExecutor: the initializer of a worker threw";
        try {
            throw;
        } catch (const std::exception& e) {
            why += std::string(": ") + e.what();
        } catch (...) {
            why += " something that is no std::exception";
        }
        break_pool(std::make_exception_ptr(BrokenExecutor(why)));
    }
    sync::FutureCore::set_wait_hook(nullptr);
    bool last = false;
    {
        os::MutexGuard guard(mutex_);
        ended_.push_back(me.thread);
        last = --live_ == 0 && closed_;
        // The Worker itself goes, the pool stays: whoever joins the thread does so before the pool dies.
        workers_.erase(std::find_if(workers_.begin(), workers_.end(), [&](const auto& w) { return w.get() == &me; }));
    }
    if (last) all_ended_.set();
}

ThreadPoolExecutor::Impl::Next ThreadPoolExecutor::Impl::find_work(Worker& me, sync::Task*& task) noexcept {
    if ((task = me.batch.take())) return Next::run; // w1
    for (;;) {
        Worker* sleeper = nullptr;
        {
            os::MutexGuard guard(mutex_);
            if (live_ - waiting_ > max_workers_ && !closed_) return Next::end; // somebody came back from a wait
            task = take_chunk(me, sleeper);                                    // w2
            if (!task) task = steal(me);                                       // w3
            if (!task) {
                if (closed_ || broken_) return Next::end;
                me.woken.store(0, memory_order_relaxed); // under the lock, before it can be chosen
                sleepers_.push_back(&me);                // w4
            }
        }
        if (task) {
            if (sleeper) wake(*sleeper);
            return Next::run;
        }
        while (me.woken.load(memory_order_acquire) == 0) os::futex_wait(me.woken, 0, forever); // meets wake()
    }
}

sync::Task* ThreadPoolExecutor::Impl::take_chunk(Worker& me, Worker*& sleeper) noexcept {
    Chunk* chunk = chunks_;
    if (!chunk || chunk->size == 0) return nullptr;
    chunks_ = chunk->next;
    if (!chunks_) last_ = nullptr;
    me.batch.fill(*chunk);
    const bool more = chunk->size > 1 || chunks_;
    chunk->next = spare_;
    spare_ = chunk;
    if (more) sleeper = choose_sleeper();
    return me.batch.take();
}

sync::Task* ThreadPoolExecutor::Impl::steal(const Worker& me) noexcept {
    for (std::size_t i = 1; i < workers_.size(); ++i) {
        // Begin after one's own place, so that thieves spread.
        if (sync::Task* task = workers_[(me.index + i) % workers_.size()]->batch.take()) return task;
    }
    for (auto& w : workers_)
        if (sync::Task* task = w->batch.take()) return task;
    return nullptr;
}

bool ThreadPoolExecutor::Impl::has_work() const noexcept {
    if (chunks_ && chunks_->size > 0) return true;
    return std::any_of(workers_.begin(), workers_.end(), [](const auto& w) { return !w->batch.empty(); });
}

// ---- nested waits

bool ThreadPoolExecutor::Impl::Worker::help(sync::FutureCore& future) {
    char here = 0;
    const auto used =
        static_cast<std::size_t>(stack_at_start > &here ? stack_at_start - &here : &here - stack_at_start);
    if (used > nested_stack_bytes) return false;
    return future.run_here(pool.identity_);
}

void ThreadPoolExecutor::Impl::leave_for_a_wait() noexcept {
    Worker* sleeper = nullptr;
    bool start = false;
    {
        os::MutexGuard guard(mutex_);
        ++waiting_;
        if (has_work()) {
            sleeper = choose_sleeper();
            start = !sleeper && may_start();
        }
    }
    attract(sleeper, start);
}

void ThreadPoolExecutor::Impl::return_from_a_wait() noexcept {
    os::MutexGuard guard(mutex_);
    --waiting_;
}

// ---- the end

Chunk* ThreadPoolExecutor::Impl::take_all() noexcept {
    last_ = nullptr;
    return std::exchange(chunks_, nullptr);
}

void ThreadPoolExecutor::Impl::break_pool(std::exception_ptr cause) noexcept {
    Chunk* taken = nullptr;
    {
        os::MutexGuard guard(mutex_);
        if (!broken_) broken_ = cause;
        taken = take_all();
    }
    wake_all();
    while (taken) {
        for (std::uint32_t i = 0; i < taken->size; ++i) taken->tasks[i]->fail_and_drop(cause);
        delete std::exchange(taken, taken->next);
    }
}

bool ThreadPoolExecutor::Impl::called_by_worker() const noexcept {
    auto* hook = sync::FutureCore::current_wait_hook();
    os::MutexGuard guard(mutex_);
    return std::any_of(workers_.begin(), workers_.end(), [hook](const auto& w) { return w.get() == hook; });
}

void ThreadPoolExecutor::Impl::shutdown(bool wait, bool cancel_futures) {
    if (wait && called_by_worker())
        throw UsageError("ThreadPoolExecutor.shutdown: one of the pool's own tasks can't wait for its own end; call "
                         "shutdown({.wait = false}) there");
    Chunk* taken = nullptr;
    std::vector<sync::Task*> batched;
    bool none = false;
    {
        os::MutexGuard guard(mutex_);
        closed_ = true;
        if (cancel_futures) {
            taken = take_all();
            while (sync::Task* t = [this]() noexcept SENNIT_NO_TSA -> sync::Task* {
                for (auto& w : workers_)
                    if (sync::Task* found = w->batch.take()) return found;
                return nullptr;
            }())
                batched.push_back(t);
        }
        none = live_ == 0;
    }
    wake_all();
    for (sync::Task* t : batched) t->cancel_and_drop();
    while (taken) {
        for (std::uint32_t i = 0; i < taken->size; ++i) taken->tasks[i]->cancel_and_drop();
        delete std::exchange(taken, taken->next);
    }
    if (none) all_ended_.set();
    if (!wait) return;
    if (!all_ended_.wait(std::chrono::seconds(5))) {
        const Statistics s = statistics();
        std::fprintf(
            stderr,
            "sennit: ThreadPoolExecutor \"%s\": the end waits since 5 s for tasks: %zu threads alive, %zu queued\n",
            options_.thread_name_prefix.c_str(), s.threads, s.queued);
        all_ended_.wait();
    }
    std::vector<pthread_t> ended;
    {
        os::MutexGuard guard(mutex_);
        ended.swap(ended_);
    }
    for (pthread_t t : ended) ::pthread_join(t, nullptr);
}

ThreadPoolExecutor::Statistics ThreadPoolExecutor::Impl::statistics() const {
    os::MutexGuard guard(mutex_);
    Statistics s;
    s.max_workers = max_workers_;
    s.threads = live_;
    s.idle = sleepers_.size();
    s.waiting = waiting_;
    s.started = started_;
    for (const Chunk* c = chunks_; c; c = c->next) s.queued += c->size;
    for (const auto& w : workers_) s.queued += w->batch.size_hint();
    return s;
}

// ---- the face

namespace {

std::size_t checked(std::size_t max_workers) {
    if (max_workers < 1) throw UsageError("ThreadPoolExecutor: max_workers must be at least 1, got 0");
    return max_workers;
}

} // namespace

ThreadPoolExecutor::ThreadPoolExecutor(std::size_t max_workers, ThreadPoolOptions options)
    : impl_(std::make_unique<Impl>(checked(max_workers), std::move(options), static_cast<const Executor*>(this))) {}

ThreadPoolExecutor::ThreadPoolExecutor()
    : ThreadPoolExecutor(std::min<std::size_t>(32, static_cast<std::size_t>(os::usable_cpus()) + 4)) {}

ThreadPoolExecutor::~ThreadPoolExecutor() { impl_->shutdown(true, false); }

void ThreadPoolExecutor::shutdown(ShutdownOptions options) { impl_->shutdown(options.wait, options.cancel_futures); }

ThreadPoolExecutor::Statistics ThreadPoolExecutor::statistics() const { return impl_->statistics(); }

void ThreadPoolExecutor::enqueue(sync::Task& task) { impl_->enqueue(task); }

} // namespace sennit::futures
