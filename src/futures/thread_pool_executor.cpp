// The pool: a common queue of chunks under a lock for those outside of it, and for each worker a batch of tasks from there and a
// deque of its own submissions, both open to thieves.
//
//   submit, outside             submit, in a worker      worker
//   s1  lock; append; unlock    d1  push on its deque    w1  run what is in its batch, then in its deque, oldest first
//   s2  call for help:          d2  s2                   w2  lock; take the first chunk whole into the batch; unlock
//       nobody searches: wake                            w3  nothing: steal, half of a batch or one of a deque
//       a sleeper; nobody                                w4  found, and there is more: s2
//       sleeps: start one                                w5  nothing: search, look at all of these for some microseconds
//                                                        w6  leave the search; announce oneself; w2, w3 again; sleep
//
// 1. Nobody sleeps beside work. What is added (s1, d1) is added before s2 looks, and who sleeps looks at everything (w6) after it
//    has left the search and has announced itself; all of that is seq_cst, or ordered by the lock. So either w6 sees the work;
//    or s2 sees a sleeper and wakes it, or somebody who still searches, and that one will look again, or leave the search
//    (searching_ - 1) and then look whether there is more (w4). Who is woken searches from the moment when it was chosen on.
// 2. A notification that finds nobody was counted as a search for a moment: s2 takes that back and looks for sleepers again, for
//    somebody else may have relied on it.
// 3. The batch, the deques: task_batch.hpp, task_deque.hpp; sleeping: event_count.hpp. Places with batch and deque stay until the
//    pool's end, so that thieves need no lock; a place is given to the next thread when one ends. Its owner is ordered by the lock.
// 4. Order: all begin in the order of submission, within the common queue and within a deque. A deque comes before the common
//    queue but every 61st time, so that neither starves. A pool of one has no deque: all is strictly in order, as in Python.
// 5. Nested waits end: a worker that waits for a task of this pool runs it itself if nobody has begun it (only that one:
//    a foreign task might need a lock that the waiter holds); else it counts as away, and another thread may work in its
//    place. Back again, the first worker that looks ends if there are too many; what is left in its deque others steal.
// 6. Once the pool is closed with cancel_futures, or broken, who takes a task drops it (`notice_`): also those that were being
//    stolen while drop_all() went through the places.
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

#include "futures/event_count.hpp"
#include "futures/fork_team.hpp"
#include "futures/living_pool.hpp"
#include "futures/task_batch.hpp"
#include "futures/task_deque.hpp"
#include "os/patience.hpp"
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
// Who searches looks at others' deques every so many times only: a look takes the line from who pushes.
constexpr unsigned deques_each = 4;
// In how many tasks of its own a worker looks once at the common queue first.
constexpr unsigned common_each = 61;

constexpr wait::WaitSite idle_site{"ThreadPoolExecutor", "idle"};

} // namespace

