// A turn of the loop
//
//   t1  take the inbox                                to the end of the ready list
//   t2  nothing ready: sleep till the first timer, the kernel or the inbox; else look at both only if it is time to
//   t3  due timers                                    to the end of the ready list
//   t4  run what is ready now, and not what that makes ready
//
// Tasks that only let others have their turn (sleep(0)) hand on to each other, and from the last one to the first one of the next turn,
// as long as t1 to t3 would do nothing (begin_turn_within).
//
// Going to sleep, and being woken by another thread
//
//   loop                                              other thread
//   s1  inbox: nothing -> sleeping                    p1  inbox: its node in front; it took `sleeping` away: it owes a wake
//   s2  poller.turn(deadline)                         p2  poller.wake()
//   s3  inbox: sleeping -> nothing; if p1 was first:  p3  ++wakes_done_
//       ++wakes_owed_
//
// The loop may be awake, and even at its end, by other means between p1 and p3. So who destroys it waits until wakes_done_ has come
// up to wakes_owed_: p3 is the last touch of the loop.
#include <sennit/loop/event_loop.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/loop/helper_threads.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/callback_mark.hpp>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <map>
#include <typeinfo>
#include <vector>

namespace sennit::loop {
namespace {

// A cheap measure of time for "has it been long?": cycles of the time-stamp counter, whose rate is some GHz everywhere.
std::uint64_t ticks() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    std::uint64_t t;
    asm volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t * 64; // some 10 to 100 MHz, or 1 GHz
#else
    return static_cast<std::uint64_t>(base::monotonic_ns());
#endif
}
constexpr std::uint64_t ticks_between_looks = 1 << 15; // about 10 µs

std::string readable(const char* mangled) {
    int status = 0;
    char* const name = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    std::string text = status == 0 ? name : mangled;
    std::free(name);
    return text;
}

std::string describe(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return readable(typeid(e).name()) + ": " + e.what();
    } catch (...) {
        const std::type_info* type = abi::__cxa_current_exception_type();
        return type ? readable(type->name()) : std::string("an exception");
    }
}

// How many forks lie between this process and its first ancestor that has used a loop.
constinit atomic<std::uint64_t> forks{0};

} // namespace

// ---- callbacks

namespace detail {

Callback::Callback(EventLoop& loop) noexcept : loop_(loop) { run = run_and_release; }

void Callback::run_and_release(Ready& r) noexcept {
    auto& c = static_cast<Callback&>(r);
    c.loop().run_callback(c);
    c.release();
}

TimedCallback::TimedCallback(EventLoop& loop, std::int64_t when_ns) noexcept
    : Callback(loop), Timer(fire), when_ns_(when_ns) {}

void TimedCallback::fire(Timer& t) noexcept {
    auto& c = static_cast<TimedCallback&>(t);
    c.loop().unreserve_timer();
    c.loop().post(static_cast<Callback&>(c));
}

} // namespace detail

void Handle::cancel() noexcept {
    if (detail::Callback* c = callback_.get()) c->cancel();
}

void TimerHandle::cancel() noexcept {
    detail::TimedCallback* const c = callback_.get();
    if (!c) return;
    c->cancel();
    // On a loop that does not run here now the timer comes, and nothing happens.
    if (EventLoop::running_or_null() == &c->loop()) c->loop().stop_timed(*c);
}

void EventLoop::start_timed(detail::TimedCallback& c) {
    try {
        reserve_timer();
    } catch (...) {
        c.release();
        throw;
    }
    arm(c, Deadline::at_monotonic_ns(c.when_ns()));
}

void EventLoop::stop_timed(detail::TimedCallback& c) noexcept {
    if (!c.armed()) return;
    disarm(c);
    unreserve_timer();
    c.release();
}

