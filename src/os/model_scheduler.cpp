// The scheduler: hands one baton round.
//
//   point    before each operation: the strategy picks who runs on, of those who can: the baton goes there
//   block    in a futex_wait, a join: the same without the caller
//   finish   a thread's function has returned: the same; the last one gives the baton back to run()
//
// Only who holds the baton touches anything here, so nothing is locked. Threads are kept for the next run.
//
// Fairness, so that spin loops end: after yield() a thread runs again only when each thread that could run then has taken a
// step (M. Musuvathi, S. Qadeer, "Fair stateless model checking", PLDI 2008), or nobody else can run at all.
#if defined(SENNIT_MODEL)

#include <sennit/impl/model_scheduler.hpp>

#include "model_memory.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace sennit::model {
namespace {

constexpr std::size_t max_steps = 20'000;
constexpr std::size_t max_steps_alone = 1'000; // without a yield, though others could run
constexpr std::int64_t clock_begins = 1'000'000'000;

// A flag that one real thread sleeps on.
class Baton {
  public:
    void give() noexcept {
        __atomic_store_n(&word_, 1, __ATOMIC_RELEASE);
        ::syscall(SYS_futex, &word_, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
    }
    void take() noexcept {
        while (__atomic_load_n(&word_, __ATOMIC_ACQUIRE) == 0)
            ::syscall(SYS_futex, &word_, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, nullptr, nullptr, 0);
        __atomic_store_n(&word_, 0, __ATOMIC_RELAXED);
    }

  private:
    std::uint32_t word_ = 0;
};

enum class State : std::uint8_t { none, runnable, sleeping, joining, waiting_for_all, ended };

struct Thread {
    State state = State::none;
    std::function<void()> body;
    ThreadMemory memory;
    Where at;                          // its present or last operation
    const void* word = nullptr;        // sleeping: on this futex
    Deadline deadline = forever;       // sleeping: until then
    bool by_deadline = false;          // the sleep ended so
    int joins = -1;                    // joining: whom
    int quiet = 0;                     // how many Quiet objects live
    std::uint32_t turns_of_others = 0; // yielded: bits of the threads that have to take a step first
    std::uint64_t slept_at = 0;        // sleeping: a number, oldest first
    // The real thread below.
    pthread_t handle{};
    bool made = false;
    Baton baton;
};

enum class Kind : std::uint8_t {
    load,
    store,
    exchange,
    compare_exchange,
    update,
    fence,
    futex_wait,
    futex_wake,
    woken,
    deadline,
    begins,
    ends
};
constexpr const char* kind_names[] = {"load",       "store", "exchange", "compare_exchange", "update", "fence",
                                      "futex_wait", "wake",  "is woken", "deadline passes",  "begins", "ends"};

struct Step {
    int thread = 0;
    Kind kind = Kind::begins;
    int location = -1;
    std::uint64_t value = 0;
    std::memory_order order = std::memory_order_seq_cst;
    bool older = false, failed = false;
    Where at;
};
constexpr std::size_t trace_length = 256;

class Scheduler final : public Chooser {
  public:
    std::size_t run(const std::function<void()>& scenario, Strategy& strategy);

    // ---- by the running thread
    int add(std::function<void()> body);
    void point(const Where& at);
    void yield(const Where& at);
    void sleep(Thread& t);
    void join(int other);
    void let_all_park();
    int wake(const void* word, int n);
    void trace(Kind kind, const Memory::Seen& seen, std::memory_order order, const Where& at);
    std::string report(const std::string& what) const;

    unsigned older_store(unsigned n) override { return me().quiet ? 0 : strategy_->choose(Choice::older_store, n); }
    bool weak_failure() override { return !me().quiet && strategy_->choose(Choice::weak_failure, 2) != 0; }
    unsigned choose(Choice kind, unsigned n) { return me().quiet ? 0 : strategy_->choose(kind, n); }

    Thread& me() { return threads_[static_cast<std::size_t>(current_)]; }
    Thread& thread(int i) { return threads_[static_cast<std::size_t>(i)]; }
    int current() const { return current_; }
    int find(pthread_t handle) const;

    Memory memory;
    std::int64_t now = clock_begins;
    std::uint64_t hash = 0;
    FailureHandler on_failure = nullptr;
    void (*exit_hook)() = nullptr;
    bool verbose = false;