class ThreadPoolExecutor::Impl final : public std::enable_shared_from_this<ThreadPoolExecutor::Impl>,
                                       public LivingPool {
  public:
    Impl(std::size_t max_workers, ThreadPoolOptions options);
    ~Impl() {
        leave();
        Worker* place = places_.load(memory_order_relaxed); // nobody else is left
        while (place) delete std::exchange(place, place->next);
        while (chunks_) delete std::exchange(chunks_, chunks_->next);
        while (spare_) delete std::exchange(spare_, spare_->next);
    }

    void enqueue(sync::Task& task);
    void shutdown(bool wait, bool cancel_futures);
    // Its two halves: all but waiting; and what is left to do once all threads have ended.
    void close(bool wait, bool cancel_futures);
    sync::Event& all_ended() noexcept { return all_ended_; }
    void join_ended() noexcept;
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

    // A place for a thread, and what lies there for it and for thieves.
    struct Worker final : sync::FutureCore::WaitHook {
        Worker(Impl& p, Worker* n) : pool(p), next(n) {}
        bool help(sync::FutureCore& future) override;
        void before_park() noexcept override { pool.leave_for_a_wait(); }
        void after_park() noexcept override { pool.return_from_a_wait(); }
        [[nodiscard]] const void* executor() const noexcept override { return &pool; }

        Impl& pool;
        Worker* const next; // of all places
        TaskBatch batch;
        TaskDeque own;
        // The thread's that has the place, and before it begins, its starter's.
        std::shared_ptr<Impl> keep; // until the thread has begun
        std::uint64_t number = 0;
        const char* stack_at_start = nullptr;
        std::size_t nested_stack_bytes = 0;
        unsigned turns = 0;
        os::Patience patience; // with an empty pool
        bool leaving = false;
        // Under the pool's lock.
        bool taken = false;
        pthread_t thread{};
        const wait::Agent* agent = nullptr;
    };
    // For notice_.
    static constexpr std::uint32_t closed = 1, // nothing more is submitted
        dropping = 2,                          // what is taken is dropped: closed with cancel_futures, or broken
        surplus = 4; // there may be more who run than there should be: somebody look under the lock

    static void* worker_main(void* worker) noexcept;
    void work(Worker& me) noexcept;
    // nullptr: the worker is to end.
    sync::Task* find_work(Worker& me) noexcept;
    sync::Task* take_own(Worker& me) noexcept;
    sync::Task* look_around(Worker& me, bool& end) noexcept;
    sync::Task* steal(Worker& me) noexcept;
    bool search(Worker& me) const noexcept;
    void leave_search() noexcept { searching_.fetch_sub(1, memory_order_seq_cst); } // before has_work(); 1
    bool has_work() const noexcept;
    template <class F>
    bool any_place(F f) const noexcept {
        // acquire: meets take_place().
        for (Worker* w = places_.load(memory_order_acquire); w; w = w->next)
            if (f(*w)) return true;
        return false;
    }
    Worker* calling_worker() const noexcept;
    void enqueue_own(Worker& me, sync::Task& task);
    std::size_t working() const noexcept SENNIT_REQUIRES(mutex_) { return live_ - leaving_ - waiting_; }
    // After a change of what it is made of.
    void note_room() noexcept SENNIT_REQUIRES(mutex_);
    // Without the lock.
    void call_help() noexcept;
    void wake_all() noexcept;
    void start_thread() noexcept;
    int try_start_thread() noexcept SENNIT_REQUIRES(mutex_);
    Worker& take_place() SENNIT_REQUIRES(mutex_);
    void leave_for_a_wait() noexcept;
    void return_from_a_wait() noexcept;
    void break_pool(const std::exception_ptr& cause) noexcept;
    void drop(sync::Task& task) noexcept;
    void report_long_end() const noexcept;
    std::shared_ptr<LivingPool> hold() noexcept override { return weak_from_this().lock(); }
    void close_at_end() noexcept override;
    void wait_at_end() noexcept override;
    void forget_threads() noexcept override;
    // Takes the common queue. With drop_all() after it, outside of the lock: all tasks that nobody has begun.
    Chunk* take_chunks() noexcept SENNIT_REQUIRES(mutex_);
    template <class F>
    void drop_all(Chunk* chunks, F f) noexcept;

    const std::size_t max_workers_;
    ThreadPoolOptions options_;
    mutable os::Mutex mutex_;
    Chunk* chunks_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Chunk* last_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    Chunk* spare_ SENNIT_GUARDED_BY(mutex_) = nullptr;
    std::vector<pthread_t> ended_ SENNIT_GUARDED_BY(mutex_); // has room for all threads
    std::size_t live_ SENNIT_GUARDED_BY(mutex_) = 0;
    std::size_t leaving_ SENNIT_GUARDED_BY(mutex_) = 0; // of them, those that will do no more
    std::size_t waiting_ SENNIT_GUARDED_BY(mutex_) = 0; // of them, those that wait for other tasks
    std::uint64_t started_ SENNIT_GUARDED_BY(mutex_) = 0;
    bool abandoned_ SENNIT_GUARDED_BY(mutex_) = false; // nobody will join
    bool forked_ = false;                              // the child of a fork: there are no threads
    std::exception_ptr broken_ SENNIT_GUARDED_BY(mutex_);
    sync::Event all_ended_;

    // seq_cst because of 1, but for what says otherwise. Apart from each other by who changes them, and how often.
    alignas(64) atomic<std::uint32_t> notice_{0}; // changed under the lock
    atomic<bool> has_room_{true};                 // another thread may be started: changed under the lock
    atomic<Worker*> places_{nullptr};             // newest first; they are never taken out
    alignas(64) atomic<bool> queued_{false};      // chunks_ is not empty: changed under the lock
    alignas(64) atomic<std::uint32_t> searching_{0};
    EventCount idle_;
    ForkHelpers fork_helpers_{*this};
};

