// A pool of processes: the parent's side.
//
//   submit()  puts the job into the inbox. When the server sleeps, the caller hands out what is there itself.
//   server    a thread of the parent's. In each turn it takes the results that the workers have published, notes who has died,
//             starts who is missing, hands out jobs; then it settles, outside of the lock, what has come. It sleeps when nothing
//             moves: in epoll, on the workers' bells (an eventfd each), their pidfds, and a bell of its own.
//   a job     inbox -> waiting -> handed to a worker (in its ring, and in `held` here) -> settled
//
// 1. A worker runs its jobs in the order of its ring, and answers in that order: the answer that comes next is the oldest held
//    job's, by its number, or the worker is dropped.
// 2. What a worker has begun is in its claim (worker_page.hpp). When it is dead, its results are read to the end first: what was
//    published before counts. Then the begun one, if there is one left, has died with it, and all others go back to the front of
//    those that wait, as if they had never been handed out.
// 3. Nothing that a worker wrote is believed: rings check themselves (ring.hpp), a claim lies between what was answered and what was
//    handed out, a number is the expected one. What breaks this is killed, and dies as in 2.
// 4. Jobs are handed out ahead only to who is quick: so many as take about half a millisecond there, by what the last ones took.
//    When somebody has nothing to do while jobs wait behind one that turned out slow, they are taken back (claim_revoked).
// 5. A job is settled once: by whoever takes it out of `held` or `waiting`, under the lock. One that was cancelled while it ran is
//    abandoned: its future knows that nothing comes any more. What its worker has not begun is taken back as in 4; if the worker has
//    begun it and nothing after it, it is killed. No other job can be begun in between: claim_revoked forbids it.
// 6. Before the server sleeps it says so (server_awake_), then looks at the inbox; who submits puts the job in, then looks whether
//    the server is awake. The inbox's lock is between: one of the two sees the other. While the server only looks (server_looks_)
//    whoever submits serves himself as well: the lock is free then, and a hop from core to core is saved.
// 7. Who waits for a job that he has submitted, in apply(), waits for the worker's answer himself: the worker is `helped`, from the
//    hand-out on. That is when its oldest job is his. In AsyncResult::get() it is so from then on, when the worker has no other job:
//    who fetches many results leaves them to the server. As long as it is, he alone reads its results, and its bell is his, on which
//    he sleeps: so the answer passes no other thread, two wakes from sleep to sleep. The server does everything else for it, and for
//    all others. When there will be no answer (the worker is dead, its jobs were taken back, the pool was terminated), the server
//    calls him off: `called_off`, then a ring. Either his s1 comes first, and the ring wakes him, or he sees it in s2. A worker
//    that is helped is not buried: he gives it back in a moment.
// 8. A bell is set to `asleep` while the server sleeps, for each worker that has jobs and no helper: by the server, before it
//    sleeps, and by whoever hands out a job then, or gives a worker back. One without jobs has nothing to ring for, unless a job waits
//    for room in its ring; so in a series of calls that all find their answer by looking nobody touches a bell but the worker.
#include <sennit/multiprocessing/worker_pool.hpp>

#include "multiprocessing/crash_note.hpp"
#include "multiprocessing/worker_loop.hpp"
#include "multiprocessing/worker_page.hpp"
#include "os/patience.hpp"

#include <sennit/base/atomic.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/multiprocessing/shared_wait.hpp>
#include <sennit/os/epoll.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/packet.hpp>
#include <sennit/os/poll.hpp>
#include <sennit/os/shared_memory.hpp>
#include <sennit/os/system_state.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/sync/future_core.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>

namespace sennit::multiprocessing::detail {

namespace {
struct Scratch {
    CargoWriter writer;
    bool in_use = false;
};
thread_local Scratch scratch;
} // namespace

PackScratch::PackScratch() : writer_(scratch.in_use ? &own_ : &scratch.writer) { scratch.in_use = true; }

PackScratch::~PackScratch() {
    if (writer_ == &own_) return;
    scratch.writer.clear();
    scratch.in_use = false;
}

PoolJob::~PoolJob() = default;

void PoolJob::take_arguments(CargoWriter& packed) {
    const std::size_t bytes = packed.size();
    if (bytes > small_bytes || !packed.fds().empty()) {
        cargo_ = std::make_unique<CargoWriter>(std::move(packed));
        static_cast<void>(cargo_->bytes()); // in one piece
    } else {
        if (bytes > 0) std::memcpy(small_, packed.bytes().data(), bytes);
        bytes_ = static_cast<std::uint32_t>(bytes);
    }
}

std::span<const std::byte> PoolJob::arguments() const noexcept {
    if (cargo_) return cargo_->bytes();
    return {small_, bytes_};
}

namespace {

constexpr std::uint32_t most_held = 1024;
constexpr std::int64_t ahead_ns = 500'000;       // so long the jobs that are handed out ahead may take
constexpr std::int64_t stuck_ns = 1'000'000;     // then they are taken back, if somebody has nothing to do
constexpr std::int64_t look_each_ns = 2'000'000; // at the descriptors, at least
// So often a worker that is to end is looked at. One that two looks in a row find stopped is killed if it has begun no job: not by the
// first, for that may come while a whole group of processes, this one too, is just being continued.
constexpr std::int64_t stopped_look_ns = 2'000'000'000;
constexpr std::uint64_t own_bell_tag = 0;
constexpr std::uint64_t pidfd_bit = std::uint64_t{1} << 63;

// What a turn has found out, to be told outside of the lock.
struct Outcome {
    enum class Kind : std::uint8_t { result, error, failed, cancelled, dropped };
    PoolJob* job;
    Kind kind;
    std::uint32_t bytes = 0; // in `small`, or all of `large`
    std::array<std::byte, 24> small{};
    std::vector<std::byte> large;
    std::vector<os::Fd> fds;
    std::exception_ptr failure;

    [[nodiscard]] std::span<const std::byte> payload() const noexcept {
        if (!large.empty()) return large;
        return {small.data(), bytes};
    }
};

} // namespace

/// The parent's view of one worker. Under the pool's lock, but for what is said.
struct PoolWorker {
    enum class State : std::uint8_t { starting, ready, leaving };

    std::uint64_t number = 0;
    State state = State::starting;
    // Changed under the lock; without it a hint for something_came().
    atomic<bool> helped{false}; // (7)
    atomic<bool> called_off{false};
    bool helper_looks = false; // the worker is awake, and there is a core for that
    bool was_asleep = false;   // when it was rung for its last jobs
    bool dropped = false;      // killed by us, for what `reason` says
    bool timed_out = false;    // because its job took too long
    bool revoking = false;
    bool dead = false; // its pidfd says so
    os::Fd memory, bell, socket;
    void* base = nullptr;
    std::size_t mapped = 0;
    WorkerPage* page = nullptr;
    RingWriter jobs;
    RingReader results;
    Child child;
    std::uint32_t known_entries = 0;

    // The jobs it has, oldest first. Their numbers count all that it was ever handed.
    std::array<PoolJob*, most_held> held{};
    std::uint64_t first = 0, next = 0;
    std::uint64_t revoked_to = 0;           // while revoking: where it will go on to count
    std::uint64_t given = 0, most_jobs = 0; // in its life, without those taken back; 0: any number
    PoolJob* outgoing = nullptr;            // of which only a part is in the ring
    std::size_t sent = 0;
    // An answer of which only a part has come.
    bool collecting = false;
    std::vector<std::byte> parts;
    std::size_t parts_at = 0; // in the job's target
    std::vector<os::Fd> part_fds;

