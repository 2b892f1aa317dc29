// The pool: one queue of chunks under a lock, and a batch of tasks per worker that the others may steal from.
//
//   submit                              worker
//   s1  lock; append to the last chunk  w1  take from its own batch (oldest first); run
//   s2  nobody searches: choose a       w2  empty: lock; take the first chunk whole into the batch;
//       sleeper to wake, or start one   w3  nothing: steal half of another's batch
//   s3  unlock; wake or start           w4  more left than it takes, and nobody searches: s2, s3
//                                       w5  nothing at all: search: look at `queued_` for some microseconds, then w2
//                                       w6  still nothing: join the sleepers, unlock, sleep on its own word
//
// 1. Nobody sleeps beside work. Sleepers are listed (w6) under the lock under which queue and batches were found empty, and
//    under the same lock who adds work (s2), or takes one of several (w4), looks for somebody who searches or sleeps. A
//    searcher does not sleep without having looked again under the lock; the last one that finds something calls the next.
// 2. A batch is a window [top, bottom) over 64 slots in one word. Its owner fills it only when it is empty, and everybody,
//    the owner too, takes the oldest by a compare-exchange of the whole word. top only grows (32 bits, and one round
//    through all of them between a thief's load and its exchange is out of the question), so a thief that read a slot
//    which has been refilled meanwhile fails.
// 3. Nested waits end: a worker that waits for a task of this pool runs it itself if nobody has begun it (only that one:
//    a foreign task might need a lock that the waiter holds); else it counts as away, and another thread may work in its
//    place. Back again, the first worker that finds nothing to do while there are too many ends.
// Source: chunks, windows and searchers as in Go's scheduler (runqgrab, nmspinning); helping only with what is waited for:
// after the remarks of TBB on isolation.
#include <sennit/futures/thread_pool_executor.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/cpu_count.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/registry.hpp>

#include "futures/fork_team.hpp"
#include "futures/task_batch.hpp"
#include "threading/report.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <vector>

namespace sennit::futures {
namespace {

// Which part of its stack a worker may use for running nested tasks in place of waiting; beyond that, another thread helps.
constexpr std::size_t nested_stack_share = 2;
// How often a worker looks for new work before it sleeps: some 10 microseconds, what a wake-up costs.
constexpr unsigned max_search_turns = 300;

} // namespace

class ThreadPoolExecutor::Impl final : public std::enable_shared_from_this<ThreadPoolExecutor::Impl> {
  public:
    Impl(std::size_t max_workers, ThreadPoolOptions options);
    ~Impl() {
        while (chunks_) delete std::exchange(chunks_, chunks_->next);
        while (spare_) delete std::exchange(spare_, spare_->next);
    }

    void enqueue(sync::Task& task);
    void shutdown(bool wait, bool cancel_futures);
    // For the destructor.
    void end() noexcept;
    Statistics statistics() const;
    [[nodiscard]] bool called_by_worker() const noexcept;
    [[nodiscard]] std::size_t max_workers() const noexcept { return max_workers_; }
    detail::ForkTeam& fork_team() noexcept { return fork_helpers_.team; }

  private:
    // Brings workers to where forks are shared: as one task, which stands in the queue at most once.
    struct ForkHelpers final : detail::ForkHost, sync::Task {
        explicit ForkHelpers(Impl& p) noexcept : pool(p), team(*this, p.max_workers_) {}
        bool invite() noexcept override {
            try {
                pool.enqueue(*this);
                return true;
            } catch (...) {
                return false; // shut down, or no memory: who called does it alone
            }
        }
        bool has_other_work(bool invited) noexcept override { return pool.statistics().queued > (invited ? 1U : 0U); }
        void run() noexcept override { team.help(); }
        void cancel_and_drop() noexcept override { team.invitation_lost(); }
        void fail_and_drop(const std::exception_ptr&) noexcept override { team.invitation_lost(); }

        Impl& pool;
        detail::ForkTeam team;
    };

    struct Worker final : sync::FutureCore::WaitHook {
        explicit Worker(Impl& p, std::size_t i) : pool(p), index(i) {}
        bool help(sync::FutureCore& future) override;
        void before_park() noexcept override { pool.leave_for_a_wait(); }
        void after_park() noexcept override { pool.return_from_a_wait(); }
        [[nodiscard]] const void* executor() const noexcept override { return &pool; }