namespace {

std::string default_prefix() {
    static constinit atomic<unsigned> count{0};
    return "ThreadPoolExecutor-" + std::to_string(count.fetch_add(1, memory_order_relaxed));
}

} // namespace

ThreadPoolExecutor::Impl::Impl(std::size_t max_workers, ThreadPoolOptions options)
    : max_workers_(max_workers), options_(std::move(options)) {
    sync::set_default_unseen_error_hook(threading::detail::report_unseen_error);
    if (options_.thread_name_prefix.empty()) options_.thread_name_prefix = default_prefix();
    enter();
}

// ---- submitting

ThreadPoolExecutor::Impl::Worker* ThreadPoolExecutor::Impl::calling_worker() const noexcept {
    auto* hook = sync::FutureCore::current_wait_hook();
    return hook && hook->executor() == this ? static_cast<Worker*>(hook) : nullptr;
}

namespace {

[[noreturn]] void throw_closed(bool forked) {
    if (forked)
        throw UsageError("ThreadPoolExecutor.submit: the pool's threads are in the parent of this process, which was "
                         "forked; make a new pool");
    if (LivingPool::process_ends())
        throw UsageError("ThreadPoolExecutor.submit: cannot schedule new futures after the end of the process has "
                         "begun; submit before main() returns");
    throw UsageError("ThreadPoolExecutor.submit: the pool was shut down; submit before shutdown(), or make a new pool");
}

} // namespace

void ThreadPoolExecutor::Impl::enqueue(sync::Task& task) {
    task.executor = this;
    if (max_workers_ > 1) { // 4
        if (Worker* me = calling_worker()) return enqueue_own(*me, task);
    }
    std::exception_ptr broken;
    bool alone = false;
    {
        os::MutexGuard guard(mutex_);
        // relaxed: changed under the lock.
        if (notice_.load(memory_order_relaxed) & closed) throw_closed(forked_);
        if (broken_) [[unlikely]] {
            broken = broken_;
        } else {
            alone = live_ - leaving_ == waiting_;
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
            if (last_ == chunks_ && last_->size == 1) queued_.store(true, memory_order_seq_cst); // meets has_work()
        }
    }
    if (broken) [[unlikely]]
        task.fail_and_drop(broken);
    else if (!alone)
        call_help();
}

void ThreadPoolExecutor::Impl::enqueue_own(Worker& me, sync::Task& task) {
    me.own.push(task);
    // seq_cst: after the push; meets shutdown() and break_pool(), which look at the deques after they have set it.
    if (notice_.load(memory_order_seq_cst) & (closed | dropping)) [[unlikely]] {
        if (!me.own.pop_if_newest(task)) return; // somebody has it, and runs or drops it
        std::exception_ptr broken;
        {
            os::MutexGuard guard(mutex_);
            if (notice_.load(memory_order_relaxed) & closed) throw_closed(forked_); // relaxed: under the lock
            broken = broken_;
        }
        return task.fail_and_drop(broken);
    }
    call_help();
}