  private:
    static void* work(void* index);
    void body_of(int index);
    void finish();
    int pick_next();
    void hand_to(int next);

    std::array<Thread, max_threads> threads_;
    int count_ = 0;
    int current_ = 0;
    Strategy* strategy_ = nullptr;
    Baton done_;
    std::size_t steps_ = 0;
    std::size_t alone_ = 0; // steps of the current thread in a row
    std::uint64_t sleeps_ = 0;
    std::array<Step, trace_length> trace_;
    std::uint64_t traced_ = 0;
    std::vector<Candidate> ways_;
};

Scheduler& scheduler() {
    static Scheduler& it = *new Scheduler; // never destroyed: its threads wait in it till the end of the process
    return it;
}

thread_local bool is_controlled = false;

std::string name(int thread) { return "T" + std::to_string(thread); }

const char* order_name(std::memory_order o) {
    switch (o) {
    case std::memory_order_relaxed:
        return "relaxed";
    case std::memory_order_consume:
    case std::memory_order_acquire:
        return "acquire";
    case std::memory_order_release:
        return "release";
    case std::memory_order_acq_rel:
        return "acq_rel";
    case std::memory_order_seq_cst:
        return "seq_cst";
    }
    return "";
}

std::string told(const Step& s) {
    std::string line = name(s.thread) + "  " + kind_names[static_cast<std::size_t>(s.kind)];
    if (s.location >= 0) line += " #" + std::to_string(s.location);
    switch (s.kind) {
    case Kind::load:
    case Kind::store:
    case Kind::exchange:
    case Kind::compare_exchange:
    case Kind::update:
        line += (s.kind == Kind::load    ? " gives "
                 : s.kind == Kind::store ? " = "
                                         : " sees ") +
                std::to_string(s.value) + ' ' + order_name(s.order);
        if (s.older) line += ", an older value";
        if (s.failed) line += ", fails";
        break;
    default:
        break;
    }
    if (s.kind != Kind::begins && s.kind != Kind::ends) line += "   " + text(s.at);
    return line;
}

std::size_t Scheduler::run(const std::function<void()>& scenario, Strategy& strategy) {
    strategy_ = &strategy;
    count_ = 0;
    current_ = -1;
    steps_ = alone_ = 0;
    sleeps_ = traced_ = 0;
    hash = 14695981039346656037ULL;
    now = clock_begins;
    memory.reset(1);
    add(scenario);
    current_ = 0;
    threads_[0].baton.give();
    done_.take();
    for (int i = 0; i < count_; ++i) thread(i).body = nullptr;
    return steps_;
}

int Scheduler::add(std::function<void()> body) {
    if (count_ == max_threads) fail("the scenario has more threads than the model's max_threads");
    const int index = count_++;
    Thread& t = thread(index);
    t.state = State::runnable;
    t.body = std::move(body);
    t.joins = -1;
    t.quiet = 0;
    t.turns_of_others = 0;
    if (current_ < 0) {
        t.memory = ThreadMemory{};
        t.memory.now.clock[0] = 1;
    } else {
        memory.begin_thread(t.memory, me().memory, index);
    }
    if (!t.made) {
        t.made = true;
        const int e =
            ::pthread_create(&t.handle, nullptr, work, reinterpret_cast<void*>(static_cast<std::intptr_t>(index)));
        if (e) fail("the model can't start a thread: errno " + std::to_string(e));
    }
    return index;
}

void* Scheduler::work(void* argument) {
    const auto index = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
    for (;;) {
        scheduler().thread(index).baton.take();
        scheduler().body_of(index);
    }
}

void Scheduler::body_of(int index) {
    Thread& t = thread(index);
    is_controlled = true;
    trace(Kind::begins, {}, {}, Where::current());
    try {
        t.body();
    } catch (const std::exception& e) {
        fail(name(index) + " has ended with an exception: " + e.what());
    }
    ++t.quiet;
    if (exit_hook) exit_hook();
    t.quiet = 0;
    trace(Kind::ends, {}, {}, Where::current());
    is_controlled = false;
    finish();
}

void Scheduler::finish() {
    me().state = State::ended;
    bool all = true;
    for (int i = 0; i < count_; ++i) {
        Thread& t = thread(i);
        if (t.state == State::joining && t.joins == current_) t.state = State::runnable;
        all = all && t.state == State::ended;
    }
    if (all)
        done_.give();
    else
        hand_to(pick_next());
}

// Who runs on. The current thread is one of the candidates unless it waits or has ended.
int Scheduler::pick_next() {
    if (++steps_ > max_steps)
        fail("no end after " + std::to_string(max_steps) + " operations: agents keep each other busy for ever");
    std::uint32_t runnable = 0;
    for (int i = 0; i < count_; ++i)
        if (thread(i).state == State::runnable) runnable |= 1U << i;
    ways_.clear();
    int current = -1;
    const auto offer = [&](int i, bool by_deadline) {
        if (i == current_ && !by_deadline) current = static_cast<int>(ways_.size());
        ways_.push_back({i, by_deadline});
    };
    // The current thread first, then round: so that the first way is to go on, or else takes turns.
    const int from = current_;
    for (int k = 0; k < count_; ++k) {
        const int i = (from + k) % count_;
        if ((runnable >> i & 1) && !(thread(i).turns_of_others & runnable & ~(1U << i))) offer(i, false);
    }
    if (ways_.empty())
        for (int k = 0; k < count_; ++k)
            if (const int i = (from + k) % count_; runnable >> i & 1) offer(i, false);
    if (ways_.empty())
        for (int k = 0; k < count_; ++k)
            if (const int i = (from + k) % count_; thread(i).state == State::waiting_for_all) offer(i, false);
    for (int k = 0; k < count_; ++k) {
        const int i = (from + k) % count_;
        if (thread(i).state == State::sleeping && !thread(i).deadline.is_forever()) offer(i, true);
    }
    if (ways_.empty()) fail("a deadlock: no thread can run, and no deadline will pass");
    if (alone_ > max_steps_alone && ways_.size() > 1 && current >= 0) {
        ways_.erase(ways_.begin() + current); // spins without a yield: the others first
        current = -1;
    }
    const Candidate next = ways_[ways_.size() == 1 ? 0 : strategy_->pick(ways_, current)];
    Thread& t = thread(next.thread);
    if (next.by_deadline) {
        if (now < t.deadline.monotonic_ns()) now = t.deadline.monotonic_ns();
        t.by_deadline = true;
    }
    t.state = State::runnable;
    for (int i = 0; i < count_; ++i) thread(i).turns_of_others &= ~(1U << next.thread);
    t.turns_of_others = 0;
    alone_ = next.thread == current_ ? alone_ + 1 : 0;
    return next.thread;
}

// Gives the baton away, for good when the current thread has ended.
void Scheduler::hand_to(int next) {
    if (next == current_) return;
    Thread& mine = me();
    const bool ended = mine.state == State::ended;
    current_ = next;
    thread(next).baton.give();
    if (!ended) mine.baton.take();
}

void Scheduler::point(const Where& at) {
    me().at = at;
    if (!me().quiet) hand_to(pick_next());
}

void Scheduler::yield(const Where& at) {
    me().at = at;
    strategy_->yielded(current_);
    std::uint32_t others = 0;
    for (int i = 0; i < count_; ++i)
        if (i != current_ && thread(i).state == State::runnable) others |= 1U << i;
    me().turns_of_others = others;
    hand_to(pick_next());
}

void Scheduler::sleep(Thread& t) {
    t.state = State::sleeping;
    t.by_deadline = false;
    t.slept_at = ++sleeps_;
    hand_to(pick_next());
}

int Scheduler::wake(const void* word, int n) {
    int woken = 0;
    for (; woken < n; ++woken) {
        std::array<int, max_threads> sleepers{};
        unsigned count = 0;
        for (int i = 0; i < count_; ++i)
            if (thread(i).state == State::sleeping && thread(i).word == word) sleepers[count++] = i;
        if (count == 0) break;
        for (unsigned i = 1; i < count; ++i) // oldest first
            for (unsigned j = i; j > 0 && thread(sleepers[j]).slept_at < thread(sleepers[j - 1]).slept_at; --j)
                std::swap(sleepers[j], sleepers[j - 1]);
        thread(sleepers[count > 1 ? choose(Choice::wake_order, count) : 0]).state = State::runnable;
    }
    return woken;
}

void Scheduler::join(int other) {
    if (thread(other).state != State::ended) {
        me().state = State::joining;
        me().joins = other;
        hand_to(pick_next());
    }
    memory.join(me().memory, thread(other).memory);
}

void Scheduler::let_all_park() {
    me().state = State::waiting_for_all;
    hand_to(pick_next());
}

int Scheduler::find(pthread_t handle) const {
    for (int i = 0; i < count_; ++i)
        if (::pthread_equal(threads_[static_cast<std::size_t>(i)].handle, handle)) return i;
    return -1;
}

void Scheduler::trace(Kind kind, const Memory::Seen& seen, std::memory_order order, const Where& at) {
    Step& s = trace_[traced_++ % trace_length];
    s = {current_,
         kind,
         kind == Kind::begins || kind == Kind::ends || kind == Kind::fence ? -1 : seen.location,
         seen.value,
         order,
         seen.older,
         kind == Kind::compare_exchange && !seen.success,
         at};
    for (std::uint64_t part : {static_cast<std::uint64_t>(s.thread), static_cast<std::uint64_t>(s.kind),
                               static_cast<std::uint64_t>(s.location), static_cast<std::uint64_t>(s.failed)})
        hash = (hash ^ part) * 1099511628211ULL;
    if (verbose) std::fprintf(stderr, "%s\n", told(s).c_str());
}

std::string Scheduler::report(const std::string& what) const {
    std::string r = what + "\n";
    for (int i = 0; i < count_; ++i) {
        const Thread& t = threads_[static_cast<std::size_t>(i)];
        r += "  " + name(i) + (i == current_ ? " (ran last) " : " ");
        switch (t.state) {
        case State::none:
        case State::ended:
            r += "has ended";
            break;
        case State::runnable:
            r += "can run, at " + text(t.at);
            break;
        case State::sleeping:
            r += "sleeps" + std::string(t.deadline.is_forever() ? "" : " with a deadline") + ", after " + text(t.at);
            break;
        case State::joining:
            r += "joins " + name(t.joins);
            break;
        case State::waiting_for_all:
            r += "waits till all have parked";
            break;
        }
        r += '\n';
    }
    r += "the last operations:\n";
    for (std::uint64_t i = traced_ > trace_length ? traced_ - trace_length : 0; i < traced_; ++i)
        r += "  " + told(trace_[i % trace_length]) + '\n';
    return r;
}

} // namespace

bool controlled() noexcept { return is_controlled; }

void fail(const std::string& what) noexcept {
    Scheduler& s = scheduler();
    const std::string report = s.report(what);
    is_controlled = false;
    if (s.on_failure) s.on_failure(report);
    std::fputs(report.c_str(), stderr);
    std::abort();
}

void set_failure_handler(FailureHandler handler) noexcept { scheduler().on_failure = handler; }
std::string describe(const char* what) { return scheduler().report(what); }
void set_verbose(bool on) noexcept { scheduler().verbose = on; }
std::uint64_t trace_hash() noexcept { return scheduler().hash; }
void set_exit_hook(void (*run)()) noexcept { scheduler().exit_hook = run; }

std::size_t run(const std::function<void()>& scenario, Strategy& strategy) {
    return scheduler().run(scenario, strategy);
}

void expect(bool holds, const char* what, const Where& at) noexcept {
    if (!holds) fail(std::string("not so: ") + what + "   " + text(at));
}

thread::thread(std::function<void()> body) : id_(scheduler().add(std::move(body))) {}

void thread::join() noexcept {
    if (id_ < 0) return;
    scheduler().join(id_);
    id_ = -1;
}

int start_thread(pthread_t& handle, void* (*entry)(void*), void* argument) noexcept {
    const int id = scheduler().add([entry, argument] { entry(argument); });
    handle = scheduler().thread(id).handle;
    return 0;
}

void join_thread(pthread_t handle) noexcept {
    const int id = scheduler().find(handle);
    if (id < 0) fail("a join of a thread that the scenario has not started");
    scheduler().join(id);
}

void let_all_park() noexcept { scheduler().let_all_park(); }

Quiet::Quiet() noexcept {
    if (is_controlled) ++scheduler().me().quiet;
}
Quiet::~Quiet() {
    if (is_controlled) --scheduler().me().quiet;
}

std::int64_t now_ns() noexcept {
    Scheduler& s = scheduler();
    static constexpr std::int64_t jump_ns = 2'000'000;
    if (s.choose(Choice::time_jump, 2)) s.now += jump_ns;
    return s.now;
}

void pass_time(std::int64_t ns) noexcept { scheduler().now += ns; }

void fence(const Where& at) noexcept {
    if (!is_controlled) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return;
    }
    Scheduler& s = scheduler();
    s.point(at);
    s.memory.fence(s.me().memory);
    s.trace(Kind::fence, {}, std::memory_order_seq_cst, at);
}