    std::int64_t moved_ns = 0; // when it answered last, or was given something to do
    std::int64_t job_ns = ahead_ns;
    std::int64_t deadline_ns = 0; // of the oldest job; 0: none
    std::int64_t look_ns = 0;     // when end_stopped() looks at it; 0: never
    bool was_stopped = false;     // when it did so last
    std::exception_ptr refusal;   // what its initializer threw
    std::string reason;

    // Without the lock: up to where the results were read.
    atomic<std::uint64_t> read_to{0};

    PoolWorker() = default;
    PoolWorker(const PoolWorker&) = delete;
    PoolWorker& operator=(const PoolWorker&) = delete;
    ~PoolWorker() {
        if (base) os::unmap(base, mapped);
    }

    [[nodiscard]] std::uint64_t count() const noexcept { return next - first; }
    [[nodiscard]] PoolJob*& slot(std::uint64_t n) noexcept { return held[n % most_held]; }
    [[nodiscard]] std::uint64_t window() const noexcept {
        return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(ahead_ns / std::max<std::int64_t>(job_ns, 1)), 1,
                                         most_held - 1);
    }
    [[nodiscard]] bool takes_jobs(bool one_at_a_time) const noexcept {
        return state == State::ready && !revoking && !dropped && !dead && !outgoing &&
               count() < (one_at_a_time ? 1 : window()) && (most_jobs == 0 || given < most_jobs);
    }
    bool ring() noexcept { return ring_futex(page->worker_bell); }
    [[nodiscard]] bool is_helped() const noexcept { return helped.load(memory_order_relaxed); } // under the lock
    // Its helper is to give it back (7).
    void call_off() noexcept {
        if (!is_helped()) return;
        called_off.store(true, memory_order_relaxed);                                     // the exchange releases it
        if (page->parent_bell.exchange(bell_awake, memory_order_acq_rel) == bell_on_word) // meets the helper's
            os::futex_wake_shared(page->parent_bell, 1);
    }
    void kill(const char* why) {
        if (dropped || dead) return;
        dropped = true;
        reason = why;
        child.kill();
    }
};