        Impl& pool;
        std::shared_ptr<Impl> keep; // until the thread has begun
        const std::size_t index;
        pthread_t thread{};
        const wait::Agent* agent = nullptr;
        TaskBatch batch;
        const char* stack_at_start = nullptr;
        std::size_t nested_stack_bytes = 0;
        os::FutexWord woken{0}; // 1: taken off the sleepers, go and look
    };
    // Whom to call for help: a sleeper, or a new thread.
    struct Help {
        Worker* sleeper = nullptr;
        bool start = false;
    };
    enum class Next : std::uint8_t { run, end };

    static void* worker_main(void* worker) noexcept;
    void work(Worker& me) noexcept;
    Next find_work(Worker& me, sync::Task*& task) noexcept;
    void search() noexcept;
    sync::Task* take_chunk(Worker& me) noexcept SENNIT_REQUIRES(mutex_);
    sync::Task* steal(Worker& me) noexcept SENNIT_REQUIRES(mutex_);
    bool may_start() const noexcept SENNIT_REQUIRES(mutex_) { return live_ - waiting_ < max_workers_ && !broken_; }
    bool has_work() const noexcept SENNIT_REQUIRES(mutex_);
    Help call_help() noexcept SENNIT_REQUIRES(mutex_);
    Worker* pop_sleeper() noexcept SENNIT_REQUIRES(mutex_);
    // Without the lock.
    void attract(Help help) noexcept;
    void wake_all() noexcept;
    static void wake(Worker& sleeper) noexcept;
    void start_thread() noexcept;
    int try_start_thread() noexcept SENNIT_REQUIRES(mutex_);
    void leave_for_a_wait() noexcept;
    void return_from_a_wait() noexcept;
    void break_pool(const std::exception_ptr& cause) noexcept;
    void report_long_end() const noexcept;
    // All tasks that nobody has begun.
    struct Taken {
        Chunk* chunks = nullptr;
        std::vector<sync::Task*> batched;
        template <class F>
        void for_each(F f) noexcept;
    };
    Taken take_all() SENNIT_REQUIRES(mutex_);

    const std::size_t max_workers_;
    ThreadPoolOptions options_;
    const unsigned search_turns_;

    mutable os::Mutex mutex_;
    Chunk* chunks_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Chunk* last_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Chunk* spare_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    std::vector<std::unique_ptr<Worker>> workers_ SENNIT_GUARDED_BY(mutex_);
    std::vector<pthread_t> ended_ SENNIT_GUARDED_BY(mutex_);
    std::size_t live_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::size_t waiting_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::size_t searching_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::vector<Worker*> sleepers_ SENNIT_GUARDED_BY(mutex_); // has room for all workers
    std::uint64_t started_ SENNIT_GUARDED_BY(mutex_) = 0;
    bool closed_ SENNIT_GUARDED_BY(mutex_) = false;
    bool abandoned_ SENNIT_GUARDED_BY(mutex_) = false; // nobody will join
    std::exception_ptr broken_ SENNIT_GUARDED_BY(mutex_);
    sync::Event all_ended_;
    // Whether chunks_ is not empty, or there is something else to be seen under the lock. A hint for those who search:
    // relaxed, for what it says is looked up under the lock.
    alignas(64) atomic<bool> queued_{false};
    ForkHelpers fork_helpers_{*this};
};

namespace {

std::string default_prefix() {
    static constinit atomic<unsigned> count{0};
    return "ThreadPoolExecutor-" + std::to_string(count.fetch_add(1, memory_order_relaxed));
}

} // namespace

ThreadPoolExecutor::Impl::Impl(std::size_t max_workers, ThreadPoolOptions options)
    : max_workers_(max_workers),
      options_(std::move(options)),
      // On one CPU nobody can bring work while somebody looks for it.
      search_turns_(os::usable_cpus() > 1 ? spin_turns(max_search_turns) : 0) {
    sync::set_default_unseen_error_hook(threading::detail::report_unseen_error);
    if (options_.thread_name_prefix.empty()) options_.thread_name_prefix = default_prefix();
}

// ---- submitting

void ThreadPoolExecutor::Impl::enqueue(sync::Task& task) {
    Help help;
    std::exception_ptr broken;
    task.executor = this;
    {
        os::MutexGuard guard(mutex_);
        if (closed_)
            throw UsageError(
                "ThreadPoolExecutor.submit: the pool was shut down; submit before shutdown(), or make a new pool");
        if (broken_) [[unlikely]] {
            broken = broken_;
        } else {
            const bool alone = live_ == waiting_;
            if (alone) [[unlikely]] { // nobody is there who could run it
                if (const int error = try_start_thread())
                    throw OSError(error,
                                  "ThreadPoolExecutor.submit: the system refuses a thread for the pool's worker");
            }
            if (!last_ || last_->size == Chunk::capacity) {
                Chunk* fresh = spare_ ? std::exchange(spare_, spare_->next) : new Chunk;
                fresh->next = nullptr;
                fresh->size = 0;
                (last_ ? last_->next : chunks_) = fresh;
                last_ = fresh;
            }
            last_->tasks[last_->size++] = &task;
            if (last_ == chunks_ && last_->size == 1) queued_.store(true, memory_order_relaxed);
            if (!alone) help = call_help();
        }
    }
    if (broken) [[unlikely]] {
        task.fail_and_drop(broken);
        return;
    }
    attract(help);
}

ThreadPoolExecutor::Impl::Worker* ThreadPoolExecutor::Impl::pop_sleeper() noexcept {
    if (sleepers_.empty()) return nullptr;
    Worker* sleeper = sleepers_.back(); // the last to fall asleep: its caches are warm
    sleepers_.pop_back();
    return sleeper;
}

ThreadPoolExecutor::Impl::Help ThreadPoolExecutor::Impl::call_help() noexcept {
    if (searching_ > 0) return {};
    if (Worker* sleeper = pop_sleeper()) {
        ++searching_; // it does so from now on
        return {sleeper, false};
    }
    return {nullptr, may_start()};
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
            queued_.store(true, memory_order_relaxed); // those who search are to look, too
            sleeper = pop_sleeper();
            if (sleeper) ++searching_;
        }
        if (!sleeper) return;
        wake(*sleeper);
    }
}