void ThreadPoolExecutor::Impl::call_help() noexcept {
    for (;;) {
        if (searching_.load(memory_order_seq_cst) > 0) return;
        if (!idle_.has_waiters()) {
            if (has_room_.load(memory_order_seq_cst)) start_thread();
            return;
        }
        std::uint32_t nobody = 0;
        // On behalf of who is woken.
        if (!searching_.compare_exchange_strong(nobody, 1, memory_order_seq_cst, memory_order_seq_cst)) return;
        if (idle_.notify_one()) return;
        leave_search(); // 2
    }
}

void ThreadPoolExecutor::Impl::wake_all() noexcept {
    do searching_.fetch_add(1, memory_order_seq_cst); // on behalf of who is woken
    while (idle_.notify_one());
    leave_search();
}

void ThreadPoolExecutor::Impl::note_room() noexcept {
    const bool room = working() < max_workers_ && !broken_;
    // relaxed: under the lock. seq_cst: before has_work(), meets call_help().
    if (has_room_.load(memory_order_relaxed) != room) has_room_.store(room, memory_order_seq_cst);
}

void ThreadPoolExecutor::Impl::start_thread() noexcept {
    std::vector<pthread_t> ended;
    int error = 0;
    {
        os::MutexGuard guard(mutex_);
        // Nobody would join a thread that starts after the end. relaxed: under the lock.
        if (live_ == 0 && (notice_.load(memory_order_relaxed) & closed)) return;
        ended.swap(ended_);
        if (working() < max_workers_ && !broken_) error = try_start_thread();
        if (working() > 0) error = 0; // the others will do the work
    }
    for (pthread_t t : ended) os::join_thread(t);
    if (error) // all workers wait, perhaps for what is queued
        break_pool(std::make_exception_ptr(BrokenExecutor("ThreadPoolExecutor: all workers wait, and the system "
                                                          "refuses another thread to run what is queued (errno " +
                                                          std::to_string(error) + ")")));
}

ThreadPoolExecutor::Impl::Worker& ThreadPoolExecutor::Impl::take_place() {
    Worker* const newest = places_.load(memory_order_relaxed); // changed under the lock
    std::size_t places = 1;
    Worker* place = nullptr;
    for (Worker* w = newest; w; w = w->next, ++places)
        if (!w->taken && !place) place = w;
    ended_.reserve(places + ended_.size()); // so that a worker's end allocates nothing
    if (!place) {
        place = new Worker(*this, newest);
        places_.store(place, memory_order_release); // meets any_place()
    }
    return *place;
}

int ThreadPoolExecutor::Impl::try_start_thread() noexcept {
    Worker* place = nullptr;
    try {
        place = &take_place();
    } catch (...) {
        return ENOMEM;
    }
    place->keep = shared_from_this();
    place->number = started_;
    // Under the lock: the worker reads its own pthread_t under it.
    const int error = os::start_thread(place->thread, worker_main, place, options_.stack_size);
    if (error) {
        place->keep = nullptr;
        return error;
    }
    place->taken = true;
    ++live_;
    ++started_;
    note_room();
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
    const os::Patience::Running running;
    char here = 0;
    me.stack_at_start = &here;
    me.nested_stack_bytes = os::stack_bytes_of_this_thread() / nested_stack_share;
    me.leaving = false;
    try {
        const std::string name = options_.thread_name_prefix + "_" + std::to_string(me.number);
        wait::current_agent().set_name(name);
        os::set_kernel_thread_name(name.c_str());
        {
            os::MutexGuard guard(mutex_);
            me.agent = &wait::current_agent();
        }
        if (options_.initializer) options_.initializer();
        sync::FutureCore::set_wait_hook(&me);
        while (sync::Task* task = find_work(me)) {
            // acquire: meets break_pool(), shutdown().
            if (notice_.load(memory_order_acquire) & dropping) [[unlikely]]
                drop(*task);
            else
                task->run();
        }
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
        me.taken = false;
        me.agent = nullptr;
        if (me.leaving) --leaving_;
        --live_;
        note_room();
        // relaxed: under the lock.
        last = live_ == 0 && (notice_.load(memory_order_relaxed) & closed);
    }
    if (last) all_ended_.set(); // the pool itself stays: this thread has it
}

