// Tasks: coroutines that run by themselves on an event loop.
//
// How to build on it (gather, TaskGroup, wait, shield, timeout …):
//
// * A TaskRef is any task, a Task<T> one with a result of type T; both are counted references. `ref.base()` is the TaskBase.
// * To be told of a task's end: derive from TaskObserver and base().observe(it). on_done() runs on the thread of the task's loop, in
//   the order in which they were added, after the task's frame is gone; it must not throw or wait: it may post(), settle a Wait, or
//   cancel other tasks. base().unobserve(it) takes it back: true, and on_done() will not be called; false: it has been, or is
//   being called (by another thread only if that runs the task's loop).
// * An observer that is an agent's wait gives that by waiter(): then it is not called but settled `woken` and unparked, and once it
//   is unobserved nobody touches it any more. See JoinOp in task.cpp for a wait of that kind.
// * Cancellation is counted: cancel() adds one to cancelling() and throws CancelledError at what the task waits for, or will wait
//   for next. Who has asked for it and sees it arrive takes it back by uncancel(): when that comes to 0 a request that has not
//   been thrown yet is dropped. Python's timeout and TaskGroup are written with just these.
// * What a coroutine of this library suspends on is a wait::Wait with sync::Awaitable, or, for a single turn, `sleep(0)`.
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/base/atomic.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/os/brief_mutex.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/agent_details.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::asyncio {

using loop::EventLoop;

/// The loop that runs on this thread. Throws UsageError when none does.      Python: asyncio.get_running_loop
inline EventLoop& get_running_loop() { return EventLoop::running(); }

class TaskRef;
template <class T = void>
class Task;

namespace detail {
template <class T>
class TaskState;
/// The task that runs on this thread; nullptr: none.
TaskBase* running_task() noexcept;
void end_tasks(EventLoop& loop);
} // namespace detail

/// What is told when a task is done. Linked in the task.
class TaskObserver : public base::ListNode {
  public:
    TaskObserver() noexcept = default;
    TaskObserver(const TaskObserver&) = delete;
    TaskObserver& operator=(const TaskObserver&) = delete;
    /// On the thread of the task's loop; may destroy *this.
    virtual void on_done(TaskBase& task) noexcept = 0;
    /// An agent that waits, to be woken instead of the call of on_done(); nullptr: none.
    virtual wait::Wait* waiter() noexcept { return nullptr; }
    /// Who awaits the task by this, for the list of agents; nullptr: nobody. From any thread, while this is linked.
    virtual const wait::Agent* awaiting() const noexcept { return nullptr; }

  protected:
    virtual ~TaskObserver() = default;
};

namespace detail {
/// The bytes of a task that find room in the last word of its agent: of a million tasks each has them.
class TaskAgent : public wait::Agent {
  protected:
    using Agent::Agent;
    enum class State : std::uint8_t { pending, finished, failed, cancelled };
    atomic<State> state_{State::pending};
    atomic<bool> error_seen_{false}; // relaxed: the last owner is ordered after all others
    atomic<bool> has_extra_{false};  // relaxed: a hint; what it tells of is under a lock
    std::uint8_t started_ : 1 = 0;   // the loop's thread alone, as the next two
    std::uint8_t ended_ : 1 = 0;     // the root has
    std::uint8_t has_error_ : 1 = 0; // of a task without a result: it stands in place of Ready::next
    std::uint8_t threw_ : 1 = 0;     // store_error() has been called
    std::uint8_t has_call_ : 1 = 0;  // drop_call() is to be called
};
} // namespace detail

/// The untyped heart of a task: an agent of kind coroutine, that its loop owns until it is done and the handles as long as they live.
class TaskBase : public detail::TaskAgent, public loop::TimedReady {
  public:
    // ---- for owners of a reference
    void retain() noexcept { references_.fetch_add(1, memory_order_relaxed); } // whoever copies has one already
    void release() noexcept {
        // acquire, acq_rel: what the other owners did is before the destruction. Who is alone needs no locked instruction to know it.
        if (is_sole_owner() || references_.fetch_sub(1, memory_order_acq_rel) == 1) last_owner_left();
    }
    /// True when the caller's is the last reference. acquire: what former owners did is over.
    [[nodiscard]] bool is_sole_owner() const noexcept { return references_.load(memory_order_acquire) == 1; }

    // ---- for everybody
    [[nodiscard]] bool done() const noexcept {
        return state_.load(memory_order_acquire) >= State::finished;
    } // meets finish()
    [[nodiscard]] bool cancelled() const noexcept { return state_.load(memory_order_acquire) == State::cancelled; }
    [[nodiscard]] bool failed() const noexcept { return state_.load(memory_order_acquire) == State::failed; }
    bool cancel(std::string_view message = {});
    [[nodiscard]] int cancelling() const noexcept { return cancelling_.load(memory_order_relaxed); }
    int uncancel() noexcept;
    /// With the message of a task that awaits this one and was cancelled.
    void cancel_as(const TaskBase& awaiting) noexcept;
    /// What the last cancel() said.
    [[nodiscard]] std::string cancel_message() const;
    [[nodiscard]] std::string name() const;
    void set_name(std::string_view name);
    [[nodiscard]] EventLoop& loop() const noexcept { return EventLoop::with_number(loop_); }
    /// The error, CancelledError included, after done(); nullptr when it ended well.
    [[nodiscard]] virtual std::exception_ptr stored_error() const noexcept = 0;
    /// Somebody has looked at the error: it need not be reported when the last owner lets go.
    void mark_error_seen() noexcept { error_seen_.store(true, memory_order_relaxed); }

    /// Links an observer; when the task is done already, tells it at once.
    void observe(TaskObserver& observer) noexcept;
    /// Takes it out again. False when it has been told, or is being told.
    bool unobserve(TaskObserver& observer) noexcept;
    /// Where it is: from the innermost coroutine to the outermost, each with the line at which it waits. On the loop's thread.
    [[nodiscard]] std::vector<std::source_location> stack() const;
    /// For the list of agents: see wait::TellDetails.
    static void tell_details(const wait::Agent& agent, bool stands_still, wait::AgentDetails& details) noexcept;

    // ---- for awaitables: what the task itself does, while it runs
    /// Lets the others of its loop `l` run once, and then goes on with the coroutine (see sync::detail::continuation_of). Gives what is to be
    /// resumed now: the next one of this turn, or the noop coroutine, to go back to the loop.
    [[nodiscard]] std::coroutine_handle<> yield(EventLoop& l, void* continuation) noexcept {
        leaf_ = continuation;
        loop::Ready* const r = l.post_and_next(*this);
        if (!r || r->run != on_run) return std::noop_coroutine();
        auto& next = static_cast<TaskBase&>(*r);
        // One that has nothing to do before it goes on.
        if (!next.started_ || next.current_wait()) return std::noop_coroutine();
        l.take_next_of_turn();
        wait::detail::current = &next;
        l.set_stepping(&next);
        return sync::detail::coroutine_of(next.leaf_);
    }
    void throw_cancelled() override;
    void unpark(wait::Pause& w) noexcept override;

    static void* operator new(std::size_t bytes) { return FrameMemory::take(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept { FrameMemory::give_back(memory, bytes); }

  protected:
    TaskBase(EventLoop& loop, std::string_view name);
    virtual ~TaskBase();
    /// Schedules the first step, or makes it. `root` writes to the result that belongs to this.
    void start(detail::PromiseBase& root, bool eagerly) noexcept;
    /// Destroys the callable of create_task(f, args…).
    virtual void drop_call() noexcept {}
    /// Puts an error in place of a result: cancelled before the first step.
    virtual void store_error(std::exception_ptr error) noexcept = 0;

    bool park(wait::Wait& w, Deadline deadline) noexcept override;
    void arm_timer(wait::Pause& w, Deadline deadline) noexcept override;
    void disarm_timer(wait::Pause& w) noexcept override;
    void continue_with(void* continuation) noexcept override { leaf_ = continuation; }
    void keep_name(std::string_view name) noexcept override;
    void copy_name(char (&to)[32]) const noexcept override;

  private:
    friend class TaskRef;
    friend class JoinOp;
    friend class detail::PromiseBase;
    template <class>
    friend class detail::TaskState;
    struct Extra;
    static void on_run(loop::Ready& r) noexcept;
    void on_timer() noexcept;
    void step(const TaskBase* stepping_before = nullptr) noexcept;
    void finish() noexcept;
    void last_owner_left() noexcept;
    Extra& extra();
    Extra* extra_or_null() const noexcept;
    /// The promise of the innermost coroutine; nullptr: it is of another library's type.
    [[nodiscard]] const detail::PromiseBase* innermost() const noexcept;
    void hand_cancel_on(wait::Wait& w) noexcept;
    void add(TaskObserver& observer) noexcept;
    void remove(base::ListNode& observer) noexcept;
    /// Guards the observers of this task, and of some others.
    os::BriefMutex& mutex() const noexcept;
    /// For a task without a result: its error. Once its root has ended it is on no list any more, and the link is free.
    void keep_error(std::exception_ptr error) noexcept;
    [[nodiscard]] std::exception_ptr kept_error() const noexcept;
    void drop_error() noexcept;

    void* leaf_ = nullptr; // what to resume (sync::detail::continuation_of); at first and at last the root
    base::ListNode* observers_ = nullptr; // a ring of TaskObservers, oldest first; guarded by mutex()
    atomic<std::uint32_t> references_{1}; // who made it; from start() till it is done the loop has one, too
    atomic<std::uint16_t> cancelling_{0}; // relaxed: a count
    const std::uint16_t loop_;            // its number
};
static_assert(sizeof(plain<int>) != sizeof(int) || sizeof(TaskBase) == 96);

/// The wait of `co_await task`.
class JoinOp final : public wait::Wait {
  public:
    /// Whose reference to the task is whose.
    enum class Owns : std::uint8_t {
        another,    // one of its own, besides the caller's
        callers,    // the caller's
        if_it_waits // none where the task is done already: the caller's lives as long as this
    };
    explicit JoinOp(TaskBase& task, Owns owns = Owns::another) noexcept;
    JoinOp(JoinOp&& unbegun) noexcept : JoinOp(unbegun.task_) {}
    ~JoinOp();
    [[nodiscard]] TaskBase& task() const noexcept { return task_; }
    /// Whether no one else can see the task's result any more.
    [[nodiscard]] bool is_last() const noexcept { return owns_ && task_.is_sole_owner(); }
    bool try_now(Deadline deadline);
    bool step() noexcept override;
    void finish(wait::Agent& me);

  private:
    friend class TaskBase;
    static const wait::WaitSite join_site;
    struct Link final : TaskObserver {
        explicit Link(JoinOp& o) noexcept : op(o) {}
        void on_done(TaskBase&) noexcept override {}
        wait::Wait* waiter() noexcept override { return &op; }
        const wait::Agent* awaiting() const noexcept override { return &op.agent(); }
        JoinOp& op;
    };
    bool closes_circle(const TaskBase& me) const noexcept;
    static const TaskBase* awaited_by(const TaskBase& t) noexcept;
    static const TaskBase* next_awaiting(const TaskBase& last, const TaskBase& all_of) noexcept;
    static const TaskBase* first_awaiting(const TaskBase& t, const base::ListNode* from) noexcept;
    TaskBase& task_;
    Link link_{*this};
    bool owns_;
    bool waited_ = false;
    bool handed_on_ = false; // the cancellation that has settled this
};

/// Any task, whatever it gives. Copies are cheap and mean the same task.        Python: asyncio.Task
///
/// Agents    Every member, at the same time, from anywhere, where nothing else is said.
/// Lifetime  The loop owns a task until it is done; letting go of all handles changes nothing, but that an error which nobody has
///           looked at is then told to the loop's exception handler.
class TaskRef {
  public:
    TaskRef() noexcept = default;
    explicit TaskRef(TaskBase& shared) noexcept : task_(&shared) { shared.retain(); }
    TaskRef(const TaskRef& other) noexcept : task_(other.task_) {
        if (task_) task_->retain();
    }
    TaskRef(TaskRef&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
    TaskRef& operator=(TaskRef other) noexcept {
        std::swap(task_, other.task_);
        return *this;
    }
    ~TaskRef() {
        if (task_) task_->release();
    }
    [[nodiscard]] explicit operator bool() const noexcept { return task_ != nullptr; }
    friend bool operator==(const TaskRef& a, const TaskRef& b) noexcept { return a.task_ == b.task_; }

    [[nodiscard]] bool done() const noexcept { return base().done(); }
    /// Whether it ended by CancelledError.
    [[nodiscard]] bool cancelled() const noexcept { return base().cancelled(); }
    /// Asks for cancellation: CancelledError is thrown at what it waits for, or else at what it waits for next. Before its first
    /// step its body never runs. Each call counts (cancelling()). False when it is done.
    bool cancel(std::string_view message = {}) const { return base().cancel(message); }
    /// How many requests of cancel() have not been taken back.
    [[nodiscard]] int cancelling() const noexcept { return base().cancelling(); }
    /// Takes one back and gives how many are left. At 0 a request that has not arrived yet is dropped. By the task itself.
    int uncancel() const noexcept { return base().uncancel(); }
    /// What it threw; nullptr when it ended well. Throws InvalidStateError before it is done, CancelledError when it was cancelled.
    [[nodiscard]] std::exception_ptr exception() const;
    /// "Task-N" when none was given.
    [[nodiscard]] std::string name() const { return base().name(); }
    void set_name(std::string_view name) const { base().set_name(name); }
    [[nodiscard]] EventLoop& get_loop() const noexcept { return base().loop(); }
    [[nodiscard]] std::uint64_t id() const noexcept { return base().id(); }

    /// Calls f(TaskRef) by call_soon of the task's loop once it is done; several in the order in which they were added. Gives a number
    /// for remove_done_callback().
    template <class F>
    std::uint64_t add_done_callback(F&& f) const {
        static_assert(std::is_invocable_v<std::decay_t<F>&, TaskRef>,
                      "a done-callback takes the task: [](TaskRef t) { ... }");
        return add_callback(std::function<void(TaskRef)>(std::forward<F>(f)));
    }
    /// False when it has been called, or is about to be.
    bool remove_done_callback(std::uint64_t number) const noexcept;

    /// Where it waits, from the innermost coroutine to the outermost. On the loop's thread.
    [[nodiscard]] std::vector<std::source_location> stack() const { return base().stack(); }
    /// The same on stderr.
    void print_stack() const;
    /// One line: name, state, and where it is.
    [[nodiscard]] std::string describe() const;

    [[nodiscard]] TaskBase& base() const noexcept { return *task_; }
    /// Waits for its end, whatever that is: throws nothing of the task's. A cancellation of who waits goes on to the task, as for
    /// co_await of a Task.
    sync::Awaitable<JoinOp> async_join() const { return sync::Awaitable<JoinOp>(forever, base()); }

  protected:
    std::uint64_t add_callback(std::function<void(TaskRef)> f) const;
    TaskBase* task_ = nullptr;
};

namespace detail {

[[noreturn]] void throw_not_done(const TaskBase& task);

/// A task with room for its result.
template <class T>
class TaskState : public TaskBase {
  public:
    TaskState(EventLoop& loop, std::string_view name) : TaskBase(loop, name) {}
    Slot<T>& slot() noexcept { return slot_; }
    [[nodiscard]] std::exception_ptr stored_error() const noexcept override { return slot_.error(); }
    void start_with(Coro<T>&& coro, bool eagerly) noexcept {
        const auto root = coro.release();
        root.promise().set_slot(&slot_);
        start(root.promise(), eagerly);
    }

  protected:
    void store_error(std::exception_ptr error) noexcept override { slot_.set_error(std::move(error)); }

  private:
    Slot<T> slot_;
};

/// One without a result: its error is kept where a task that has ended needs no word any more.
template <>
class TaskState<void> : public TaskBase {
  public:
    TaskState(EventLoop& loop, std::string_view name) : TaskBase(loop, name) {}
    ~TaskState() override { drop_error(); }
    [[nodiscard]] std::exception_ptr stored_error() const noexcept override { return kept_error(); }
    void start_with(Coro<void>&& coro, bool eagerly) noexcept { start(coro.release().promise(), eagerly); }
    /// Throws the error.
    void result() const {
        if (const std::exception_ptr error = kept_error()) [[unlikely]]
            std::rethrow_exception(error);
    }

  protected:
    void store_error(std::exception_ptr error) noexcept override { keep_error(std::move(error)); }
};

/// One that was made of a callable: it lives in the task, with the arguments, until that is done.
template <class T, class F, class... Args>
class TaskOfCall final : public TaskState<T> {
  public:
    template <class G, class... Given>
    TaskOfCall(EventLoop& loop, std::string_view name, G&& f, Given&&... args)
        : TaskState<T>(loop, name), call_(std::forward<G>(f), std::forward<Given>(args)...) {
        this->has_call_ = 1;
    }
    ~TaskOfCall() override { drop_call(); }
    void call_and_start(bool eagerly) {
        this->start_with(std::apply([](F& f, Args&... args) { return std::invoke(f, args...); }, call_), eagerly);
    }

  private:
    using Call = std::tuple<F, Args...>;
    void drop_call() noexcept override {
        if (!this->has_call_) return;
        this->has_call_ = 0;
        std::destroy_at(&call_);
    }
    union {
        Call call_;
    };
};

template <class C>
struct IsCoro : std::false_type {};
template <class T>
struct IsCoro<Coro<T>> : std::true_type {};
template <class F, class... Args>
concept CoroFunction = std::is_invocable_v < std::decay_t<F>
&, std::decay_t<Args>&... > &&IsCoro<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>>::value;

} // namespace detail

/// A coroutine that runs by itself on an event loop, beside who made it.          Python: asyncio.Task
///
///     Task<int> t = create_task(twice(3));
///     int six = co_await t;
///
/// See TaskRef for what can be done with it. Cancelling an agent that awaits a task cancels that task, and waits for its end; to
/// keep it out of that use shield().
template <class T>
class Task : public TaskRef {
    using State = detail::TaskState<T>;

  public:
    using value_type = T;
    Task() noexcept = default;
    explicit Task(State& shared) noexcept : TaskRef(shared) {}
    /// Takes over the reference that a new one begins with.
    explicit Task(State* adopted) noexcept { task_ = adopted; }

    /// The value, as often as one likes; throws what the task threw, CancelledError when it was cancelled, InvalidStateError when it
    /// is not done.
    std::add_lvalue_reference_t<T> result() const {
        if (!done()) detail::throw_not_done(base());
        base().mark_error_seen();
        if constexpr (std::is_void_v<T>)
            state().result();
        else
            return static_cast<std::add_lvalue_reference_t<T>>(state().slot().value());
    }
    [[nodiscard]] State& state() const noexcept { return static_cast<State&>(base()); }

    class ResultOp {
      public:
        explicit ResultOp(const Task& t) noexcept : op_(t.base(), JoinOp::Owns::if_it_waits) {}
        explicit ResultOp(Task&& t) noexcept : op_(*std::exchange(t.task_, nullptr), JoinOp::Owns::callers) {}
        bool try_now(Deadline deadline) { return op_.try_now(deadline); }
        T finish(wait::Agent& me) {
            op_.finish(me);
            auto& state = static_cast<State&>(op_.task());
            state.mark_error_seen();
            if constexpr (std::is_void_v<T>)
                state.result();
            else if constexpr (std::is_reference_v<T>)
                return static_cast<T>(state.slot().value());
            else if constexpr (std::is_copy_constructible_v<T>)
                return op_.is_last() ? state.slot().take() : state.slot().value();
            else
                return state.slot().take();
        }
        operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
        void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

      private:
        JoinOp op_; // has the reference
    };
    /// Gives the value: moved out where this is the last handle or it can't be copied, else a copy.
    sync::Awaitable<ResultOp> operator co_await() const& { return sync::Awaitable<ResultOp>(forever, *this); }
    sync::Awaitable<ResultOp> operator co_await() && { return sync::Awaitable<ResultOp>(forever, std::move(*this)); }
};

struct TaskOptions {
    std::string_view name = {};
    /// The first step is made at once, within create_task(), where that is called on the thread of the running loop: what needs not
    /// wait is done when it returns.      Python: asyncio.eager_task_factory
    bool eager_start = false;
};

/// Schedules a coroutine on `loop`, which runs on this thread or does not run yet. Its first step is in the loop's next turn.
template <class T>
Task<T> create_task_on(EventLoop& loop, Coro<T> coro, TaskOptions options = {}) {
    Task<T> task(new detail::TaskState<T>(loop, options.name));
    task.state().start_with(std::move(coro), options.eager_start);
    return task;
}
/// The same on the loop that runs on this thread. Throws UsageError when there is none.     Python: asyncio.create_task
template <class T>
Task<T> create_task(Coro<T> coro, TaskOptions options = {}) {
    return create_task_on(EventLoop::running(), std::move(coro), options);
}
/// Calls f(args...), a coroutine function, and schedules what it gives. f and its arguments live in the task until it is done: so a
/// lambda's captures are safe, and references to arguments, too. (std::ref(x) passes a reference to x itself.)
template <class F, class... Args>
requires detail::CoroFunction<F, Args...>
auto create_task_on(EventLoop& loop, TaskOptions options, F&& f, Args&&... args) {
    using T = typename std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>&...>::value_type;
    using State = detail::TaskOfCall<T, std::decay_t<F>, std::decay_t<Args>...>;
    auto* state = new State(loop, options.name, std::forward<F>(f), std::forward<Args>(args)...);
    Task<T> task(state);
    state->call_and_start(options.eager_start);
    return task;
}
template <class F, class... Args>
requires detail::CoroFunction<F, Args...>
auto create_task(F&& f, Args&&... args) {
    return create_task_on(EventLoop::running(), TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args>
requires detail::CoroFunction<F, Args...>
auto create_task(TaskOptions options, F&& f, Args&&... args) {
    return create_task_on(EventLoop::running(), options, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The task that runs now; one that is empty outside of any.                      Python: asyncio.current_task
TaskRef current_task() noexcept;
/// All tasks of a loop that are not done, oldest first. Without an argument, of the loop that runs on this thread.
std::vector<TaskRef> all_tasks(EventLoop& loop);
std::vector<TaskRef> all_tasks();

} // namespace sennit::asyncio