void ThreadPoolExecutor::Impl::attract(Help help) noexcept {
    if (help.sleeper)
        wake(*help.sleeper);
    else if (help.start)
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
    for (pthread_t t : ended) os::join_thread(t);
    if (error) // all workers wait, perhaps for what is queued
        break_pool(std::make_exception_ptr(BrokenExecutor("ThreadPoolExecutor: all workers wait, and the system "
                                                          "refuses another thread to run what is queued (errno " +
                                                          std::to_string(error) + ")")));
}

int ThreadPoolExecutor::Impl::try_start_thread() noexcept {
    try {
        ended_.reserve(workers_.size() + ended_.size() + 1); // so that a worker's end allocates nothing
        sleepers_.reserve(workers_.size() + 1);
        workers_.push_back(std::make_unique<Worker>(*this, static_cast<std::size_t>(started_)));
    } catch (...) {
        return ENOMEM;
    }
    Worker& fresh = *workers_.back();
    fresh.keep = shared_from_this();
    // Under the lock: the worker reads its own pthread_t under it.
    const int error = os::start_thread(fresh.thread, worker_main, &fresh, options_.stack_size);
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
    const std::shared_ptr<Impl> pool = std::move(me.keep);
    pool->work(me);
    return nullptr;
}

void ThreadPoolExecutor::Impl::work(Worker& me) noexcept {
    char here = 0;
    me.stack_at_start = &here;
    me.nested_stack_bytes = os::stack_bytes_of_this_thread() / nested_stack_share;
    try {
        const std::string name = options_.thread_name_prefix + "_" + std::to_string(me.index);
        wait::current_agent().set_name(name);
        os::set_kernel_thread_name(name.c_str());
        {
            os::MutexGuard guard(mutex_);
            me.agent = &wait::current_agent();
        }
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
        if (abandoned_)
            os::detach_thread(me.thread);
        else
            ended_.push_back(me.thread);
        last = --live_ == 0 && closed_;
        // The Worker itself goes, the pool stays: this thread has it.
        workers_.erase(std::find_if(workers_.begin(), workers_.end(), [&](const auto& w) { return w.get() == &me; }));
    }
    if (last) all_ended_.set();
}