sync::Task* ThreadPoolExecutor::Impl::find_work(Worker& me) noexcept {
    // relaxed: looked up under the lock.
    if (!(notice_.load(memory_order_relaxed) & surplus)) [[likely]]
        if (sync::Task* task = take_own(me)) return task;
    bool searching = false, has_searched = false, end = false;
    for (;;) {
        sync::Task* task = look_around(me, end);
        if (!task && !end) {
            if (!has_searched) { // w5
                std::uint32_t nobody = 0;
                // seq_cst: 1.
                searching = searching ||
                            searching_.compare_exchange_strong(nobody, 1, memory_order_seq_cst, memory_order_relaxed);
                has_searched = true;
                if (searching && search(me)) continue;
            }
            if (std::exchange(searching, false)) leave_search(); // w6
            idle_.prepare_wait();
            task = look_around(me, end);
            if (!task && !end) {
                const std::int64_t began = base::monotonic_ns();
                os::Patience::Running::end();
                idle_.commit_wait(this, idle_site);
                os::Patience::Running::begin();
                me.patience.learn(base::monotonic_ns() - began);
                searching = true; // so counted by who woke it
                has_searched = false;
                continue;
            }
            searching = idle_.cancel_wait(); // likewise
        }
        if (searching) leave_search();
        if (has_work()) call_help(); // w4
        return task;
    }
}

// w1. nullptr also when the common queue's turn has come.
sync::Task* ThreadPoolExecutor::Impl::take_own(Worker& me) noexcept {
    if (sync::Task* task = me.batch.take()) return task;
    // relaxed: looked up under the lock.
    if (++me.turns % common_each == 0 && queued_.load(memory_order_relaxed)) return nullptr;
    return me.own.steal();
}

// w2, w3. Nothing, and `end`: the thread is to end.
sync::Task* ThreadPoolExecutor::Impl::look_around(Worker& me, bool& end) noexcept {
    bool over = false;
    {
        os::MutexGuard guard(mutex_);
        // relaxed, here and below: changed under the lock.
        const std::uint32_t notice = notice_.load(memory_order_relaxed);
        over = (notice & closed) || broken_;
        if (notice & surplus) {
            if (working() > max_workers_ && !over) { // somebody came back from a wait
                ++leaving_;
                me.leaving = true;
                end = true;
            }
            if (working() <= max_workers_) notice_.store(notice & ~surplus, memory_order_relaxed);
            if (end) return nullptr;
        }
        if (chunks_ && me.batch.empty()) {
            Chunk* chunk = chunks_;
            chunks_ = chunk->next;
            if (!chunks_) {
                last_ = nullptr;
                queued_.store(false, memory_order_relaxed);
            }
            me.batch.fill(*chunk);
            chunk->next = spare_;
            spare_ = chunk;
        }
    }
    if (sync::Task* task = me.batch.take()) return task;
    if (sync::Task* task = me.own.steal()) return task;
    if (sync::Task* task = steal(me)) return task;
    end = over;
    return nullptr;
}

bool ThreadPoolExecutor::Impl::search(Worker& me) const noexcept {
    unsigned looks = 0;
    // relaxed: a hint.
    return me.patience.look(
        true, [&] { return queued_.load(memory_order_relaxed) || (++looks % deques_each == 0 && has_work()); });
}

// By who has nothing.
sync::Task* ThreadPoolExecutor::Impl::steal(Worker& me) noexcept {
    sync::Task* task = nullptr;
    const auto from = [&](Worker& victim) {
        if (&victim == &me) return false;
        task = me.batch.steal_half(victim.batch);
        if (!task) task = me.batch.steal_some(victim.own);
        return task != nullptr;
    };
    // Begin after one's own place, so that thieves spread.
    for (Worker* w = me.next; w; w = w->next)
        if (from(*w)) return task;
    any_place(from);
    return task;
}