void EventLoop::run_callback(detail::Callback& c) noexcept {
    if (c.cancelled()) return;
    const std::int64_t start = debug_ ? base::monotonic_ns() : 0;
    try {
        if (start != 0) [[unlikely]] {
            const std::string name = readable(c.type().name());
            const wait::CallbackMark mark(name.c_str()); // blocking calls in it are told
            c.call();
        } else {
            c.call();
        }
    } catch (...) {
        ExceptionContext context;
        try {
            context.message = "a callback of the event loop threw";
            context.source = "callback " + readable(c.type().name());
        } catch (...) {}
        context.exception = std::current_exception();
        call_exception_handler(context);
    }
    if (start != 0) [[unlikely]]
        ran_since(start, "callback", c.type().name());
}

void EventLoop::ran_since(std::int64_t start_ns, const char* kind, std::string_view name) noexcept {
    const std::int64_t took = base::monotonic_ns() - start_ns;
    if (took < slow_callback_duration.count()) return;
    try {
        const std::string text = "sennit: warning: " + std::string(kind) + ' ' + readable(std::string(name).c_str()) +
                                 " kept its event loop for " + std::to_string(took / 1'000'000) + '.' +
                                 std::to_string(took / 100'000 % 10) + " ms\n";
        std::fwrite(text.data(), 1, text.size(), stderr);
    } catch (...) {}
}

// ---- descriptors

namespace detail {

/// Watches one direction of one descriptor.
///
///   its operation in flight --done()--> on the ready list --run()--> its operation in flight …
///
/// It is always in one of the two, so who removes it marks it, and the next of them deletes it.
class Watcher final : public Ready, public Operation {
  public:
    Watcher(EventLoop& loop, int fd, OperationKind kind, Callback& callback) noexcept
        : Operation(kind, fd, on_done), loop_(loop), callback_(&callback) {
        run = on_run;
        loop_.start(*this);
    }
    ~Watcher() { callback_->release(); }
    void replace(Callback& callback) noexcept {
        callback_->release();
        callback_ = &callback;
    }
    void remove() noexcept {
        removed_ = true;
        if (in_flight()) loop_.cancel(*this);
    }

  private:
    static void on_done(Operation& op) noexcept {
        auto& self = static_cast<Watcher&>(op);
        if (self.removed_)
            delete &self;
        else
            self.loop_.post(self);
    }
    static void on_run(Ready& r) noexcept {
        auto& self = static_cast<Watcher&>(r);
        if (!self.removed_) {
            Callback& callback = *self.callback_; // it may be replaced while it runs
            callback.retain();
            Callback::run_and_release(callback);
        }
        if (self.removed_)
            delete &self;
        else
            self.loop_.start(self);
    }
    EventLoop& loop_;
    Callback* callback_;
    bool removed_ = false;
};

} // namespace detail

struct EventLoop::Watchers {
    std::map<std::pair<int, OperationKind>, detail::Watcher*> all;
};

void EventLoop::watch(int fd, OperationKind kind, detail::Callback& callback) {
    try {
        check_open();
        check_thread(kind == OperationKind::poll_in ? "add_reader" : "add_writer");
        if (!watchers_) watchers_ = std::make_unique<Watchers>();
        detail::Watcher*& slot = watchers_->all[{fd, kind}];
        if (slot)
            slot->replace(callback);
        else
            slot = new detail::Watcher(*this, fd, kind, callback);
    } catch (...) {
        if (watchers_) std::erase_if(watchers_->all, [](const auto& w) { return !w.second; });
        callback.release();
        throw;
    }
}

bool EventLoop::unwatch(int fd, OperationKind kind) noexcept {
    if (!watchers_) return false;
    const auto found = watchers_->all.find({fd, kind});
    if (found == watchers_->all.end()) return false;
    found->second->remove();
    watchers_->all.erase(found);
    return true;
}

// ---- signals

namespace {

constexpr int signal_count = 65;
// Whose loop a signal goes to. seq_cst, with `in_handlers`: who takes the loop out and then sees no handler running knows that
// none will use it.
constinit atomic<EventLoop*> signal_loops[signal_count]{};
constinit atomic<int> in_handlers{0};

} // namespace

/// The signals of one loop.
struct EventLoop::Signals final : Ready {
    struct One {
        detail::Callback* callback = nullptr;
        std::unique_ptr<os::CaughtSignal> caught;
    };
    explicit Signals(EventLoop& loop) noexcept : loop(loop) { run = on_run; }
    // In a signal handler, on any thread.
    static void on_signal(int signal) noexcept {
        const int saved = errno;
        in_handlers.fetch_add(1, memory_order_seq_cst);
        if (EventLoop* l = signal_loops[signal].load(memory_order_seq_cst)) {
            Signals& self = *l->signals_;
            self.pending.fetch_or(bit(signal), memory_order_relaxed); // ordered by `posted`
            // acq_rel: meets on_run(): either it sees the bit, or this sees that it must post again.
            if (!self.posted.exchange(true, memory_order_acq_rel)) l->post_threadsafe(self);
        }
        in_handlers.fetch_sub(1, memory_order_release);
        errno = saved;
    }
    static void on_run(Ready& r) noexcept {
        auto& self = static_cast<Signals&>(r);
        self.posted.exchange(false, memory_order_acq_rel); // meets on_signal()
        const std::uint64_t came = self.pending.exchange(0, memory_order_relaxed);
        for (int s = 1; s < signal_count; ++s)
            if ((came & bit(s)) && self.all[s].callback) {
                detail::Callback& callback = *self.all[s].callback; // it may remove itself
                callback.retain();
                self.loop.run_callback(callback);
                callback.release();
            }
    }
    static std::uint64_t bit(int signal) noexcept { return std::uint64_t(1) << (signal - 1); }

    EventLoop& loop;
    atomic<std::uint64_t> pending{0};
    atomic<bool> posted{false};
    One all[signal_count];
};

void EventLoop::watch_signal(int signal, bool once, detail::Callback& callback) {
    struct Drop {
        detail::Callback* c;
        ~Drop() {
            if (c) c->release();
        }
    } drop{&callback};
    check_open();
    check_thread("add_signal_handler");
    if (signal < 1 || signal >= signal_count)
        throw UsageError("add_signal_handler: there is no signal " + std::to_string(signal));
    if (!signals_) signals_ = std::make_unique<Signals>(*this);
    Signals::One& one = signals_->all[signal];
    if (one.callback) {
        std::swap(one.callback, drop.c);
        return;
    }
    EventLoop* nobody = nullptr;
    if (!signal_loops[signal].compare_exchange_strong(nobody, this, memory_order_seq_cst, memory_order_seq_cst))
        throw UsageError("add_signal_handler: another event loop has a handler for signal " + std::to_string(signal) +
                         "; remove that one first");
    try {
        one.caught = std::make_unique<os::CaughtSignal>(signal, Signals::on_signal, once);
    } catch (...) {
        signal_loops[signal].store(nullptr, memory_order_seq_cst);
        throw;
    }
    one.callback = std::exchange(drop.c, nullptr);
}

bool EventLoop::remove_signal_handler(int signal) noexcept {
    if (!signals_ || signal < 1 || signal >= signal_count || !signals_->all[signal].callback) return false;
    Signals::One& one = signals_->all[signal];
    one.caught.reset();
    signal_loops[signal].store(nullptr, memory_order_seq_cst);
    // acquire: meets on_signal(): a handler on another thread has done with this loop.
    while (in_handlers.load(memory_order_acquire) != 0) os::yield_core();
    std::exchange(one.callback, nullptr)->release();
    return true;
}

// ---- life

EventLoop::EventLoop() : EventLoop(make_poller()) {}

EventLoop::EventLoop(std::unique_ptr<Poller> poller) : poller_(std::move(poller)), number_(take_number(*this)) {
    [[maybe_unused]] static const int handled = os::after_fork_in_child(forget_in_child);
    forks_ = forks.load(memory_order_relaxed);
    const char* debug = std::getenv("SENNIT_ASYNCIO_DEBUG");
    debug_ = debug && *debug && *debug != '0';
    if (const char* seed = std::getenv("SENNIT_SHUFFLE"); seed && *seed)
        shuffle_ready(std::strtoull(seed, nullptr, 10));
}

namespace {

// Which numbers of loops are taken. A number names a loop in two bytes.
constexpr std::size_t most_loops = 65536;
constinit os::Mutex numbers_mutex;
constinit std::uint64_t numbers[most_loops / 64] SENNIT_GUARDED_BY(numbers_mutex){};
constinit std::size_t numbers_from SENNIT_GUARDED_BY(numbers_mutex) = 0; // none is free before this word

} // namespace

// Each entry is written before its loop is known to anybody, and read by who knows the loop.
constinit EventLoop* EventLoop::by_number_[most_loops]{};

std::uint16_t EventLoop::take_number(EventLoop& loop) {
    os::MutexGuard guard(numbers_mutex);
    while (numbers_from < std::size(numbers) && numbers[numbers_from] == UINT64_MAX) ++numbers_from;
    if (numbers_from == std::size(numbers))
        throw UsageError("there are 65,536 event loops, which is the most; close and destroy some");
    const int bit = std::countr_one(numbers[numbers_from]);
    numbers[numbers_from] |= std::uint64_t(1) << bit;
    const auto number = static_cast<std::uint16_t>(numbers_from * 64 + static_cast<std::size_t>(bit));
    by_number_[number] = &loop;
    return number;
}

void EventLoop::give_number_back() noexcept {
    os::MutexGuard guard(numbers_mutex);
    numbers[number_ / 64] &= ~(std::uint64_t(1) << number_ % 64);
    if (number_ / 64U < numbers_from) numbers_from = number_ / 64U;
}

EventLoop::~EventLoop() {
    const struct GiveBack {
        EventLoop& loop;
        ~GiveBack() { loop.give_number_back(); }
    } last{*this};
    if (!is_running()) {
        try {
            close();
        } catch (const std::exception& e) {
            std::fprintf(stderr, "sennit: closing an event loop: %s\n", e.what());
        }
        drop_late_callbacks(); // whose callers looked before close() did
    } else {
        std::fputs("sennit: an event loop is destroyed while it runs; stop() it and let run_forever() return first\n",
                   stderr);
        std::abort();
    }
}

void EventLoop::forget_in_child() noexcept {
    running_ = nullptr;
    forks.fetch_add(1, memory_order_relaxed); // one thread
    for (auto& l : signal_loops) l.store(nullptr, memory_order_relaxed);
    in_handlers.store(0, memory_order_relaxed);
}

void EventLoop::close() {
    if (is_running() && running_ == this) throw UsageError("EventLoop.close: the loop runs; stop() it first");
    if (is_closed()) return;
    if (forks_ != forks.load(memory_order_relaxed)) {
        // The parent's, in a child of fork(): its poller is shared with the parent, and must not be touched.
        closed_.store(true, memory_order_relaxed);
        static_cast<void>(poller_.release());
        static_cast<void>(own_executor_.release()); // whose threads are not here
        return;
    }
    if (end_tasks_) end_tasks_(*this);
    while (base::ListNode* r = resources_.pop_front()) static_cast<Resource*>(r)->loop_closes();
    closed_.store(true, memory_order_relaxed);
    if (signals_)
        for (int s = 1; s < signal_count; ++s) remove_signal_handler(s);
    if (watchers_) {
        for (auto& w : watchers_->all) w.second->remove();
        watchers_->all.clear();
    }
    // What was cancelled ends; what that makes ready is run, but callbacks are not.
    while (poller_->in_flight() > 0) poller_->turn(Deadline::poll());
    inbox_.take(ready_);
    while (Ready* r = ready_.pop_front()) {
        if (r->run == detail::Callback::run_and_release)
            static_cast<detail::Callback*>(r)->release();
        else
            r->run(*r);
        inbox_.take(ready_);
    }
    std::vector<detail::TimedCallback*> timed;
    timers_.for_each([&](TimedReady& t) {
        if (t.run != Timer::on_run) return; // a task's
        auto& timer = static_cast<Timer&>(t);
        if (timer.fire_ == detail::TimedCallback::fire) timed.push_back(static_cast<detail::TimedCallback*>(&timer));
    });
    for (auto* t : timed) stop_timed(*t);
    own_executor_.reset(); // waits for what runs there, which may still put something in
    drop_late_callbacks();
    // acquire: meets wake_sleeper(): its last touch of the loop is over.
    while (wakes_done_.load(memory_order_acquire) != wakes_owed_) os::yield_core();
}

void EventLoop::drop_late_callbacks() noexcept {
    inbox_.take(ready_);
    while (Ready* r = ready_.pop_front())
        if (r->run == detail::Callback::run_and_release) static_cast<detail::Callback*>(r)->release();
}

void EventLoop::throw_closed() { throw UsageError("the event loop is closed; make a new one"); }

void EventLoop::throw_none_runs() {
    throw UsageError(
        "no event loop runs on this thread; call this from a coroutine or callback of a loop, or start one with "
        "asyncio::run(coroutine)");
}

void EventLoop::check_thread_slow(const char* call) const {
    if (is_running() && running_ != this)
        throw UsageError(std::string("EventLoop.") + call +
                         " was called from another thread than the loop's; use call_soon_threadsafe there");
}

EventLoop::Running::Running(EventLoop& loop) : loop_(loop) {
    loop.check_open();
    if (loop.forks_ != forks.load(memory_order_relaxed))
        throw UsageError("this event loop belongs to the parent process; in the child of a fork() make a new one");
    if (running_ == &loop || loop.is_running()) throw UsageError("this event loop runs already");
    if (running_)
        throw UsageError(
            "another event loop runs on this thread already; co_await there, or run this loop on a thread of its own");
    loop.poller_->attach();
    running_ = &loop;
    loop.is_running_.store(true, memory_order_relaxed);
}

EventLoop::Running::~Running() {
    running_ = nullptr;
    loop_.is_running_.store(false, memory_order_relaxed);
}

void EventLoop::run_forever() {
    const Running runs(*this);
    do {
        turn(true);
    } while (!take_stop());
}

void EventLoop::stop() noexcept {
    stopping_.store(true, memory_order_relaxed);
    if (running_ != this) poller_->wake();
}

std::chrono::steady_clock::time_point EventLoop::time() noexcept {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(base::monotonic_ns()));
}