ThreadPoolExecutor::Impl::Next ThreadPoolExecutor::Impl::find_work(Worker& me, sync::Task*& task) noexcept {
    if ((task = me.batch.take())) return Next::run; // w1
    bool searching = false, has_searched = false;
    for (;;) {
        Help help;
        bool asleep = false;
        {
            os::MutexGuard guard(mutex_);
            if (std::exchange(searching, false)) --searching_;
            if (live_ - waiting_ > max_workers_ && !closed_) return Next::end; // somebody came back from a wait
            task = take_chunk(me);                                             // w2
            if (!task) task = steal(me);                                       // w3
            if (task) {
                if (has_work()) help = call_help(); // w4
            } else {
                if (closed_ || broken_) return Next::end;
                if (!has_searched && searching_ == 0 && search_turns_ > 0) {
                    ++searching_; // w5
                    searching = true;
                } else {
                    me.woken.store(0, memory_order_relaxed); // under the lock, before it can be chosen
                    sleepers_.push_back(&me);                // w6
                    asleep = true;
                }
            }
        }
        if (task) {
            attract(help);
            return Next::run;
        }
        if (asleep) {
            while (me.woken.load(memory_order_acquire) == 0) os::futex_wait(me.woken, 0, forever); // meets wake()
            searching = true; // so counted by who woke it
            has_searched = false;
        } else {
            search();
            has_searched = true;
        }
    }
}

void ThreadPoolExecutor::Impl::search() noexcept {
    for (unsigned i = 0; i < search_turns_ && !queued_.load(memory_order_relaxed); ++i) cpu_relax();
}

sync::Task* ThreadPoolExecutor::Impl::take_chunk(Worker& me) noexcept {
    Chunk* chunk = chunks_;
    if (!chunk || chunk->size == 0) return nullptr;
    chunks_ = chunk->next;
    if (!chunks_) {
        last_ = nullptr;
        queued_.store(false, memory_order_relaxed);
    }
    me.batch.fill(*chunk);
    chunk->next = spare_;
    spare_ = chunk;
    return me.batch.take();
}

sync::Task* ThreadPoolExecutor::Impl::steal(Worker& me) noexcept {
    const std::size_t n = workers_.size();
    for (std::size_t i = 1; i <= n; ++i) {
        // Begin after one's own place, so that thieves spread.
        Worker& victim = *workers_[(me.index + i) % n];
        if (&victim == &me) continue;
        if (sync::Task* task = me.batch.steal_half(victim.batch)) return task;
    }
    return nullptr;
}

bool ThreadPoolExecutor::Impl::has_work() const noexcept {
    if (chunks_) return true;
    return std::any_of(workers_.begin(), workers_.end(), [](const auto& w) { return !w->batch.empty(); });
}

// ---- nested waits

bool ThreadPoolExecutor::Impl::Worker::help(sync::FutureCore& future) {
    char here = 0;
    const auto used =
        static_cast<std::size_t>(stack_at_start > &here ? stack_at_start - &here : &here - stack_at_start);
    if (used > nested_stack_bytes) return false;
    return future.run_here(&pool);
}

void ThreadPoolExecutor::Impl::leave_for_a_wait() noexcept {
    Help help;
    {
        os::MutexGuard guard(mutex_);
        ++waiting_;
        if (has_work()) help = call_help();
    }
    attract(help);
}

void ThreadPoolExecutor::Impl::return_from_a_wait() noexcept {
    os::MutexGuard guard(mutex_);
    --waiting_;
}

// ---- the end

ThreadPoolExecutor::Impl::Taken ThreadPoolExecutor::Impl::take_all() {
    Taken all;
    all.batched.reserve(workers_.size() * Chunk::capacity);
    for (auto& w : workers_)
        while (sync::Task* task = w->batch.take()) all.batched.push_back(task);
    last_ = nullptr;
    all.chunks = std::exchange(chunks_, nullptr);
    return all;
}

template <class F>
void ThreadPoolExecutor::Impl::Taken::for_each(F f) noexcept {
    for (sync::Task* t : batched) f(*t);
    while (chunks) {
        for (std::uint32_t i = 0; i < chunks->size; ++i) f(*chunks->tasks[i]);
        delete std::exchange(chunks, chunks->next);
    }
}

void ThreadPoolExecutor::Impl::break_pool(const std::exception_ptr& cause) noexcept {
    Taken taken;
    {
        os::MutexGuard guard(mutex_);
        if (!broken_) broken_ = cause;
        taken = take_all();
    }
    wake_all();
    taken.for_each([&](sync::Task& t) { t.fail_and_drop(cause); });
}

bool ThreadPoolExecutor::Impl::called_by_worker() const noexcept {
    const auto* hook = sync::FutureCore::current_wait_hook();
    return hook && hook->executor() == this;
}