bool ThreadPoolExecutor::Impl::has_work() const noexcept {
    // seq_cst: meets enqueue().
    return queued_.load(memory_order_seq_cst) ||
           any_place([](const Worker& w) { return !w.batch.empty() || !w.own.empty(); });
}

// ---- nested waits

bool ThreadPoolExecutor::Impl::Worker::help(sync::FutureCore& future) {
    char here = 0;
    const auto used =
        static_cast<std::size_t>(stack_at_start > &here ? stack_at_start - &here : &here - stack_at_start);
    if (used > nested_stack_bytes) return false;
    // Submitted last, as a rule: then nothing is left of it in the deque.
    sync::Task* const task = future.task();
    if (task && task->executor == &pool && own.pop_if_newest(*task)) {
        task->run();
        return future.done();
    }
    return future.run_here(&pool);
}

void ThreadPoolExecutor::Impl::leave_for_a_wait() noexcept {
    os::Patience::Running::end();
    {
        os::MutexGuard guard(mutex_);
        ++waiting_;
        note_room();
    }
    if (has_work()) call_help();
}

void ThreadPoolExecutor::Impl::return_from_a_wait() noexcept {
    os::Patience::Running::begin();
    os::MutexGuard guard(mutex_);
    --waiting_;
    note_room();
    // relaxed: seen late, a task more is run before somebody ends.
    if (working() > max_workers_) notice_.fetch_or(surplus, memory_order_relaxed);
}

// ---- the end

Chunk* ThreadPoolExecutor::Impl::take_chunks() noexcept {
    last_ = nullptr;
    queued_.store(false, memory_order_relaxed); // changed under the lock
    return std::exchange(chunks_, nullptr);
}

template <class F>
void ThreadPoolExecutor::Impl::drop_all(Chunk* chunks, F f) noexcept {
    any_place([&](Worker& w) {
        while (sync::Task* task = w.batch.take()) f(*task);
        while (sync::Task* task = w.own.steal()) f(*task);
        return false;
    });
    while (chunks) {
        for (std::uint32_t i = 0; i < chunks->size; ++i) f(*chunks->tasks[i]);
        delete std::exchange(chunks, chunks->next);
    }
}

void ThreadPoolExecutor::Impl::drop(sync::Task& task) noexcept {
    std::exception_ptr broken;
    {
        os::MutexGuard guard(mutex_);
        broken = broken_;
    }
    if (broken)
        task.fail_and_drop(broken);
    else
        task.cancel_and_drop();
}

void ThreadPoolExecutor::Impl::break_pool(const std::exception_ptr& cause) noexcept {
    Chunk* chunks = nullptr;
    {
        os::MutexGuard guard(mutex_);
        if (!broken_) broken_ = cause;
        notice_.fetch_or(dropping, memory_order_seq_cst); // meets enqueue_own()
        note_room();
        chunks = take_chunks();
    }
    wake_all();
    drop_all(chunks, [&](sync::Task& t) { t.fail_and_drop(cause); });
}

bool ThreadPoolExecutor::Impl::called_by_worker() const noexcept { return calling_worker() != nullptr; }

void ThreadPoolExecutor::Impl::close(bool wait, bool cancel_futures) {
    if (wait && called_by_worker())
        throw UsageError("ThreadPoolExecutor.shutdown: one of the pool's own tasks can't wait for its own end; call "
                         "shutdown({.wait = false}) there");
    if (forked_) return all_ended_.set();
    Chunk* chunks = nullptr;
    bool none = false;
    {
        os::MutexGuard guard(mutex_);
        notice_.fetch_or(cancel_futures ? closed | dropping : closed, memory_order_seq_cst); // meets enqueue_own()
        if (cancel_futures) chunks = take_chunks();
        none = live_ == 0;
    }
    wake_all();
    if (cancel_futures) drop_all(chunks, [](sync::Task& t) { t.cancel_and_drop(); });
    if (none) all_ended_.set();
}