namespace {

// A list of jobs through their own pointers.
class JobList {
  public:
    explicit JobList(PoolJob* PoolJob::*next) noexcept : next_(next) {}
    [[nodiscard]] bool empty() const noexcept { return !first_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void push_back(PoolJob& job) noexcept {
        job.*next_ = nullptr;
        (last_ ? last_->*next_ : first_) = &job;
        last_ = &job;
        ++size_;
    }
    void push_front(PoolJob& job) noexcept {
        job.*next_ = first_;
        first_ = &job;
        if (!last_) last_ = &job;
        ++size_;
    }
    PoolJob* pop_front() noexcept {
        PoolJob* const job = first_;
        first_ = job->*next_;
        if (!first_) last_ = nullptr;
        --size_;
        return job;
    }
    // Takes all of the other.
    void splice(JobList& other) noexcept {
        if (other.empty()) return;
        (last_ ? last_->*next_ : first_) = other.first_;
        last_ = other.last_;
        size_ += other.size_;
        other.first_ = other.last_ = nullptr;
        other.size_ = 0;
    }

  private:
    PoolJob* PoolJob::*next_;
    PoolJob* first_ = nullptr;
    PoolJob* last_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace

namespace {

constinit const wait::WaitSite help_site{"Pool", "apply"};

// The sleep of who waits for a worker's next answer itself, on its bell.
class AnswerOp final : public SharedWait {
  public:
    explicit AnswerOp(PoolWorker& w) noexcept : SharedWait(&w, help_site), worker_(w) {}
    bool step() noexcept override {
        woke_up();
        if (outcome() == wait::Outcome::cancelled) return cancelled_ = true;
        worker_.page->parent_bell.exchange(bell_on_word, memory_order_acq_rel); // s1; meets ring_parent(), call_off()
        // s2. relaxed: call_off()'s exchange orders it, if it came first.
        if (worker_.results.has_more() || worker_.called_off.load(memory_order_relaxed)) return true;
        sleep_on(worker_.page->parent_bell, bell_on_word);
        return false;
    }
    [[nodiscard]] bool was_cancelled() const noexcept { return cancelled_; }

  private:
    PoolWorker& worker_;
    bool cancelled_ = false;
};

// Counted up in each child of a fork: what a job costs is too little for a system call. relaxed: changes where there is one thread.
constinit atomic<std::uint32_t> forks{0};

std::uint32_t count_forks() noexcept {
    static const int hooked = os::after_fork_in_child([]() noexcept { forks.fetch_add(1, memory_order_relaxed); });
    static_cast<void>(hooked); // 64 are enough: without it submit() in a fork's child is not refused
    return forks.load(memory_order_relaxed);
}

} // namespace

class WorkerPoolImpl final : public WorkerPool, public std::enable_shared_from_this<WorkerPoolImpl> {
    using State = PoolWorker::State;
    using Outcomes = std::vector<Outcome>;

  public:
    explicit WorkerPoolImpl(WorkerPoolOptions options)
        : options_(std::move(options)),
          own_bell_(os::make_eventfd()),
          owner_(os::process_id()),
          owner_forks_(count_forks()) {
        if (const int error = epoll_.add(own_bell_.get(), EPOLLIN, own_bell_tag))
            throw OSError(error, "a pool of processes cannot watch its bell");
    }
    ~WorkerPoolImpl() override = default;

    void start() {
        self_ = shared_from_this(); // till the server ends
        const int error = os::start_thread(
            thread_,
            [](void* self) -> void* {
                auto* const pool = static_cast<WorkerPoolImpl*>(self);
                const auto keep = std::move(pool->self_);
                keep->serve();
                return nullptr;
            },
            this, 0);
        if (error != 0) {
            self_.reset();
            throw OSError(error, "a pool of processes cannot start its thread");
        }
    }

    // ---- the face

    void submit(PoolJob& job, bool helps) override {
        if (forks.load(memory_order_relaxed) != owner_forks_)
            throw UsageError(
                "a pool of processes cannot be used in a fork of the process that made it; make one there");
        {
            os::MutexGuard guard(inbox_mutex_);
            if (closed_.load(memory_order_relaxed)) // its lock orders it
                throw UsageError("a pool of processes was given a job after close(), shutdown() or terminate()");
            job.number_ = submitted_++;
            job.pool_ = id_;
            inbox_.push_back(job);
        }
        // seq_cst: meets the server's store, with the inbox's lock between (6). relaxed: hints; whoever comes first hands it out.
        if (server_awake_.load(memory_order_seq_cst) && !server_looks_.load(memory_order_relaxed)) {
            inbox_hint_.store(true, memory_order_relaxed);
            return;
        }
        helps = helps && wait::current_agent().may_spin();
        Outcomes outcomes;
        {
            os::MutexGuard guard(mutex_);
            hand_out(outcomes);
            if (helps) job.helped_ = begin_help(job);
            listen();
            if (needs_server()) ring_self();
        }
        tell(outcomes);
    }

    void help(PoolJob& job) override {
        if (PoolWorker* const helped = std::exchange(job.helped_, nullptr)) help(*helped);
    }
    // Of a job that was handed out before. Others may do the same: job.helped_ is its submitter's.
    void help_late(PoolJob& job) {
        PoolWorker* helped = nullptr;
        {
            os::MutexGuard guard(mutex_);
            if (job.worker_ && job.worker_->count() == 1) helped = begin_help(job);
        }
        if (helped) help(*helped);
    }
    // By who has it from begin_help(): so it stays, and its results are his (7).
    void help(PoolWorker& w) {
        thread_local constinit os::Patience patience{os::Patience::Pace::eager};
        const auto came = [&w] { return w.results.has_more(); };
        sync::FutureCore::WaitHook* const hook = sync::FutureCore::current_wait_hook();
        bool cancelled = false;
        if (!(w.helper_looks ? patience.look(hook != nullptr, came) : came())) {
            AnswerOp op(w);
            const sync::Absence absence(hook);
            const std::int64_t began = base::monotonic_ns();
            wait::current_agent().wait(op, forever);
            cancelled = op.was_cancelled();
            if (!cancelled) patience.learn(base::monotonic_ns() - began);
        }
        Outcomes outcomes;
        {
            os::MutexGuard guard(mutex_);
            // Only the own one: what follows the others' is no business of this thread's.
            if (w.results.has_more()) take_results(w, outcomes, base::monotonic_ns(), 1);
            w.helped.store(false, memory_order_relaxed);
            // relaxed: nobody but its helper says `on_word`.
            if (w.page->parent_bell.load(memory_order_relaxed) == bell_on_word)
                w.page->parent_bell.exchange(bell_awake, memory_order_acq_rel); // s4
            hand_out(outcomes);
            listen();
            if (w.dead || w.outgoing || !waiting_.empty() || needs_server()) ring_self();
        }
        tell(outcomes);
        if (cancelled) wait::current_agent().throw_cancelled();
    }

    void abandon(PoolJob& job) noexcept {
        {
            os::MutexGuard guard(mutex_);
            job.abandoned_ = some_abandoned_ = true;
        }
        ring_self();
    }
    /// Under which number abandon() finds it.
    void set_id(std::uint32_t id) noexcept { id_ = id; }

    void close() noexcept override {
        {
            os::MutexGuard guard(inbox_mutex_);
            closed_.store(true, memory_order_release); // meets closed()
        }
        ring_self();
    }
    void terminate() noexcept override {
        close();
        terminated_.store(true, memory_order_release); // meets the server's load
        ring_self();
    }
    void cancel_waiting() noexcept override {
        Outcomes outcomes;
        {
            os::MutexGuard guard(mutex_);
            take_inbox();
            while (!waiting_.empty()) outcomes.push_back(outcome(*waiting_.pop_front(), Outcome::Kind::cancelled));
        }
        tell(outcomes);
        ring_self();
    }
    [[nodiscard]] bool closed() const noexcept override { return closed_.load(memory_order_acquire); }
    [[nodiscard]] sync::Event& ended() noexcept override { return ended_; }
    [[nodiscard]] bool is_server() const noexcept override {
        return server_id_.load(memory_order_relaxed) == os::current_thread_id();
    }
    void leave() noexcept override {
        if (is_server())
            os::detach_thread(thread_);
        else
            os::join_thread(thread_);
    }
    [[nodiscard]] std::size_t processes() const noexcept override { return options_.processes; }
    [[nodiscard]] bool is_owner() const noexcept override { return owner_ == os::process_id(); }
    [[nodiscard]] PoolStatistics statistics() const override {
        os::MutexGuard guard(mutex_);
        return statistics_now();
    }
    [[nodiscard]] std::vector<int> pids() const override {
        os::MutexGuard guard(mutex_);
        std::vector<int> all;
        for (auto& w : workers_)
            if (!w->dead && w->state != State::starting) all.push_back(w->child.pid());
        return all;
    }

  private:
    // ---- the server

    // What runs in the server's thread can't wait for what the server is to bring.
    class NoWait final : public sync::FutureCore::WaitHook {
      public:
        explicit NoWait(std::uint32_t pool) noexcept : pool_(pool) {}
        bool help(sync::FutureCore& future) override {
            if (const auto* const job = dynamic_cast<const PoolJob*>(&future); job && job->pool_ == pool_)
                throw UsageError(
                    "a callback that runs in the thread of a pool of processes can't wait for a future of the same "
                    "pool; give that one a callback of its own, or wait in another thread");
            return false;
        }
        void before_park() noexcept override {}
        void after_park() noexcept override {}
        [[nodiscard]] const void* executor() const noexcept override { return nullptr; }

      private:
        const std::uint32_t pool_;
    };

    void serve() noexcept {
        NoWait no_wait(id_);
        sync::FutureCore::set_wait_hook(&no_wait);
        server_id_.store(os::current_thread_id(), memory_order_relaxed); // compared with one's own id alone
        os::set_kernel_thread_name("pool-server");
        Outcomes outcomes;
        std::array<epoll_event, 64> events{};
        for (;;) {
            // However much there is to do: the dead are seen soon.
            if (base::monotonic_ns() - looked_ns_ > look_each_ns) look(events, Deadline::poll());
            bool moved = false, over = false;
            {
                os::MutexGuard guard(mutex_);
                moved = turn(outcomes);
                over = is_over();
            }
            moved = moved || !outcomes.empty();
            tell(outcomes);
            moved = bury() || moved;
            moved = recruit() || moved;
            if (moved) {
                if (options_.progress) report_progress();
                continue;
            }
            if (over) break;
            server_looks_.store(true, memory_order_relaxed); // a hint, for submit()
            const bool came = patience_.look(true, [this] { return something_came(); });
            server_looks_.store(false, memory_order_relaxed);
            if (came) continue;
            Deadline until = forever;
            if (!go_to_sleep(until, outcomes)) continue;
            const std::int64_t began = base::monotonic_ns();
            look(events, until);
            patience_.learn(looked_ns_ - began);
            server_awake_.store(true, memory_order_seq_cst); // as in go_to_sleep
            os::MutexGuard guard(mutex_);
            for (auto& w : workers_)
                // A helped one's bell is its helper's.
                if (!w->is_helped()) w->page->parent_bell.exchange(bell_awake, memory_order_acq_rel); // s4
        }
        sync::FutureCore::set_wait_hook(nullptr);
        ended_.set();
    }

    // Looks without the lock, of the server: it alone changes workers_.
    bool something_came() noexcept {
        if (inbox_hint_.load(memory_order_relaxed) || asked_to_stay_.load(memory_order_relaxed)) return true;
        for (auto& w : workers_)
            if (!w->helped.load(memory_order_relaxed) &&
                w->page->results.tail.load(memory_order_relaxed) != w->read_to.load(memory_order_relaxed))
                return true;
        return false;
    }

    // Says that it sleeps, and looks once more (6). False: there is something to do.
    bool go_to_sleep(Deadline& until, Outcomes& outcomes) noexcept {
        os::MutexGuard guard(mutex_);
        server_awake_.store(false, memory_order_seq_cst); // meets submit()'s load
        bool stay = false;
        {
            os::MutexGuard inbox_guard(inbox_mutex_);
            stay = !inbox_.empty();
        }
        std::int64_t next = std::numeric_limits<std::int64_t>::max();
        for (auto& w : workers_) {
            if (w->dead) stay = true;
            if (w->deadline_ns > 0) next = std::min(next, w->deadline_ns);
            if (w->look_ns > 0) next = std::min(next, w->look_ns);
            if (w->is_helped()) continue;
            w->page->parent_bell.exchange(bell_asleep, memory_order_acq_rel); // s1; meets ring_parent()
            if (has_news(*w)) stay = true;                                    // s2
        }
        // s2 as well: there may be room now that was not there before.
        if (!stay && (!waiting_.empty() || sends_pieces())) {
            const std::size_t before = waiting_.size();
            hand_out(outcomes);
            stay = !outcomes.empty() || waiting_.size() != before;
        }
        if (waits_behind_somebody() || some_abandoned_) next = std::min(next, base::monotonic_ns() + stuck_ns);
        if (retry_start_ns_ > 0) next = std::min(next, retry_start_ns_);
        if (stay || asked_to_stay_.exchange(false, memory_order_acq_rel)) { // meets ring_self()
            server_awake_.store(true, memory_order_seq_cst);
            return false;
        }
        if (next != std::numeric_limits<std::int64_t>::max()) until = Deadline::at_monotonic_ns(next);
        return true;
    }
    // What a worker has rung for, or will have.
    [[nodiscard]] static bool has_news(const PoolWorker& w) noexcept {
        // acquire: meets the worker's store when it has passed over what was taken back.
        return w.results.has_more() ||
               (w.revoking && w.count() == 0 && !(w.page->claim.load(memory_order_acquire) & claim_revoked));
    }
    [[nodiscard]] bool sends_pieces() const noexcept {
        return std::any_of(workers_.begin(), workers_.end(), [](auto& w) { return w->outgoing != nullptr; });
    }
    void look(std::span<epoll_event> events, Deadline until) noexcept {
        const int n = epoll_.wait(events, until);
        for (int i = 0; i < n; ++i) note(events[static_cast<std::size_t>(i)].data.u64);
        looked_ns_ = base::monotonic_ns();
    }
    void note(std::uint64_t tag) noexcept {
        std::uint64_t drained = 0;
        if (tag == own_bell_tag) {
            os::read_some(own_bell_.get(), &drained, sizeof drained);
            return;
        }
        for (auto& w : workers_) {
            if (w->number != (tag & ~pidfd_bit)) continue;
            if (tag & pidfd_bit) {
                os::MutexGuard guard(mutex_);
                w->dead = true;
                w->call_off();
            } else {
                os::read_some(w->bell.get(), &drained, sizeof drained);
            }
            return;
        }
    }
    void ring_self() noexcept {
        asked_to_stay_.store(true, memory_order_release); // meets the exchange in go_to_sleep()
        const std::uint64_t one = 1;
        os::write_some(own_bell_.get(), &one, sizeof one);
    }

    // ---- helpers (7), (8), under the lock

    PoolWorker* begin_help(PoolJob& job) noexcept {
        PoolWorker* const w = job.worker_;
        if (!w || w->is_helped() || w->dead || w->dropped || w->outgoing || w->revoking || !waiting_.empty() ||
            w->first == w->next || w->slot(w->first) != &job)
            return nullptr;
        w->helped.store(true, memory_order_relaxed);
        w->called_off.store(false, memory_order_relaxed);
        // relaxed: the worker at worst rings for the server in vain.
        if (w->page->parent_bell.load(memory_order_relaxed) != bell_awake)
            w->page->parent_bell.exchange(bell_awake, memory_order_acq_rel); // s4
        static const auto cores = os::process_cpus();
        // Who sleeps is woken while the helper sleeps as well: to look for so long would cost more than it saves.
        w->helper_looks = !w->was_asleep && std::count_if(workers_.begin(), workers_.end(),
                                                          [](auto& one) { return one->count() > 0; }) < cores;
        return w;
    }
    // While the server sleeps: it is to hear of who has something to answer.
    void listen() noexcept {
        if (server_awake_.load(memory_order_relaxed)) return; // it goes to sleep under the lock
        for (auto& w : workers_) {
            if (w->is_helped() || (w->count() == 0 && w->state == State::ready && !w->revoking && waiting_.empty()))
                continue;
            // relaxed: nobody but the worker changes it, to `awake`, and then it has rung.
            if (w->page->parent_bell.load(memory_order_relaxed) == bell_asleep) continue;
            w->page->parent_bell.exchange(bell_asleep, memory_order_acq_rel); // s1; meets ring_parent()
            // s2; and there may be room now that was not there before: the server looks.
            if (has_news(*w) || w->outgoing || !waiting_.empty()) ring_self();
        }
    }

    // ---- one turn, under the lock

    bool turn(Outcomes& outcomes) {
        bool moved = false;
        asked_to_stay_.store(false, memory_order_relaxed); // what was asked for is done below, under the lock
        const std::int64_t now = base::monotonic_ns();
        if (terminated_.load(memory_order_acquire)) give_up(outcomes);
        for (auto& w : workers_) {
            if (!w->is_helped()) moved = take_results(*w, outcomes, now) || moved;
            check_time(*w, now);
        }
        if (some_abandoned_) end_abandoned();
        hand_out(outcomes);
        take_back_what_waits(now);
        dismiss(closed() && waiting_.empty());
        end_stopped(now);
        return moved;
    }

    [[nodiscard]] bool is_over() noexcept {
        if (!closed()) return false;
        os::MutexGuard guard(inbox_mutex_);
        return workers_.empty() && waiting_.empty() && inbox_.empty();
    }

    // terminate()
    void give_up(Outcomes& outcomes) {
        take_inbox();
        while (!waiting_.empty()) outcomes.push_back(outcome(*waiting_.pop_front(), Outcome::Kind::cancelled));
        for (auto& w : workers_) {
            w->kill("the pool was terminated");
            for (; w->first < w->next; ++w->first)
                outcomes.push_back(outcome(*w->slot(w->first), Outcome::Kind::cancelled));
            w->outgoing = nullptr;
            w->call_off();
        }
    }

    void take_inbox() noexcept {
        os::MutexGuard guard(inbox_mutex_);
        waiting_.splice(inbox_);
        inbox_hint_.store(false, memory_order_relaxed); // a hint
    }

    static Outcome outcome(PoolJob& job, Outcome::Kind kind) {
        Outcome o{};
        o.job = &job;
        o.kind = kind;
        job.worker_ = nullptr;
        return o;
    }

    // ---- results

    bool take_results(PoolWorker& w, Outcomes& outcomes, std::int64_t now,
                      std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
        RingReader::Record record;
        std::uint64_t answers = 0;
        bool any = false;
        while (answers < most) {
            const auto got = w.results.next(record);
            if (got == RingReader::Got::nothing) break;
            if (got == RingReader::Got::broken || !take(w, record, outcomes, answers)) {
                w.kill("what it wrote into its ring makes no sense");
                break;
            }
            any = true;
        }
        w.read_to.store(w.results.position(), memory_order_relaxed); // a hint, for something_came()
        if (any) {
            if (w.results.release()) ring_for_room(w.page->worker_bell);
            if (answers > 0) {
                const std::int64_t each = (now - w.moved_ns) / static_cast<std::int64_t>(answers);
                w.job_ns = each > 8 * w.job_ns ? each : (3 * w.job_ns + each) / 4;
                w.moved_ns = now;
                w.deadline_ns = options_.task_timeout_ns > 0 && w.count() > 0 ? now + options_.task_timeout_ns : 0;
            }
        }
        // A revoked worker has answered for what it had begun, and passed over the rest.
        if (w.revoking && w.count() == 0) {
            // acquire: meets the worker's store when it has passed over them.
            const std::uint64_t claim = w.page->claim.load(memory_order_acquire);
            if (!(claim & claim_revoked)) {
                w.revoking = false;
                if (claim != w.revoked_to) w.kill("what it says of its jobs makes no sense");
                w.first = w.next = w.revoked_to;
                w.deadline_ns = 0;
                any = true;
            }
        }
        return any;
    }

    // One record of a worker's. False: it can't be.
    bool take(PoolWorker& w, const RingReader::Record& record, Outcomes& outcomes, std::uint64_t& answers) {
        const RecordHeader& header = record.header;
        const auto kind = static_cast<ToParent>(header.kind);
        const bool more = header.flags & record_more;
        if (header.fds > 0 && !take_fds(w, header.fds)) return false;
        if (kind == ToParent::ready || kind == ToParent::refused) {
            if (w.state != State::starting || more) return false;
            if (kind == ToParent::refused) {
                w.refusal = decode_error(record.payload);
                return true;
            }
            w.state = State::ready;
            w.moved_ns = base::monotonic_ns();
            w.deadline_ns = 0;
            failed_starts_ = 0;
            return true;
        }
        if (kind != ToParent::result && kind != ToParent::error) return false;
        if (w.count() == 0 || w.outgoing == w.slot(w.first) || static_cast<std::uint32_t>(w.first) != header.id)
            return false;
        PoolJob& job = *w.slot(w.first);
        const bool raw = kind == ToParent::result && (header.flags & record_raw) && !job.target.empty();
        if (raw) {
            if (header.bytes > job.target.size() - w.parts_at) return false;
            if (header.bytes > 0) std::memcpy(job.target.data() + w.parts_at, record.payload.data(), header.bytes);
            w.parts_at += header.bytes;
            w.collecting = more;
            if (more) return true;
            if (std::exchange(w.parts_at, 0) != job.target.size()) return false;
        } else {
            if (w.parts_at != 0) return false;
            if (more || w.collecting) {
                w.parts.insert(w.parts.end(), record.payload.begin(), record.payload.end());
                w.collecting = more;
                if (more) return true;
            }
        }
        Outcome o = outcome(job, kind == ToParent::result ? Outcome::Kind::result : Outcome::Kind::error);
        if (!raw) {
            if (!w.parts.empty()) {
                o.large = std::exchange(w.parts, {});
            } else if (header.bytes > o.small.size()) {
                o.large.assign(record.payload.begin(), record.payload.end());
            } else {
                if (header.bytes > 0) std::memcpy(o.small.data(), record.payload.data(), header.bytes);
                o.bytes = header.bytes;
            }
        }
        o.fds = std::exchange(w.part_fds, {});
        ++w.first;
        ++answers;
        outcomes.push_back(std::move(o));
        return true;
    }
    bool take_fds(PoolWorker& w, std::size_t n) {
        pollfd ready{w.socket.get(), POLLIN, 0};
        if (os::poll_fds({&ready, 1}, Deadline::poll()) != 1 || !(ready.revents & POLLIN)) return false;
        std::byte mark[8];
        const iovec room{mark, sizeof mark};
        return os::receive_packet(w.socket.get(), {&room, 1}, w.part_fds) > 0 && w.part_fds.size() == n;
    }
    static std::exception_ptr decode_error(std::span<const std::byte> bytes) {
        try {
            const std::vector<std::byte> copy(bytes.begin(), bytes.end());
            CargoReader in(copy);
            return unpack_exception(in);
        } catch (...) {
            return std::current_exception();
        }
    }

    // Outside of the lock: the user's code may be called.
    void tell(Outcomes& outcomes) noexcept {
        if (outcomes.empty()) return;
        for (Outcome& o : outcomes) {
            FAULT_POINT("pool.parent.settled");
            switch (o.kind) {
            case Outcome::Kind::result: {
                CargoReader in(o.payload(), std::move(o.fds));
                o.job->settle(in);
                break;
            }
            case Outcome::Kind::error: {
                std::exception_ptr error;
                try {
                    CargoReader in(o.payload(), std::move(o.fds));
                    error = unpack_exception(in);
                } catch (...) {
                    error = std::current_exception();
                }
                o.job->fail(std::move(error));
                break;
            }
            case Outcome::Kind::failed:
                o.job->fail(std::move(o.failure));
                break;
            case Outcome::Kind::cancelled:
                o.job->cancel();
                break;
            case Outcome::Kind::dropped:
                break;
            }
            o.job->drop();
        }
        settled_.fetch_add(outcomes.size(), memory_order_relaxed); // a number for displays
        outcomes.clear();
    }

    // ---- jobs

    void hand_out(Outcomes& outcomes) {
        take_inbox();
        for (auto& w : workers_)
            if (w->outgoing && !w->dead && !w->dropped) go_on_sending(*w);
        if (waiting_.empty()) return;
        if (broken_) {
            while (!waiting_.empty()) fail(*waiting_.pop_front(), broken_, outcomes);
            return;
        }
        const bool one_at_a_time = options_.task_timeout_ns > 0;
        const std::size_t n = workers_.size();
        for (bool given = true; given && !waiting_.empty();) {
            given = false;
            // Who has nothing to do first, and of them who was used last: its caches are warm, and maybe it has not yet slept.
            for (const bool idle_alone : {true, false}) {
                for (std::size_t k = 0; k < n && !waiting_.empty(); ++k) {
                    const std::size_t i = (hot_ + k) % n;
                    PoolWorker& w = *workers_[i];
                    if (!w.takes_jobs(one_at_a_time) || (idle_alone && w.count() > 0)) continue;
                    // A fair part of what there is, so that nobody gets all of a few.
                    std::size_t most = std::max<std::size_t>(1, waiting_.size() / (2 * n));
                    most = std::min<std::size_t>(most, one_at_a_time ? 1 : w.window() - w.count());
                    if (give(w, most, outcomes)) {
                        given = true;
                        hot_ = i;
                    }
                }
            }
        }
    }
    // Hands up to `most` jobs to the worker. False: it has no room.
    bool give(PoolWorker& w, std::size_t most, Outcomes& outcomes) {
        bool any = false;
        const bool was_idle = w.count() == 0;
        while (most > 0 && !waiting_.empty() && (w.most_jobs == 0 || w.given < w.most_jobs)) {
            PoolJob& job = *waiting_.pop_front();
            if (job.abandoned_ || (!job.begun_ && !job.begin())) {
                outcomes.push_back(outcome(job, Outcome::Kind::dropped));
                continue;
            }
            job.begun_ = true;
            if (!send(w, job)) {
                waiting_.push_front(job);
                break;
            }
            any = true;
            --most;
            if (w.outgoing) break;
        }
        if (w.jobs.broken()) w.kill("what it wrote into its ring makes no sense");
        if (!any) return false;
        if (was_idle) {
            w.moved_ns = base::monotonic_ns();
            if (options_.task_timeout_ns > 0) w.deadline_ns = w.moved_ns + options_.task_timeout_ns;
        }
        FAULT_POINT("pool.parent.wrote_job");
        w.was_asleep = w.jobs.publish() && w.ring();
        return true;
    }

    std::uint32_t entry_number(Entry entry) {
        if (entry == last_entry_) return last_entry_number_;
        const auto [it, is_new] = entry_numbers_.try_emplace(reinterpret_cast<std::uintptr_t>(entry),
                                                             static_cast<std::uint32_t>(entries_.size()));
        if (is_new) entries_.push_back(entry);
        last_entry_ = entry;
        return last_entry_number_ = it->second;
    }

    // Writes the job, or the first piece of it, into the worker's ring. False: there is no room now.
    bool send(PoolWorker& w, PoolJob& job) {
        const std::uint32_t entry = entry_number(job.entry);
        while (w.known_entries <= entry) {
            CargoWriter code;
            pack_entry(code, entries_[w.known_entries]);
            const auto bytes = code.bytes();
            std::byte* const room = w.jobs.reserve(bytes.size());
            if (!room) return false;
            std::memcpy(room, bytes.data(), bytes.size());
            w.jobs.commit({.bytes = static_cast<std::uint32_t>(bytes.size()),
                           .kind = static_cast<std::uint8_t>(ToWorker::entry)});
            ++w.known_entries;
        }
        const std::span<const std::byte> arguments = job.arguments();
        const std::size_t total = arguments.size() + job.bulk.size();
        const std::size_t n = std::min(total, w.jobs.most_payload());
        std::byte* const room = w.jobs.reserve(n);
        if (!room) return false;
        FAULT_POINT("pool.parent.reserved");
        const std::span<const int> fds = job.cargo_ ? job.cargo_->fds() : std::span<const int>();
        if (!fds.empty()) {
            pollfd ready{w.socket.get(), POLLOUT, 0};
            if (os::poll_fds({&ready, 1}, Deadline::poll()) != 1 || !(ready.revents & POLLOUT)) return false;
            std::byte mark[8] = {};
            const iovec piece{mark, sizeof mark};
            if (os::send_packet(w.socket.get(), {&piece, 1}, fds) != 0) return false;
        }
        copy_out(job, 0, {room, n});
        ++job.attempt_;
        job.worker_ = &w;
        w.jobs.commit({.bytes = static_cast<std::uint32_t>(n),
                       .kind = static_cast<std::uint8_t>(ToWorker::job),
                       .flags = n < total ? record_more : std::uint8_t{0},
                       .fds = static_cast<std::uint16_t>(fds.size()),
                       .entry = entry,
                       .id = static_cast<std::uint32_t>(w.next)});
        w.slot(w.next++) = &job;
        ++w.given;
        if (n < total) {
            w.outgoing = &job;
            w.sent = n;
            w.jobs.publish();
            go_on_sending(w);
        }
        return true;
    }
    static void copy_out(PoolJob& job, std::size_t from, std::span<std::byte> to) noexcept {
        const auto arguments = job.arguments();
        std::size_t done = 0;
        if (from < arguments.size()) {
            done = std::min(to.size(), arguments.size() - from);
            if (done > 0) std::memcpy(to.data(), arguments.data() + from, done);
        }
        if (done < to.size())
            std::memcpy(to.data() + done, job.bulk.data() + (from + done - arguments.size()), to.size() - done);
    }
    void go_on_sending(PoolWorker& w) {
        PoolJob& job = *w.outgoing;
        const std::size_t total = job.arguments().size() + job.bulk.size();
        while (w.sent < total) {
            const std::size_t n = std::min(total - w.sent, w.jobs.most_payload());
            std::byte* const room = w.jobs.reserve(n);
            if (!room) break;
            copy_out(job, w.sent, {room, n});
            w.sent += n;
            w.jobs.commit({.bytes = static_cast<std::uint32_t>(n),
                           .kind = static_cast<std::uint8_t>(ToWorker::job),
                           .flags = w.sent < total ? record_more : std::uint8_t{0},
                           .id = static_cast<std::uint32_t>(w.next - 1)});
        }
        if (w.jobs.broken()) w.kill("what it wrote into its ring makes no sense");
        if (w.sent == total) w.outgoing = nullptr;
        if (w.jobs.publish()) w.ring();
    }

    void fail(PoolJob& job, const std::exception_ptr& error, Outcomes& outcomes) {
        if (!job.begun_ && !job.begin()) {
            outcomes.push_back(outcome(job, Outcome::Kind::dropped));
            return;
        }
        job.begun_ = true;
        Outcome o = outcome(job, Outcome::Kind::failed);
        o.failure = error;
        outcomes.push_back(std::move(o));
    }

    // ---- taking back (4)

    // Somebody has nothing to do, nothing waits, and somebody has more than the job that it runs.
    [[nodiscard]] bool waits_behind_somebody() const noexcept {
        if (!waiting_.empty()) return false;
        bool idle = false, crowded = false;
        for (auto& w : workers_) {
            if (w->state != State::ready || w->dead || w->dropped || w->revoking) continue;
            if (w->count() == 0) idle = true;
            if (w->count() > 1 && !w->outgoing) crowded = true;
        }
        return idle && crowded;
    }
    void take_back_what_waits(std::int64_t now) {
        if (!waits_behind_somebody()) return;
        for (auto& w : workers_) {
            if (w->state != State::ready || w->dead || w->dropped || w->revoking || w->outgoing || w->count() < 2)
                continue;
            if (now - w->moved_ns < stuck_ns) continue;
            if (!revoke(*w) || !w->revoking) continue;
            w->job_ns = std::max(w->job_ns, now - w->moved_ns);
        }
    }

    // Takes back what the worker has not begun, and it will begin nothing until that is done. False: it is killed for what it says.
    bool revoke(PoolWorker& w) {
        const std::uint64_t begun = take_jobs_back(w.page->claim);
        if (begun < w.first || begun > w.next) {
            w.kill("what it says of its jobs makes no sense");
            return false;
        }
        if (begun == w.next) { // it has begun them all: it won't look at this any more
            w.page->claim.store(begun, memory_order_release);
            return true;
        }
        w.revoking = true;
        if (begun == w.first) w.call_off(); // the job that is waited for runs elsewhere
        w.revoked_to = w.next;
        while (w.next > begun) {
            // From the last to the first, so that they come to wait in their order. Their numbers are not used again.
            PoolJob& job = *w.slot(--w.next);
            --w.given;
            --job.attempt_;
            job.worker_ = nullptr;
            waiting_.push_front(job);
            ++taken_back_;
        }
        return true;
    }

    // Workers that run what nobody wants any more are killed (5).
    void end_abandoned() {
        some_abandoned_ = false;
        for (auto& w : workers_) {
            if (w->state != State::ready || w->dead || w->dropped) continue;
            bool any = false;
            for (std::uint64_t n = w->first; n < w->next && !any; ++n) any = w->slot(n)->abandoned_;
            if (!any) continue;
            if (w->outgoing) {
                // Only a part of the last one is there, and it can't be taken back yet. If it is the one that runs, nothing is behind it.
                // acquire: as in settle_death().
                const std::uint64_t begun = w->page->claim.load(memory_order_acquire);
                if (begun == w->next && w->outgoing->abandoned_)
                    w->kill("its job was cancelled");
                else
                    some_abandoned_ = true;
                continue;
            }
            if (!w->revoking && !revoke(*w)) continue;
            if (w->results.has_more())
                some_abandoned_ = true; // maybe it is done
            else if (w->count() > 0 && w->slot(w->next - 1)->abandoned_)
                w->kill("its job was cancelled");
        }
    }

    // ---- time and ends

    void check_time(PoolWorker& w, std::int64_t now) {
        if (w.deadline_ns == 0 || now < w.deadline_ns || w.dead || w.dropped) return;
        w.deadline_ns = 0;
        w.timed_out = true;
        w.kill(w.state == State::starting  ? "its initializer took longer than the pool's time-out"
               : w.state == State::leaving ? "its end took longer than the pool's time-out"
                                           : "its job took longer than the pool's time-out");
    }

    [[nodiscard]] std::int64_t time_to_begin_or_end() const noexcept {
        return std::max<std::int64_t>(options_.task_timeout_ns, 2'000'000'000);
    }

    // Those to whom nothing more will be handed are told to end.
    void dismiss(bool all) {
        for (auto& w : workers_) {
            if (w->state != State::ready || w->dead || w->count() > 0 || w->revoking) continue;
            if (!all && (w->most_jobs == 0 || w->given < w->most_jobs)) continue;
            tell_to_leave(*w);
        }
    }
    void tell_to_leave(PoolWorker& w) {
        if (!w.jobs.reserve(0)) return;
        w.jobs.commit({.kind = static_cast<std::uint8_t>(ToWorker::quit)});
        w.state = State::leaving;
        if (options_.task_timeout_ns > 0)
            w.deadline_ns = base::monotonic_ns() + time_to_begin_or_end(); // it may be stopped
        if (w.jobs.publish()) w.ring();
    }

    // Those that are to end and can't, for they are stopped (SIGSTOP): else the pool's end would take until somebody continues them. They
    // have no job to lose: what they have not begun is taken back first. One that runs may take its time: its initializer's, its
    // threads', its exit handlers'.
    void end_stopped(std::int64_t now) {
        for (auto& w : workers_) {
            if (w->dead || w->dropped || (w->state != State::leaving && !closed())) {
                w->look_ns = 0;
                continue;
            }
            if (w->look_ns > 0 && now < w->look_ns) continue;
            const bool first = std::exchange(w->look_ns, now + stopped_look_ns) == 0;
            const bool was = std::exchange(w->was_stopped, !first && os::is_stopped(w->child.pid()));
            if (!was || !w->was_stopped) continue;
            if (w->count() > 0 && !w->outgoing && !w->revoking && !revoke(*w)) continue;
            // Of which only a part is there it has not begun.
            if (w->count() == (w->outgoing ? 1U : 0U)) w->kill("it was stopped when it was to end");
        }
    }

    // The dead: what they held is settled or goes back. By the server.
    bool bury() noexcept {
        bool any = false;
        Outcomes outcomes;
        for (std::size_t i = 0; i < workers_.size();) {
            if (!workers_[i]->dead || !workers_[i]->child.status()) {
                ++i;
                continue;
            }
            std::unique_ptr<PoolWorker> gone;
            {
                os::MutexGuard guard(mutex_);
                if (workers_[i]->is_helped()) { // it was called off, and is given back in a moment
                    ++i;
                    continue;
                }
                settle_death(*workers_[i], outcomes);
                gone = std::move(workers_[i]);
                workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(i));
                hot_ = 0;
            }
            epoll_.remove(gone->bell.get());
            epoll_.remove(gone->child.pidfd());
            any = true;
        }
        tell(outcomes);
        return any;
    }
    void settle_death(PoolWorker& w, Outcomes& outcomes) {
        FAULT_POINT("pool.parent.saw_death");
        take_results(w, outcomes, base::monotonic_ns());
        const os::ExitStatus status = *w.child.status();
        // acquire: meets the worker's exchange. What makes no sense counts as begun: no job runs twice.
        std::uint64_t begun = w.page->claim.load(memory_order_acquire) & ~claim_revoked;
        if (begun < w.first || begun > w.next) begun = w.next; // also of one that had passed over what was taken back
        bool first = true;
        WorkerDeath death{.pid = w.child.pid(),
                          .exitcode = status.code,
                          .core_dumped = status.core_dumped,
                          .task = {},
                          .reason = w.reason,
                          .stack = {}};
        if (w.state == State::starting) {
            start_failed(w.refusal ? w.refusal : std::make_exception_ptr(WorkerDied(death)));
        } else if (begun > w.first && death.exitcode < 0 && !w.dropped) {
            death.stack = describe_crash(w.page->crash);
        }
        // From the last to the first, so that they come to wait in their order.
        for (; w.next > begun; --w.next) {
            PoolJob& job = *w.slot(w.next - 1);
            --job.attempt_;
            job.worker_ = nullptr;
            waiting_.push_front(job);
        }
        FAULT_POINT("pool.parent.took_back");
        for (; w.first < w.next; ++w.first) {
            PoolJob& job = *w.slot(w.first);
            job.worker_ = nullptr;
            if (job.abandoned_) {
                outcomes.push_back(outcome(job, Outcome::Kind::dropped));
                first = false;
                continue;
            }
            if (job.attempt_ <= options_.retries) {
                waiting_.push_back(job);
                continue;
            }
            Outcome o = outcome(job, Outcome::Kind::failed);
            if (w.timed_out && first) {
                o.failure = std::make_exception_ptr(TimeoutError(
                    "job " + std::to_string(job.number_) + " of a pool took longer than " +
                    std::to_string(static_cast<double>(options_.task_timeout_ns) / 1e9) + " s; its worker was killed"));
            } else {
                death.task = job.number_;
                death.attempt = job.attempt_;
                o.failure = std::make_exception_ptr(WorkerDied(death));
            }
            ++died_;
            first = false;
            outcomes.push_back(std::move(o));
        }
    }

    void start_failed(std::exception_ptr cause) noexcept {
        if (terminated_.load(memory_order_relaxed) || broken_) return;
        if (failed_starts_++ == 0) first_cause_ = cause;
        if (failed_starts_ < std::max<std::size_t>(3, options_.processes)) return;
        std::string text = "unknown";
        try {
            std::rethrow_exception(first_cause_);
        } catch (const std::exception& e) {
            text = e.what();
            broken_ = nested(text);
        } catch (...) {
            broken_ = nested(text);
        }
    }
    [[nodiscard]] std::exception_ptr nested(const std::string& cause) const {
        try {
            std::throw_with_nested(
                BrokenExecutor("the workers of a pool cannot start: " + std::to_string(failed_starts_) +
                               " in a row have failed, the first of them so: " + cause));
        } catch (...) {
            return std::current_exception();
        }
    }

    // Starts the workers that are missing. By the server.
    bool recruit() noexcept {
        std::size_t missing = 0;
        {
            os::MutexGuard guard(mutex_);
            if (broken_ || terminated_.load(memory_order_relaxed)) return false;
            // Who has failed to begin is counted first (bury), else there would be more starts than start_failed() allows.
            for (auto& w : workers_)
                if (w->state == State::starting && (w->dead || w->dropped)) return false;
            const std::size_t alive = living();
            if (alive >= options_.processes) return false;
            if (options_.all_at_once && !closed()) {
                missing = options_.processes - alive;
            } else {
                std::size_t idle = 0;
                for (auto& w : workers_)
                    if (!w->dead && !w->dropped && w->state != State::leaving && w->count() == 0) ++idle;
                if (waiting_.size() > idle) missing = std::min(waiting_.size() - idle, options_.processes - alive);
            }
            if (missing == 0) return false;
            if (retry_start_ns_ > 0 && base::monotonic_ns() < retry_start_ns_) return false;
            retry_start_ns_ = 0;
        }
        for (; missing > 0; --missing) {
            try {
                auto w = make_worker();
                os::MutexGuard guard(mutex_);
                workers_.push_back(std::move(w));
                FAULT_POINT("pool.parent.refilled");
            } catch (...) {
                os::MutexGuard guard(mutex_);
                if (living() == 0) start_failed(std::current_exception());
                retry_start_ns_ = base::monotonic_ns() + 20'000'000;
                if (broken_) retry_start_ns_ = 0;
                break;
            }
        }
        return true;
    }
    [[nodiscard]] std::size_t living() const noexcept {
        return static_cast<std::size_t>(std::count_if(workers_.begin(), workers_.end(), [](auto& w) {
            return !w->dead && !w->dropped && w->state != State::leaving;
        }));
    }
    // Whether the server has something to do of which nobody else tells it.
    [[nodiscard]] bool needs_server() const noexcept {
        return (!waiting_.empty() && (broken_ || living() < options_.processes)) || options_.task_timeout_ns > 0 ||
               options_.max_jobs_per_worker > 0 || waits_behind_somebody();
    }

    std::unique_ptr<PoolWorker> make_worker() {
        auto w = std::make_unique<PoolWorker>();
        w->number = ++started_;
        int error = 0;
        w->mapped = WorkerMemory::total(options_.ring_bytes);
        w->memory = os::make_memfd("sennit-worker", w->mapped, error);
        if (!w->memory) throw OSError(error, "a pool of processes cannot make the memory that it shares with a worker");
        w->base = os::map_shared(w->memory.get(), w->mapped, error);
        if (!w->base) throw OSError(error, "a pool of processes cannot map the memory that it shares with a worker");
        const WorkerMemory memory = WorkerMemory::at(w->base, options_.ring_bytes);
        w->page = memory.page;
        w->jobs = RingWriter(w->page->jobs, memory.jobs, options_.ring_bytes);
        w->results = RingReader(w->page->results, memory.results, options_.ring_bytes);
        w->bell = os::make_eventfd();
        auto [here, there] = os::make_packet_pair();
        w->socket = std::move(here);
        w->most_jobs = options_.max_jobs_per_worker;
        w->moved_ns = base::monotonic_ns();
        if (options_.task_timeout_ns > 0) w->deadline_ns = w->moved_ns + time_to_begin_or_end();

        const std::span<const int> init_fds = options_.initializer ? options_.initargs->fds() : std::span<const int>();
        CargoWriter cargo;
        cargo.write_raw(WorkerSettings{options_.ring_bytes, options_.memory_limit, init_fds.size(),
                                       static_cast<std::uint8_t>(options_.initializer != nullptr)});
        cargo.attach(w->memory.get());
        cargo.attach(w->bell.get());
        cargo.attach(std::move(there));
        if (options_.initializer) {
            pack_entry(cargo, options_.initializer);
            for (const int fd : init_fds) cargo.attach(fd);
            const auto initargs = options_.initargs->bytes();
            cargo.write(initargs.data(), initargs.size());
        }
        ChildOptions how;
        if (options_.method) how.method = *options_.method;
        how.name = options_.name + "-" + std::to_string(w->number);
        how.ignore_interrupt = true;
        w->page->parent_bell.store(bell_asleep,
                                   memory_order_relaxed); // the server may sleep when it is ready; the start orders it
        w->child = Child::start(how, &run_worker, std::move(cargo));
        error = epoll_.add(w->bell.get(), EPOLLIN, w->number);
        if (error == 0) error = epoll_.add(w->child.pidfd(), EPOLLIN, w->number | pidfd_bit);
        if (error != 0) throw OSError(error, "a pool of processes cannot watch a worker");
        return w;
    }

    [[nodiscard]] PoolStatistics statistics_now() const noexcept {
        PoolStatistics now;
        for (auto& w : workers_) {
            if (!w->dead) ++now.processes;
            now.handed_out += w->count();
        }
        {
            os::MutexGuard guard(inbox_mutex_);
            now.waiting = waiting_.size() + inbox_.size();
            now.submitted = submitted_;
        }
        now.settled = settled_.load(memory_order_relaxed);
        now.started = started_.load(memory_order_relaxed);
        now.died = died_;
        return now;
    }
    void report_progress() noexcept {
        const PoolStatistics now = statistics();
        if (now.settled == reported_) return;
        reported_ = now.settled;
        try {
            options_.progress(now);
        } catch (...) {
            sync::report_unseen_error(std::current_exception(), "the progress hook of a pool");
        }
    }

    WorkerPoolOptions options_;
    os::Epoll epoll_;
    os::Fd own_bell_;
    const int owner_;
    const std::uint32_t owner_forks_;
    std::shared_ptr<WorkerPoolImpl> self_;
    pthread_t thread_{};
    sync::Event ended_;

    mutable os::Mutex inbox_mutex_; // taken last
    JobList inbox_{&PoolJob::next_};
    std::uint64_t submitted_ = 0;
    atomic<bool> inbox_hint_{false};
    atomic<bool> closed_{false}, terminated_{false};
    atomic<bool> server_awake_{true}, server_looks_{false};
    atomic<bool> asked_to_stay_{false};
    atomic<std::int64_t> server_id_{0};
    atomic<std::uint64_t> settled_{0}, started_{0};

    mutable os::Mutex mutex_;
    std::vector<std::unique_ptr<PoolWorker>> workers_; // changed by the server alone, under the lock
    JobList waiting_{&PoolJob::next_};
    std::size_t hot_ = 0; // the worker that got the last job
    std::vector<Entry> entries_;
    std::unordered_map<std::uintptr_t, std::uint32_t> entry_numbers_;
    Entry last_entry_ = nullptr;
    std::uint32_t last_entry_number_ = 0;
    std::exception_ptr broken_, first_cause_;
    std::size_t failed_starts_ = 0; // in a row
    std::int64_t retry_start_ns_ = 0;
    std::uint64_t died_ = 0, taken_back_ = 0;
    bool some_abandoned_ = false;
    std::uint32_t id_ = 0;

    // The server's own.
    os::Patience patience_;
    std::uint64_t reported_ = 0;
    std::int64_t looked_ns_ = 0;
};

namespace {

// The pools of this process by number, for jobs that outlive theirs.
class Pools {
  public:
    static Pools& get() noexcept {
        alignas(Pools) static unsigned char memory[sizeof(Pools)];
        static auto* const it = ::new (static_cast<void*>(memory)) Pools; // never destroyed
        return *it;
    }
    void add(const std::shared_ptr<WorkerPoolImpl>& pool) {
        os::MutexGuard guard(mutex_);
        if (owner_ != os::process_id()) { // a fork: those that it has copied live elsewhere
            all_.clear();
            owner_ = os::process_id();
        }
        std::erase_if(all_, [](auto& entry) { return entry.second.expired(); });
        pool->set_id(++last_);
        all_.emplace(last_, pool);
    }
    std::shared_ptr<WorkerPoolImpl> find(std::uint32_t id) {
        os::MutexGuard guard(mutex_);
        const auto it = all_.find(id);
        return it == all_.end() || owner_ != os::process_id() ? nullptr : it->second.lock();
    }

  private:
    Pools() {
        static_cast<void>(os::at_fork([]() SENNIT_NO_TSA noexcept { get().mutex_.lock(); },
                                      []() SENNIT_NO_TSA noexcept { get().mutex_.unlock(); },
                                      []() SENNIT_NO_TSA noexcept { get().mutex_.reset_after_fork(); }));
    }
    os::Mutex mutex_;
    std::unordered_map<std::uint32_t, std::weak_ptr<WorkerPoolImpl>> all_;
    std::uint32_t last_ = 0;
    int owner_ = 0;
};

} // namespace

void abandon(PoolJob& job) noexcept {
    if (const std::shared_ptr<WorkerPoolImpl> pool = Pools::get().find(job.pool_)) pool->abandon(job);
}

void help(PoolJob& job) {
    if (!wait::current_agent().may_spin()) return;
    const std::shared_ptr<WorkerPoolImpl> pool = Pools::get().find(job.pool_);
    if (pool && !pool->is_server()) pool->help_late(job);
}

std::shared_ptr<WorkerPool> WorkerPool::make(WorkerPoolOptions options) {
    if (options.processes < 1) throw UsageError("a pool of processes needs at least 1 process, got 0");
    auto pool = std::make_shared<WorkerPoolImpl>(std::move(options));
    Pools::get().add(pool);
    pool->start();
    return pool;
}

} // namespace sennit::multiprocessing::detail
