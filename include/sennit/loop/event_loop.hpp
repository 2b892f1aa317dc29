#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/loop/handle.hpp>
#include <sennit/loop/poller.hpp>
#include <sennit/loop/ready.hpp>
#include <sennit/loop/resource.hpp>
#include <sennit/loop/timer.hpp>
#include <sennit/wait/registry.hpp>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace sennit::sync {
class Executor;
}

namespace sennit::loop {

class EventLoop;

/// Something that went wrong where nobody could be told.      Python: the context of loop.call_exception_handler
struct ExceptionContext {
    std::string message;                    // a sentence: what went wrong
    std::exception_ptr exception = nullptr; // may be none
    std::string source = {};                // the task or the callback it came from; may be empty
};

/// Runs callbacks, timers, coroutines and input and output on one thread, one at a time.         Python: asyncio's event loop
///
///     asyncio::run(main());                                    // what one mostly writes; it makes a loop by itself
///
///     EventLoop loop;
///     loop.call_later(1s, [&] { loop.stop(); });
///     loop.run_forever();
///
/// A turn of the loop takes what other threads have put in, looks at timers and the kernel, and runs what was ready when it began,
/// in the order in which it became so. What is put on the ready list during a turn comes in the next one.
///
/// Agents    The thread that runs it (before and after that: one thread at a time). From any thread: call_soon_threadsafe(),
///           post_threadsafe(), stop(), is_running(). From a signal handler: post_threadsafe().
/// Blocks    run_forever(), in which the thread shows in the list of agents as waiting in EventLoop.run_forever.
/// Order     What a thread did before call_soon_threadsafe() is visible to the callback.
/// Fairness  First come, first served. While callbacks are ready all the time, timers and the kernel are looked at whenever some
///           microseconds have gone by, at the end of a turn: not later than the callbacks of one turn take.
/// Lifetime  Dies not running. After fork() the child makes a new one: this one is the parent's.
/// Cost      A turn of nothing but ready nodes makes no system call and reads no clock.
/// Source    Python 3.13.
class EventLoop {
  public:
    /// With the best poller there is (make_poller()). Throws OSError when the kernel refuses.
    EventLoop();
    explicit EventLoop(std::unique_ptr<Poller> poller);
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    // ---- running
    /// Runs until stop(). Throws UsageError when this loop or another one runs on this thread already, or it is closed.
    void run_forever();
    /// run_forever() ends after the present turn. Called before it: it makes one turn.
    void stop() noexcept;
    [[nodiscard]] bool is_running() const noexcept { return is_running_.load(memory_order_relaxed); }
    [[nodiscard]] bool is_closed() const noexcept { return closed_.load(memory_order_relaxed); }
    /// Drops what is left: callbacks that have not run are not run. Tasks that have not ended are cancelled and run to their end.
    /// Twice is as once. Throws UsageError when it runs.
    void close();
    /// Runs until a coroutine or task is done and gives its result. Defined in <sennit/asyncio.hpp>.
    template <class Awaited>
    decltype(auto) run_until_complete(Awaited&& awaited) {
        return asyncio_run_until_complete(*this, std::forward<Awaited>(awaited));
    }
    /// The loop that runs on this thread. Throws UsageError when none does.
    static EventLoop& running() {
        if (EventLoop* l = running_) [[likely]]
            return *l;
        throw_none_runs();
    }
    static EventLoop* running_or_null() noexcept { return running_; }