void yield(const Where& at) noexcept {
    if (is_controlled) scheduler().yield(at);
}

namespace detail {

bool futex_wait(atomic<std::uint32_t>& word, std::uint32_t expected, Deadline deadline, const Where& at) noexcept {
    Scheduler& s = scheduler();
    Thread& me = s.me();
    s.point(me.at); // the report tells what came before: that knows the object, the futex's line does not
    const Cell cell{&word, sizeof(std::uint32_t)};
    const Memory::Seen seen = s.memory.peek(me.memory, cell, at);
    s.trace(Kind::futex_wait, seen, std::memory_order_relaxed, at);
    if (!deadline.is_forever() && s.now >= deadline.monotonic_ns()) return false;
    if (seen.value != expected || s.choose(Choice::spurious_wake, 2)) return true;
    me.word = &word;
    me.deadline = deadline;
    s.sleep(me);
    s.trace(me.by_deadline ? Kind::deadline : Kind::woken, seen, std::memory_order_relaxed, at);
    return !me.by_deadline;
}

void futex_wake(atomic<std::uint32_t>& word, int n, const Where& at) noexcept {
    Scheduler& s = scheduler();
    s.point(at);
    Memory::Seen none;
    none.location = -1; // the word may be gone
    s.trace(Kind::futex_wake, none, std::memory_order_relaxed, at);
    s.wake(&word, n);
}

std::uint64_t load(Cell cell, std::memory_order order, const Where& at) noexcept {
    Scheduler& s = scheduler();
    s.point(at);
    const auto seen = s.memory.load(s.me().memory, cell, order, s, at);
    s.trace(Kind::load, seen, order, at);
    return seen.value;
}

void store(Cell cell, std::uint64_t value, std::memory_order order, const Where& at) noexcept {
    Scheduler& s = scheduler();
    s.point(at);
    s.trace(Kind::store, s.memory.store(s.me().memory, cell, value, order, at), order, at);
}

std::uint64_t exchange(Cell cell, std::uint64_t value, std::memory_order order, const Where& at) noexcept {
    Scheduler& s = scheduler();
    s.point(at);
    const auto seen = s.memory.begin_update(s.me().memory, cell, order, at);
    s.memory.end_update(s.me().memory, cell, value, order);
    s.trace(Kind::exchange, seen, order, at);
    return seen.value;
}

bool compare_exchange(Cell cell, std::uint64_t& expected, std::uint64_t desired, bool weak, std::memory_order success,
                      std::memory_order failure, const Where& at) noexcept {
    Scheduler& s = scheduler();
    s.point(at);
    const auto seen = s.memory.compare_exchange(s.me().memory, cell, expected, desired, weak, success, failure, s, at);
    s.trace(Kind::compare_exchange, seen, seen.success ? success : failure, at);
    expected = seen.value;
    return seen.success;
}

namespace {
std::memory_order update_order; // between the halves of an update nobody else runs
} // namespace

std::uint64_t begin_update(Cell cell, std::memory_order order, const Where& at) noexcept {
    Scheduler& s = scheduler();
    s.point(at);
    const auto seen = s.memory.begin_update(s.me().memory, cell, order, at);
    s.trace(Kind::update, seen, order, at);
    update_order = order;
    return seen.value;
}

void end_update(Cell cell, std::uint64_t value) noexcept {
    Scheduler& s = scheduler();
    s.memory.end_update(s.me().memory, cell, value, update_order);
}

void plain_read(Cell cell) noexcept {
    if (!is_controlled) return;
    Scheduler& s = scheduler();
    s.memory.plain_read(s.me().memory, cell, s.me().at); // operators can't tell where they stand: near there
}

void plain_write(Cell cell) noexcept {
    if (!is_controlled) return;
    Scheduler& s = scheduler();
    s.memory.plain_write(s.me().memory, cell, s.me().at);
}

void born(Cell cell, bool is_atomic) noexcept {
    if (!is_controlled) return;
    Scheduler& s = scheduler();
    s.memory.born(s.me().memory, cell, is_atomic);
}

void died(Cell cell) noexcept {
    if (!is_controlled) return;
    Scheduler& s = scheduler();
    s.memory.died(s.me().memory, cell);
}

} // namespace detail
} // namespace sennit::model

#endif