void ThreadPoolExecutor::Impl::shutdown(bool wait, bool cancel_futures) {
    close(wait, cancel_futures);
    if (!wait) return;
#if defined(SENNIT_MODEL)
    all_ended_.wait(); // its clock jumps
#else
    if (!all_ended_.wait(std::chrono::seconds(5))) {
        report_long_end();
        all_ended_.wait();
    }
#endif
    join_ended();
}

void ThreadPoolExecutor::Impl::join_ended() noexcept {
    std::vector<pthread_t> ended;
    {
        os::MutexGuard guard(mutex_);
        ended.swap(ended_);
    }
    for (pthread_t t : ended) os::join_thread(t);
}

void ThreadPoolExecutor::Impl::end() noexcept {
    if (forked_) return;
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

void ThreadPoolExecutor::Impl::close_at_end() noexcept {
    os::MutexGuard guard(mutex_);
    notice_.fetch_or(options_.cancel_at_exit ? closed | dropping : closed, memory_order_seq_cst); // meets enqueue_own()
}

void ThreadPoolExecutor::Impl::wait_at_end() noexcept {
    // exit() in one of its own tasks: that can't be waited for.
    if (called_by_worker()) return;
    if (options_.cancel_at_exit) shutdown(false, true);
    end();
}

void ThreadPoolExecutor::Impl::forget_threads() noexcept SENNIT_NO_TSA {
    mutex_.reset_after_fork();
    notice_.store(closed, memory_order_relaxed);
    forked_ = true;
}

void ThreadPoolExecutor::Impl::report_long_end() const noexcept {
    try {
        std::string text = "sennit: the end of ThreadPoolExecutor \"" + options_.thread_name_prefix +
                           "\" has waited for 5 s for its tasks; of its threads\n";
        const auto agents = wait::Registry::snapshot();
        os::MutexGuard guard(mutex_);
        for (const Worker* w = places_.load(memory_order_relaxed); w; w = w->next) { // changed under the lock
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
    s.idle = idle_.waiters_hint();
    s.waiting = waiting_;
    s.started = started_;
    for (const Chunk* c = chunks_; c; c = c->next) s.queued += c->size;
    any_place([&](const Worker& w) {
        s.queued += w.batch.size_hint() + w.own.size_hint();
        return false;
    });
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

ThreadPoolExecutor::ShutdownOp::ShutdownOp(std::shared_ptr<Impl> impl, ShutdownOptions options)
    : impl_(std::move(impl)), options_(options), op_(impl_->all_ended()) {}

bool ThreadPoolExecutor::ShutdownOp::try_now(Deadline deadline) {
    impl_->close(options_.wait, options_.cancel_futures);
    return !options_.wait || op_.try_now(deadline);
}

void ThreadPoolExecutor::ShutdownOp::finish(wait::Agent& me) {
    if (!options_.wait) return;
    op_.finish(me);
    impl_->join_ended(); // they have come to their last instructions
}

sync::Awaitable<ThreadPoolExecutor::ShutdownOp> ThreadPoolExecutor::async_shutdown(ShutdownOptions options) {
    return sync::Awaitable<ShutdownOp>(forever, impl_, options);
}

ThreadPoolExecutor::Statistics ThreadPoolExecutor::statistics() const { return impl_->statistics(); }

void ThreadPoolExecutor::enqueue(sync::Task& task) { impl_->enqueue(task); }

bool ThreadPoolExecutor::is_worker() const noexcept { return impl_->called_by_worker(); }

std::size_t ThreadPoolExecutor::max_workers() const noexcept { return impl_->max_workers(); }

detail::ForkTeam& ThreadPoolExecutor::fork_team() noexcept { return impl_->fork_team(); }

} // namespace sennit::futures