sync::Executor& EventLoop::default_executor() {
    if (default_executor_) return *default_executor_;
    check_open();
    if (!own_executor_) own_executor_ = std::make_unique<HelperThreads>();
    return *own_executor_;
}

// ---- a turn

void EventLoop::arm(TimedReady& t, Deadline deadline) {
    if (deadline.is_forever()) return;
    timers_.arm(t, deadline.monotonic_ns());
    if (deadline.monotonic_ns() <= now_ns_) look_next_turn_ = true;
}

bool EventLoop::time_to_look() noexcept {
    if (look_next_turn_) return true;
    if (timers_.empty() && poller_->in_flight() == 0) return false;
    return ticks() - looked_at_ticks_ > ticks_between_looks || base::clock_is_for_test();
}

void EventLoop::turn(bool may_wait) {
    inbox_.take(ready_);
    if (ready_.empty())
        look(may_wait && !stopping_.load(memory_order_relaxed));
    else if (time_to_look())
        look(false);
    ReadyList batch;
    batch.splice_back(ready_);
    if (shuffle_) [[unlikely]]
        run_shuffled(batch);
    else
        run_batch(batch);
}

void EventLoop::run_batch(ReadyList& batch) noexcept {
    batch_ = debug_ ? nullptr : &batch; // in debug mode each is timed by itself
    batch_stack_ = static_cast<const char*>(__builtin_frame_address(0));
    first_of_turn_ = true;
    while (Ready* r = batch.pop_front()) {
        goes_on_left_ = goes_on_at_most;
        r->run(*r);
        first_of_turn_ = false;
    }
    batch_ = nullptr;
}