    // ---- callbacks
    /// f(args...) in the next turn; copies or moves both in. What it throws goes to the exception handler.
    template <class F, class... Args>
    Handle call_soon(F&& f, Args&&... args) {
        check_open();
        check_thread("call_soon");
        auto* c =
            detail::make_callback<detail::Callback>(*this, nullptr, std::forward<F>(f), std::forward<Args>(args)...);
        Handle handle(*c);
        post(*c);
        return handle;
    }
    /// The same from any thread, as long as the loop lives. One wake-up of the kernel's if the loop sleeps, none if it runs. Throws
    /// UsageError once it is closed; f is dropped when that happens at the same time.
    template <class F, class... Args>
    Handle call_soon_threadsafe(F&& f, Args&&... args) {
        check_open();
        auto* c =
            detail::make_callback<detail::Callback>(*this, nullptr, std::forward<F>(f), std::forward<Args>(args)...);
        Handle handle(*c);
        post_threadsafe(*c);
        return handle;
    }
    /// f(args...) at the given time; at once (in the next turn) if that has passed. Equal times in the order of the calls.
    template <class Rep, class Period, class F, class... Args>
    TimerHandle call_later(std::chrono::duration<Rep, Period> delay, F&& f, Args&&... args) {
        return call_when(Deadline(delay), std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class Duration, class F, class... Args>
    TimerHandle call_at(std::chrono::time_point<std::chrono::steady_clock, Duration> when, F&& f, Args&&... args) {
        return call_when(Deadline(when), std::forward<F>(f), std::forward<Args>(args)...);
    }
    /// The loop's clock: CLOCK_MONOTONIC.
    [[nodiscard]] static std::chrono::steady_clock::time_point time() noexcept;

    // ---- descriptors and signals
    /// Calls f(args...) whenever reading from `fd` would not wait, as long as that is so; in place of what was set before.
    template <class F, class... Args>
    void add_reader(int fd, F&& f, Args&&... args) {
        watch(
            fd, OperationKind::poll_in,
            *detail::make_callback<detail::Callback>(*this, nullptr, std::forward<F>(f), std::forward<Args>(args)...));
    }
    template <class F, class... Args>
    void add_writer(int fd, F&& f, Args&&... args) {
        watch(
            fd, OperationKind::poll_out,
            *detail::make_callback<detail::Callback>(*this, nullptr, std::forward<F>(f), std::forward<Args>(args)...));
    }
    /// Before `fd` is closed. False when there was none.
    bool remove_reader(int fd) noexcept { return unwatch(fd, OperationKind::poll_in); }
    bool remove_writer(int fd) noexcept { return unwatch(fd, OperationKind::poll_out); }

    /// Calls f(args...) on the loop when the signal has come: at least once for all that come before it is called, never while it
    /// runs. Throws UsageError when another loop has the signal, OSError for one that can't be caught.
    template <class F, class... Args>
    void add_signal_handler(int signal, F&& f, Args&&... args) {
        watch_signal(
            signal, false,
            *detail::make_callback<detail::Callback>(*this, nullptr, std::forward<F>(f), std::forward<Args>(args)...));
    }
    /// The same for the first signal; the next one does what it does by default.
    template <class F, class... Args>
    void add_signal_handler_once(int signal, F&& f, Args&&... args) {
        watch_signal(
            signal, true,
            *detail::make_callback<detail::Callback>(*this, nullptr, std::forward<F>(f), std::forward<Args>(args)...));
    }
    /// What the signal did before is so again. False when there was no handler.
    bool remove_signal_handler(int signal) noexcept;

    // ---- other threads
    /// f(args...) on an executor, of threads or of processes, or on the default one: helper threads of the loop's own. Awaitable; what f
    /// throws is in it. Needs the executor's header, <sennit/sync/executor.hpp> for the default one.
    template <class E, class F, class... Args>
    auto run_in_executor(E& executor, F&& f, Args&&... args) {
        return executor.submit(std::forward<F>(f), std::forward<Args>(args)...);
    }
    template <class F, class... Args>
    auto run_in_executor(std::nullptr_t, F&& f, Args&&... args) {
        return executor_of<F>(default_executor()).submit(std::forward<F>(f), std::forward<Args>(args)...);
    }
    /// It outlives the loop.
    void set_default_executor(sync::Executor& executor) noexcept { default_executor_ = &executor; }
    sync::Executor& default_executor();

    // ---- errors and debugging
    using ExceptionHandler = std::function<void(EventLoop&, const ExceptionContext&)>;
    /// nullptr: default_exception_handler().
    void set_exception_handler(ExceptionHandler handler) { exception_handler_ = std::move(handler); }
    [[nodiscard]] const ExceptionHandler& get_exception_handler() const noexcept { return exception_handler_; }
    /// Tells the handler. If that throws, the default one is told of both.
    void call_exception_handler(const ExceptionContext& context) noexcept;
    /// The same for a loop that may have gone, from any thread. Then stderr is told.
    static void tell_handler_of(const EventLoop* loop, const ExceptionContext& context) noexcept;
    /// Prints it to stderr.
    static void default_exception_handler(const ExceptionContext& context) noexcept;

    /// Debug mode: what takes longer than slow_callback_duration is named on stderr; calls from a wrong thread throw
    /// UsageError. On from the beginning with SENNIT_ASYNCIO_DEBUG=1 in the environment.
    void set_debug(bool on) noexcept { debug_ = on; }
    [[nodiscard]] bool get_debug() const noexcept { return debug_; }
    std::chrono::nanoseconds slow_callback_duration = std::chrono::milliseconds(100);
    /// From now on what is ready in one turn runs in an order by `seed`: finds what relies on the order. nullopt: first in,
    /// first out again. From the beginning with SENNIT_SHUFFLE=SEED in the environment.
    void shuffle_ready(std::optional<std::uint64_t> seed);

    // ---- for who is part of the loop: tasks, streams
    /// At the end of the ready list. On the loop's thread.
    void post(Ready& r) noexcept { ready_.push_back(r); }
    /// From any thread, and from signal handlers: lock-free, and one wake() of the poller if the loop sleeps.
    void post_threadsafe(Ready& r) noexcept {
        if (inbox_.put(r)) wake_sleeper();
    }
    /// The one of both that is right here.
    void post_from_anywhere(Ready& r) noexcept { running_ == this ? post(r) : post_threadsafe(r); }
    /// Throws std::bad_alloc, unless reserve_timer() has been called for it. A deadline of forever arms nothing.
    void arm(TimedReady& t, Deadline deadline);
    void disarm(TimedReady& t) noexcept { timers_.disarm(t); }
    /// Room for one timer more, until it is given back: arming it can't fail then. Throws std::bad_alloc.
    void reserve_timer() {
        timers_.reserve(reserved_timers_ + 1);
        ++reserved_timers_;
    }
    void unreserve_timer() noexcept { --reserved_timers_; }
    void start(Operation& op) noexcept { poller_->start(op); }
    void cancel(Operation& op) noexcept { poller_->cancel(op); }
    [[nodiscard]] Poller& poller() noexcept { return *poller_; }
    /// Whether what runs now may do one thing more that need not wait, before others have their turn.
    bool may_go_on() noexcept { return goes_on_left_ > 0 && goes_on_left_-- > 0; }
    /// When the clock was read last, in this turn or one shortly before (CLOCK_MONOTONIC).
    [[nodiscard]] std::int64_t now_ns() const noexcept { return now_ns_; }
    /// Reports what ran from `start_ns` on, if that was too long. In debug mode.
    void ran_since(std::int64_t start_ns, const char* kind, std::string_view name) noexcept;
    /// It is told when the loop closes, and is out of the list then.
    void add_resource(Resource& r) noexcept { resources_.push_back(r); }
    static void remove_resource(Resource& r) noexcept {
        if (r.linked()) base::IntrusiveList::remove(r);
    }
    /// A number that no other loop has at the same time, and whose it is.
    [[nodiscard]] std::uint16_t number() const noexcept { return number_; }
    static EventLoop& with_number(std::uint16_t number) noexcept { return *by_number_[number]; }
    /// Those that run on this loop.
    [[nodiscard]] wait::AgentList& agents() noexcept { return agents_; }
    /// The task that runs now, by the loop. For other threads: one that has begun to wait and is not this any more stands still.
    void set_stepping(const void* task) noexcept {
        stepping_.store(task, memory_order_release); // meets is_stepping()
    }
    [[nodiscard]] bool is_stepping(const void* task) const noexcept {
        return stepping_.load(memory_order_acquire) == task; // meets set_stepping(): what it did before it stood still
    }
    /// post(), for who can go on by itself with what is to be run next: that, or nullptr: nothing, or he must come back, be it because the
    /// stack has grown since the turn began.
    [[nodiscard]] Ready* post_and_next(Ready& me) noexcept {
        if (!batch_ || batch_stack_ - static_cast<const char*>(__builtin_frame_address(0)) > most_stack) {
            post(me);
            return nullptr;
        }
        post(me);
        if (batch_->empty()) begin_turn_within();
        return batch_->front();
    }
    /// Takes that off: it is run by the caller.
    void take_next_of_turn() noexcept {
        batch_->pop_front();
        goes_on_left_ = goes_on_at_most;
    }
    /// While it lives nobody takes the turn's next: for who runs a task in the middle of something else.
    class TurnHidden {
      public:
        explicit TurnHidden(EventLoop& loop) noexcept : loop_(loop), batch_(std::exchange(loop.batch_, nullptr)) {}
        ~TurnHidden() { loop_.batch_ = batch_; }
        TurnHidden(const TurnHidden&) = delete;
        TurnHidden& operator=(const TurnHidden&) = delete;

      private:
        EventLoop& loop_;
        ReadyList* batch_;
    };
    /// asyncio's: ends the tasks that are left, at close().
    void set_closer(void (*end_tasks)(EventLoop&)) noexcept { end_tasks_ = end_tasks; }
    /// One turn. For who runs the loop until something; waits only if `may_wait`.
    void turn(bool may_wait);
    /// While it lives the loop runs on this thread.
    class Running {
      public:
        explicit Running(EventLoop& loop);
        ~Running();
        Running(const Running&) = delete;
        Running& operator=(const Running&) = delete;

      private:
        EventLoop& loop_;
    };
    /// True once after stop().
    bool take_stop() noexcept {
        // First a look, which is not a locked instruction in each turn.
        return stopping_.load(memory_order_relaxed) && stopping_.exchange(false, memory_order_relaxed);
    }

  private:
    friend class detail::Callback;
    friend class detail::TimedCallback;
    friend class TimerHandle;
    struct SleepWait;
    struct Watchers;
    struct Signals;

    template <class F, class... Args>
    TimerHandle call_when(Deadline when, F&& f, Args&&... args) {
        check_open();
        check_thread("call_later");
        auto* c = detail::make_callback<detail::TimedCallback>(*this, when.monotonic_ns(), std::forward<F>(f),
                                                               std::forward<Args>(args)...);
        TimerHandle handle(*c);
        start_timed(*c);
        return handle;
    }
    template <class, class E>
    static E& executor_of(E& executor) { // its type may be incomplete here, not where it is used
        return executor;
    }
    void start_timed(detail::TimedCallback& c);
    void stop_timed(detail::TimedCallback& c) noexcept;
    void run_callback(detail::Callback& c) noexcept;
    void check_open() const {
        if (is_closed()) [[unlikely]]
            throw_closed();
    }
    void check_thread(const char* call) const {
        if (debug_) [[unlikely]]
            check_thread_slow(call);
    }
    void check_thread_slow(const char* call) const;
    [[noreturn]] static void throw_closed();
    [[noreturn]] static void throw_none_runs();
    void watch(int fd, OperationKind kind, detail::Callback& callback);
    bool unwatch(int fd, OperationKind kind) noexcept;
    void watch_signal(int signal, bool once, detail::Callback& callback);
    void wake_sleeper() noexcept;
    void look(bool wait) noexcept;
    void sleep(Deadline deadline) noexcept;
    void run_batch(ReadyList& batch) noexcept;
    void run_shuffled(ReadyList& batch) noexcept;
    [[nodiscard]] bool time_to_look() noexcept;
    // Where the turn that runs now has nothing left, and nothing has gone back to who runs the loop, who might end it: the next turn
    // begins, if there is nothing to do between the two.
    void begin_turn_within() noexcept {
        if (!first_of_turn_ || stopping_.load(memory_order_relaxed) || !inbox_.empty()) return;
        if (look_next_turn_ || ((!timers_.empty() || poller_->in_flight() > 0) && time_to_look())) return;
        batch_->splice_back(ready_);
    }
    void drop_late_callbacks() noexcept;
    static void forget_in_child() noexcept;
    static std::uint16_t take_number(EventLoop& loop);
    void give_number_back() noexcept;

    static EventLoop* by_number_[65536]; // half a megabyte, of which the pages that are used take memory
    static inline constinit thread_local EventLoop* running_ = nullptr;
    static constexpr std::uint32_t goes_on_at_most = 32;
    static constexpr std::ptrdiff_t most_stack = 16384;

    ReadyList ready_;
    ReadyList* batch_ = nullptr;        // what the turn has still to run
    const char* batch_stack_ = nullptr; // where the stack stood when it began
    base::IntrusiveList resources_;
    std::unique_ptr<Poller> poller_;
    const std::uint16_t number_;
    TimerHeap timers_;
    std::size_t reserved_timers_ = 0;
    std::int64_t now_ns_ = 0;
    std::uint64_t looked_at_ticks_ = 0;
    std::uint32_t goes_on_left_ = goes_on_at_most;
    bool look_next_turn_ = false; // a timer was armed that is due
    bool first_of_turn_ = false;  // what was run first in this turn has not come back yet
    bool debug_ = false;
    atomic<bool> closed_{false}; // relaxed: who puts something in at the same time is too late, which the inbox bears
    atomic<const void*> stepping_{nullptr};
    atomic<bool> is_running_{false}; // relaxed: a hint to other threads
    atomic<bool> stopping_{false};   // relaxed: stop() wakes by the poller, which orders it
    sync::Executor* default_executor_ = nullptr;
    std::unique_ptr<sync::Executor> own_executor_;
    ExceptionHandler exception_handler_;
    std::unique_ptr<Watchers> watchers_;
    std::unique_ptr<Signals> signals_;
    std::optional<std::uint64_t> shuffle_;
    void (*end_tasks_)(EventLoop&) = nullptr;
    wait::AgentList agents_;
    std::uint64_t forks_ = 0; // how many forks the process had seen when it was made

    // Other threads' part, on a line of its own.
    alignas(64) Inbox inbox_;
    atomic<std::uint64_t> wakes_done_{0};
    std::uint64_t wakes_owed_ = 0; // the loop's own
};

} // namespace sennit::loop