void ThreadPoolExecutor::Impl::shutdown(bool wait, bool cancel_futures) {
    if (wait && called_by_worker())
        throw UsageError("ThreadPoolExecutor.shutdown: one of the pool's own tasks can't wait for its own end; call "
                         "shutdown({.wait = false}) there");
    Taken taken;
    bool none = false;
    {
        os::MutexGuard guard(mutex_);
        if (cancel_futures) taken = take_all();
        closed_ = true;
        none = live_ == 0;
    }
    wake_all();
    taken.for_each([](sync::Task& t) { t.cancel_and_drop(); });
    if (none) all_ended_.set();
    if (!wait) return;
#if defined(SENNIT_MODEL)
    all_ended_.wait(); // its clock jumps
#else
    if (!all_ended_.wait(std::chrono::seconds(5))) {
        report_long_end();
        all_ended_.wait();
    }
#endif
    std::vector<pthread_t> ended;
    {
        os::MutexGuard guard(mutex_);
        ended.swap(ended_);
    }
    for (pthread_t t : ended) os::join_thread(t);
}

void ThreadPoolExecutor::Impl::end() noexcept {
    try {
        if (!called_by_worker()) return shutdown(true, false);
        shutdown(false, false);
        std::vector<pthread_t> ended;
        {
            os::MutexGuard guard(mutex_);
            abandoned_ = true;
            ended.swap(ended_);
        }
        for (pthread_t t : ended) os::detach_thread(t);
    } catch (...) {
        // A cancelled wait: then without the message of 5 s.
        wait::Agent& me = wait::current_agent();
        me.take_cancel();
        end();
        me.cancel();
    }
}

void ThreadPoolExecutor::Impl::report_long_end() const noexcept {
    try {
        std::string text = "sennit: the end of ThreadPoolExecutor \"" + options_.thread_name_prefix +
                           "\" has waited for 5 s for its tasks; of its threads\n";
        const auto agents = wait::Registry::snapshot();
        os::MutexGuard guard(mutex_);
        for (const auto& w : workers_) {
            const auto a = std::find_if(agents.begin(), agents.end(),
                                        [&](const wait::Agent::Snapshot& s) { return s.agent == w->agent; });
            if (a == agents.end()) continue;
            ((text += "  ") += a->name) += " (tid " + std::to_string(a->native_id) + ")";
            if (a->site) {
                const auto seconds = static_cast<double>(base::monotonic_ns() - a->since_ns) / 1e9;
                char since[32];
                std::snprintf(since, sizeof since, "%.1f", seconds);
                text += std::string(" waits in ") + a->site->object + '.' + a->site->call + " for " + since + " s\n";
            } else {
                text += " runs\n";
            }
        }
        std::fwrite(text.data(), 1, text.size(), stderr);
    } catch (...) {
        std::fputs("sennit: a ThreadPoolExecutor does not end, and no memory is left to say why\n", stderr);
    }
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
    if (max_workers > std::numeric_limits<std::uint32_t>::max())
        throw UsageError("ThreadPoolExecutor: max_workers is far too large; was a negative number given?");
    return max_workers;
}

} // namespace

ThreadPoolExecutor::ThreadPoolExecutor(std::size_t max_workers, ThreadPoolOptions options)
    : impl_(std::make_shared<Impl>(checked(max_workers), std::move(options))) {}

ThreadPoolExecutor::ThreadPoolExecutor()
    : ThreadPoolExecutor(std::min<std::size_t>(32, static_cast<std::size_t>(os::usable_cpu_count()) + 4)) {}

ThreadPoolExecutor::~ThreadPoolExecutor() { impl_->end(); }

void ThreadPoolExecutor::shutdown(ShutdownOptions options) { impl_->shutdown(options.wait, options.cancel_futures); }

ThreadPoolExecutor::Statistics ThreadPoolExecutor::statistics() const { return impl_->statistics(); }

void ThreadPoolExecutor::enqueue(sync::Task& task) { impl_->enqueue(task); }

bool ThreadPoolExecutor::is_worker() const noexcept { return impl_->called_by_worker(); }

std::size_t ThreadPoolExecutor::max_workers() const noexcept { return impl_->max_workers(); }

detail::ForkTeam& ThreadPoolExecutor::fork_team() noexcept { return impl_->fork_team(); }

} // namespace sennit::futures