void EventLoop::shuffle_ready(std::optional<std::uint64_t> seed) {
    shuffle_ = seed;
    if (seed)
        std::fprintf(stderr, "sennit: the ready list is shuffled, SENNIT_SHUFFLE=%llu\n",
                     static_cast<unsigned long long>(*seed));
}

void EventLoop::run_shuffled(ReadyList& batch) noexcept {
    std::vector<Ready*> all;
    try {
        while (Ready* r = batch.pop_front()) {
            all.push_back(nullptr); // before it is out of the list
            all.back() = r;
        }
    } catch (const std::bad_alloc&) {}
    for (std::size_t i = all.size(); i > 1; --i) {
        std::uint64_t& x = *shuffle_; // splitmix64
        std::uint64_t z = (x += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        std::swap(all[i - 1], all[(z ^ (z >> 31)) % i]);
    }
    for (Ready* r : all)
        if (r) {
            goes_on_left_ = goes_on_at_most;
            r->run(*r);
        }
    run_batch(batch);
}

void EventLoop::look(bool wait) noexcept {
    look_next_turn_ = false;
    const std::int64_t first = timers_.first_ns();
    now_ns_ = base::monotonic_ns();
    if (wait && first > now_ns_)
        sleep(Deadline::at_monotonic_ns(first));
    else if (poller_->in_flight() > 0)
        poller_->turn(Deadline::poll());
    if (!timers_.empty()) {
        now_ns_ = base::monotonic_ns();
        while (TimedReady* t = timers_.pop_due(now_ns_)) t->fire();
    }
    inbox_.take(ready_);
    looked_at_ticks_ = ticks();
}

/// A thread that sleeps in its loop, for the list of agents.
struct EventLoop::SleepWait final : wait::Wait {
    static const wait::WaitSite run_site;
    SleepWait(EventLoop& loop, Deadline deadline) noexcept : Wait(&loop, run_site), loop(loop), until(deadline) {
        interruptible_ = false;
    }
    bool step() noexcept override { return true; }
    EventLoop& loop;
    Deadline until;
};
constexpr wait::WaitSite EventLoop::SleepWait::run_site{"EventLoop", "run_forever", nullptr};

void EventLoop::sleep(Deadline deadline) noexcept {
    if (!inbox_.begin_sleep()) { // s1
        if (poller_->in_flight() > 0) poller_->turn(Deadline::poll());
        return;
    }
    SleepWait w(*this, deadline);
    wait::current_thread_agent().wait_outside(w, [](wait::Wait& it) noexcept {
        auto& self = static_cast<SleepWait&>(it);
        self.loop.poller_->turn(self.until); // s2
    });
    if (inbox_.end_sleep()) ++wakes_owed_; // s3
}

void EventLoop::wake_sleeper() noexcept {
    poller_->wake();
    // release: meets close().
    wakes_done_.fetch_add(1, memory_order_release);
}

// ---- errors

void EventLoop::call_exception_handler(const ExceptionContext& context) noexcept {
    if (!exception_handler_) {
        default_exception_handler(context);
        return;
    }
    try {
        const ExceptionHandler handler = exception_handler_; // it may set another one
        handler(*this, context);
    } catch (...) {
        default_exception_handler(context);
        try {
            ExceptionContext own;
            own.message = "the exception handler of the event loop threw";
            own.exception = std::current_exception();
            default_exception_handler(own);
        } catch (...) {}
    }
}

void EventLoop::tell_handler_of(const EventLoop* loop, const ExceptionContext& context) noexcept {
    if (loop && running_ == loop)
        running_->call_exception_handler(context);
    else
        default_exception_handler(context);
}

void EventLoop::default_exception_handler(const ExceptionContext& context) noexcept {
    try {
        std::string text = "sennit: " + context.message;
        if (!context.source.empty()) text += " (" + context.source + ')';
        if (context.exception) text += ": " + describe(context.exception);
        text += '\n';
        std::fwrite(text.data(), 1, text.size(), stderr);
    } catch (...) {
        std::fputs("sennit: an error in an event loop, and no memory left to tell it\n", stderr);
    }
}

} // namespace sennit::loop
