// The life of a task
//
//   created ──start()──> on the ready list ──step()──> its coroutines run ──await──> waits ──unpark()──> on the ready list …
//                                                        └──the root has ended──> finish(): observers are told
//
// One node puts it on the ready list: Ready, as a base. It is there at most once: started by start(), and then only by who settles
// the wait it is in (exactly one party does), or by itself in yield(), when it is in none.
//
// Observers: `state_` leaves pending under mutex(), in finish(); observe() looks at it under mutex(). So an observer is either in the
// list when finish() takes that, or sees the end. Those that are waits are settled under mutex(): who finds itself unlinked there
// has been told, and no one touches it after that but to unpark its agent, if it won.
#include <sennit/asyncio/task.hpp>

#include <sennit/asyncio/wait_for_tasks.hpp>
#include <sennit/base/errors.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>

namespace sennit::asyncio {
namespace {

// For what few tasks have.
constinit os::Mutex extras_mutex;

bool is_cancelled(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const CancelledError&) {
        return true;
    } catch (...) {
        return false;
    }
}

[[maybe_unused]] const bool details_told = (wait::set_coroutine_details(TaskBase::tell_details), true);

} // namespace

struct TaskBase::Extra {
    std::string name;
    std::string cancel_message;
};

namespace {

// What few tasks have: a table beside them, so that the others have no room for it. Guarded by extras_mutex; never destroyed.
template <class Extra>
std::unordered_map<const TaskBase*, Extra>& extras() {
    static auto& all = *new std::unordered_map<const TaskBase*, Extra>;
    return all;
}

// The observers' locks: each guards those of many tasks, and is held for some lines only. None is taken while another is held.
struct alignas(64) ObserversMutex {
    os::BriefMutex mutex;
};
constinit ObserversMutex observers_mutexes[64]{};

} // namespace

os::BriefMutex& TaskBase::mutex() const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(this);
    return observers_mutexes[(address >> 6 ^ address >> 12) % std::size(observers_mutexes)].mutex;
}

TaskBase::TaskBase(EventLoop& loop, std::string_view name)
    : TaskAgent(wait::AgentKind::coroutine), loop_(loop.number()) {
    Ready::run = on_run;
    loop.reserve_timer();
    if (name.empty()) return;
    try {
        os::MutexGuard guard(extras_mutex);
        extra().name = name;
    } catch (...) {
        loop.unreserve_timer();
        throw;
    }
}

TaskBase::~TaskBase() {
    if (!leaf_ && !started_) loop().unreserve_timer(); // never scheduled
    if (!has_extra_.load(memory_order_relaxed)) return;
    os::MutexGuard guard(extras_mutex);
    extras<Extra>().erase(this);
}

// Both under extras_mutex.
TaskBase::Extra& TaskBase::extra() {
    Extra& it = extras<Extra>()[this];
    has_extra_.store(true, memory_order_relaxed);
    return it;
}

TaskBase::Extra* TaskBase::extra_or_null() const noexcept {
    if (!has_extra_.load(memory_order_relaxed)) return nullptr;
    return &extras<Extra>().find(this)->second;
}

void TaskBase::keep_error(std::exception_ptr error) noexcept {
    drop_error();
    static_assert(sizeof(std::exception_ptr) <= sizeof Ready::next);
    ::new (static_cast<void*>(&(Ready::next))) std::exception_ptr(std::move(error));
    has_error_ = 1;
}

std::exception_ptr TaskBase::kept_error() const noexcept {
    return has_error_ ? *std::launder(reinterpret_cast<const std::exception_ptr*>(&(Ready::next))) : nullptr;
}

void TaskBase::drop_error() noexcept {
    if (!has_error_) return;
    has_error_ = 0;
    std::destroy_at(std::launder(reinterpret_cast<std::exception_ptr*>(&(Ready::next))));
}

void TaskBase::start(detail::PromiseBase& root, bool eagerly) noexcept {
    leaf_ = sync::detail::continuation_of(std::coroutine_handle<detail::PromiseBase>::from_promise(root), {});
    root.set_root();
    // relaxed, and no read-modify-write: nobody else knows this task yet.
    references_.store(references_.load(memory_order_relaxed) + 1, memory_order_relaxed);
    EventLoop& l = loop();
    l.agents().add(*this);
    l.set_closer(detail::end_tasks);
    if (eagerly && EventLoop::running_or_null() == &l) {
        const EventLoop::TurnHidden hidden(l); // who makes it goes on when it waits, not another one
        step(detail::running_task());
    } else {
        l.post_from_anywhere(*this);
    }
}

std::string TaskBase::name() const {
    os::MutexGuard guard(extras_mutex);
    const Extra* const e = extra_or_null();
    return e && !e->name.empty() ? e->name : "Task-" + std::to_string(id());
}

void TaskBase::set_name(std::string_view name) {
    std::string copy(name);
    os::MutexGuard guard(extras_mutex);
    extra().name.swap(copy);
}

void TaskBase::keep_name(std::string_view name) noexcept {
    try {
        set_name(name);
    } catch (...) {} // no memory: it keeps the one that it has
}

void TaskBase::copy_name(char (&to)[32]) const noexcept {
    os::MutexGuard guard(extras_mutex);
    const Extra* const e = extra_or_null();
    const std::size_t n = e ? e->name.copy(to, sizeof to - 1) : 0;
    to[n] = '\0';
}

bool TaskBase::cancel(std::string_view message) {
    if (done()) return false;
    {
        os::MutexGuard guard(extras_mutex);
        if (!message.empty() || extra_or_null()) extra().cancel_message = message;
    }
    cancelling_.fetch_add(1, memory_order_relaxed);
    Agent::cancel();
    return true;
}

int TaskBase::uncancel() noexcept {
    std::uint16_t n = cancelling_.load(memory_order_relaxed);
    while (n > 0 && !cancelling_.compare_exchange_weak(n, static_cast<std::uint16_t>(n - 1), memory_order_relaxed,
                                                       memory_order_relaxed)) {}
    if (n <= 1) take_cancel();
    return n > 0 ? n - 1 : 0;
}

std::string TaskBase::cancel_message() const {
    os::MutexGuard guard(extras_mutex);
    const Extra* const e = extra_or_null();
    return e ? e->cancel_message : std::string();
}

void TaskBase::throw_cancelled() {
    take_cancel();
    const std::string message = cancel_message();
    throw CancelledError(message.empty() ? "cancelled" : message);
}

// ---- as an agent

bool TaskBase::park(wait::Wait&, Deadline) noexcept { std::abort(); } // coroutines suspend: Agent::wait sees to that

void TaskBase::unpark(wait::Pause& w) noexcept {
    if (w.outcome() == wait::Outcome::cancelled && w.has_steps()) [[unlikely]]
        hand_cancel_on(static_cast<wait::Wait&>(w));
    loop().post_from_anywhere(*this);
}

// As in Python, a cancellation of who awaits tasks reaches them in the same call: what comes to the object that such a task waits for
// must not go to it any more, for nobody would take its result. The wait, which cancel() has settled, does not end meanwhile.
void TaskBase::hand_cancel_on(wait::Wait& w) noexcept {
    constexpr int deepest = 500; // calls; tasks beyond hear of it when those before them go on
    static constinit thread_local int depth = 0;
    if (depth == deepest) return;
    ++depth;
    if (&w.site() == &JoinOp::join_site) {
        auto& op = static_cast<JoinOp&>(w);
        op.handed_on_ = true;
        op.task_.cancel_as(*this);
    } else if (&w.site() == &detail::WaitForTasks::gather_site) {
        static_cast<detail::WaitForTasks&>(w).hand_cancel_on(*this);
    }
    --depth;
}

void TaskBase::cancel_as(const TaskBase& awaiting) noexcept {
    try {
        cancel(awaiting.cancel_message());
    } catch (...) { // no memory for the message
        cancel();
    }
}

void TaskBase::arm_timer(wait::Pause& w, Deadline deadline) noexcept {
    if (w.has_steps()) leaf_ = static_cast<wait::Wait&>(w).continuation();
    if (!deadline.is_forever()) loop().arm(*this, deadline); // there is room for it
}

void TaskBase::disarm_timer(wait::Pause&) noexcept {
    if (armed()) loop().disarm(*this);
}

void TaskBase::on_timer() noexcept {
    if (current_wait()->settle(wait::Outcome::timed_out)) loop().post(*this);
    // else somebody was quicker, and it is or will be on the ready list
}

void TaskBase::on_run(loop::Ready& r) noexcept {
    auto& self = static_cast<TaskBase&>(r);
    if (self.take_fired())
        self.on_timer();
    else
        self.step();
}

void TaskBase::step(const TaskBase* stepping_before) noexcept {
    // In a wait it is put on the ready list only once that has been settled.
    if (wait::Pause* const w = current_wait()) {
        if (!w->has_steps())
            end_pause(*w);
        else if (!resume_step(static_cast<wait::Wait&>(*w)))
            return;
    }
    EventLoop& l = loop();
    const std::int64_t start = l.get_debug() ? base::monotonic_ns() : 0;
    wait::Agent* const outer = wait::detail::current;
    wait::detail::current = this;
    if (!started_) {
        started_ = 1;
        if (cancel_requested()) [[unlikely]] { // its body never runs
            std::exception_ptr error;
            try {
                throw_cancelled();
            } catch (...) {
                error = std::current_exception();
            }
            threw_ = 1;
            store_error(std::move(error));
            ended_ = 1;
        }
    }
    l.set_stepping(this);
    if (!ended_) sync::detail::coroutine_of(leaf_).resume(); // a root that ends sets ended_, and itself as the leaf
    // One that yielded has resumed the next one of the turn: this is who ran last.
    auto& last = static_cast<TaskBase&>(*wait::detail::current);
    l.set_stepping(stepping_before);
    if (start != 0) [[unlikely]]
        l.ran_since(start, "task", last.name());
    const bool ended = last.ended_;
    if (ended) {
        sync::detail::coroutine_of(std::exchange(last.leaf_, nullptr)).destroy();
        if (last.has_call_) last.drop_call();
        last.end_locals();
    }
    wait::detail::current = outer;
    if (ended) last.finish();
}

void TaskBase::finish() noexcept {
    State end = State::finished;
    if (threw_) end = is_cancelled(stored_error()) ? State::cancelled : State::failed;
    loop().agents().remove(*this);
    loop().unreserve_timer();
    base::IntrusiveList told;
    {
        os::BriefGuard guard(mutex());
        state_.store(end, memory_order_release); // meets done()
        while (base::ListNode* n = observers_) {
            remove(*n);
            wait::Wait* const w = static_cast<TaskObserver*>(n)->waiter();
            // One that was cancelled first finds itself unlinked, and goes.
            if (!w || w->settle(wait::Outcome::woken)) told.push_back(*n);
        }
    }
    while (base::ListNode* n = told.pop_front()) {
        auto& observer = *static_cast<TaskObserver*>(n);
        if (wait::Wait* const w = observer.waiter())
            w->agent().unpark(*w);
        else
            observer.on_done(*this);
    }
    release();
}

void TaskBase::observe(TaskObserver& observer) noexcept {
    {
        os::BriefGuard guard(mutex());
        if (!done()) {
            add(observer);
            return;
        }
    }
    if (wait::Wait* const w = observer.waiter()) {
        if (w->settle(wait::Outcome::woken)) w->agent().unpark(*w);
    } else {
        observer.on_done(*this);
    }
}

bool TaskBase::unobserve(TaskObserver& observer) noexcept {
    os::BriefGuard guard(mutex());
    if (done() || !observer.linked()) return false;
    remove(observer);
    return true;
}

void TaskBase::add(TaskObserver& observer) noexcept {
    if (!observers_) {
        observer.prev = observer.next = &observer;
        observers_ = &observer;
        return;
    }
    observer.prev = observers_->prev;
    observer.next = observers_;
    observers_->prev->next = &observer;
    observers_->prev = &observer;
}

void TaskBase::remove(base::ListNode& observer) noexcept {
    if (observer.next == &observer) {
        observers_ = nullptr;
    } else {
        if (observers_ == &observer) observers_ = observer.next;
        observer.prev->next = observer.next;
        observer.next->prev = observer.prev;
    }
    observer.prev = observer.next = nullptr;
}

void TaskBase::last_owner_left() noexcept {
    if (failed() && !error_seen_.load(memory_order_relaxed)) {
        try {
            loop::ExceptionContext context;
            context.message = "a task failed and nobody looked at its error";
            context.source = name();
            context.exception = stored_error();
            EventLoop::tell_handler_of(&loop(), context);
        } catch (...) {}
    }
    delete this;
}

const detail::PromiseBase* TaskBase::innermost() const noexcept {
    const bool ours = reinterpret_cast<std::uintptr_t>(leaf_) & sync::detail::keeps_chain;
    return ours ? &detail::PromiseBase::of(sync::detail::coroutine_of(leaf_)) : nullptr;
}

std::vector<std::source_location> TaskBase::stack() const {
    std::vector<std::source_location> all;
    if (done() || !leaf_) return all;
    for (const detail::PromiseBase* p = innermost(); p; p = p->caller_promise()) all.push_back(p->where());
    return all;
}

void TaskBase::tell_details(const wait::Agent& agent, bool stands_still, wait::AgentDetails& details) noexcept {
    const auto* const task = dynamic_cast<const TaskBase*>(&agent);
    if (!task) return;
    // While it unwinds its stack, on its way to the loop, its coroutines still write who awaits whom.
    if (stands_still && !task->loop().is_stepping(task)) {
        for (const detail::PromiseBase* p = task->innermost(); p; p = p->caller_promise()) {
            if (details.frame_count < details.most_frames) details.frames[details.frame_count] = p->where();
            ++details.frame_count;
        }
    }
    os::BriefGuard guard(task->mutex());
    const base::ListNode* const first = task->observers_;
    for (const base::ListNode* n = first; n;
         n = n->next == first ? nullptr : static_cast<const base::ListNode*>(n->next)) {
        const wait::Agent* const by = static_cast<const TaskObserver*>(n)->awaiting();
        if (!by) continue;
        if (details.awaited_by_count < details.most_awaiting) details.awaited_by[details.awaited_by_count] = by->id();
        ++details.awaited_by_count;
    }
}

// ---- waiting for a task

namespace {

std::uint64_t id_of_task(const void* task) noexcept { return static_cast<const TaskBase*>(task)->id(); }

} // namespace

constexpr wait::WaitSite JoinOp::join_site{"Task", "await", id_of_task};

JoinOp::JoinOp(TaskBase& task, Owns owns) noexcept
    : Wait(&task, join_site), task_(task), owns_(owns != Owns::if_it_waits) {
    if (owns == Owns::another) task.retain();
}

JoinOp::~JoinOp() {
    if (owns_) task_.release();
}

bool JoinOp::try_now(Deadline deadline) {
    if (task_.done() || deadline.is_poll()) return true;
    if (const TaskBase* const me = detail::running_task()) {
        if (&task_ == me) throw UsageError("a task awaits itself; it would wait for ever");
        if (closes_circle(*me)) throw UsageError("tasks await each other in a circle; they would wait for ever");
    }
    return false;
}

// Who awaits whom on this loop stands still while this task runs. Each task awaits one other at most, so those that do are trees, and
// this task, which does not wait yet, is the root of one: a circle is closed if it awaits a task of its own tree. That is found on the
// way from that task to its root, and among those of the own tree as well: so both are looked through at the same time, and the
// shorter one ends the search. Joining trees to larger ones so costs O(log n) for each task, in whatever order; going the way to the
// root alone makes a long chain quadratic.
bool JoinOp::closes_circle(const TaskBase& me) const noexcept {
    const TaskBase* ahead = &task_;
    const TaskBase* behind = &me;
    for (;;) {
        if (ahead->loop_ != me.loop_) return false;
        ahead = awaited_by(*ahead);
        if (!ahead) return false;
        if (ahead == &me) return true;
        behind = next_awaiting(*behind, me);
        if (!behind) return false;
        if (behind == &task_) return true;
    }
}

const TaskBase* JoinOp::awaited_by(const TaskBase& t) noexcept {
    wait::Pause* const w = t.current_wait();
    return w && &w->site() == &join_site ? &static_cast<JoinOp*>(w)->task_ : nullptr;
}

// The tree of those who await `all_of`, each before those who await it; nullptr after the last.
const TaskBase* JoinOp::next_awaiting(const TaskBase& last, const TaskBase& all_of) noexcept {
    {
        os::BriefGuard guard(last.mutex());
        if (const TaskBase* const t = first_awaiting(last, last.observers_)) return t;
    }
    for (const TaskBase* t = &last; t != &all_of;) {
        const JoinOp& op = *static_cast<JoinOp*>(t->current_wait());
        t = &op.task_;
        os::BriefGuard guard(t->mutex());
        const base::ListNode* const next = op.link_.next;
        if (next == t->observers_) continue;
        if (const TaskBase* const beside = first_awaiting(*t, next)) return beside;
    }
    return nullptr;
}

// Among the observers of `t` from one on: a task of the same loop that awaits it. Under the lock of `t`.
const TaskBase* JoinOp::first_awaiting(const TaskBase& t, const base::ListNode* from) noexcept {
    for (const base::ListNode* n = from; n; n = n->next == t.observers_ ? nullptr : n->next) {
        const auto* const by = dynamic_cast<const TaskBase*>(static_cast<const TaskObserver*>(n)->awaiting());
        if (by && by->loop_ == t.loop_ && awaited_by(*by) == &t) return by;
    }
    return nullptr;
}

bool JoinOp::step() noexcept {
    if (waited_) {
        if (outcome() == wait::Outcome::woken) return true;
        // Cancelled: so is the task, and its end is waited for.
        auto& me = static_cast<TaskBase&>(agent());
        const bool handed_on = std::exchange(handed_on_, false);
        if (handed_on) me.take_cancel();
        if (!task_.unobserve(link_)) return true;
        if (!handed_on) {
            me.take_cancel();
            task_.cancel_as(me);
        }
    }
    waited_ = true;
    arm();
    os::BriefGuard guard(task_.mutex());
    if (task_.done()) return true;
    if (!owns_) task_.retain();
    owns_ = true;
    task_.add(link_);
    return false;
}

void JoinOp::finish(wait::Agent& me) {
    // As in Python: a request that came after the task's end and before this one went on is thrown here; the result stays.
    if (waited_ && me.cancel_requested()) me.throw_cancelled();
}

// ---- handles

std::exception_ptr TaskRef::exception() const {
    if (!done()) detail::throw_not_done(base());
    base().mark_error_seen();
    std::exception_ptr error = base().stored_error();
    if (cancelled()) std::rethrow_exception(error);
    return error;
}

namespace {

class DoneCallback final : public TaskObserver {
  public:
    DoneCallback(std::function<void(TaskRef)> f, std::uint64_t n) : number(n), f_(std::move(f)) {}
    void on_done(TaskBase& task) noexcept override {
        // By call_soon, as in Python: so it runs after what the task has made ready before.
        const std::unique_ptr<DoneCallback> self(this);
        try {
            if (EventLoop::running_or_null() == &task.loop())
                task.loop().call_soon(std::move(f_), TaskRef(task));
            else
                task.loop().call_soon_threadsafe(std::move(f_), TaskRef(task));
        } catch (...) {
            loop::ExceptionContext context;
            context.exception = std::current_exception();
            EventLoop::tell_handler_of(&task.loop(), context);
        }
    }
    const std::uint64_t number;

  private:
    std::function<void(TaskRef)> f_;
};

constinit atomic<std::uint64_t> callbacks{0}; // relaxed: only uniqueness counts

} // namespace

std::uint64_t TaskRef::add_callback(std::function<void(TaskRef)> f) const {
    const std::uint64_t number = callbacks.fetch_add(1, memory_order_relaxed) + 1;
    base().observe(*new DoneCallback(std::move(f), number));
    return number;
}

bool TaskRef::remove_done_callback(std::uint64_t number) const noexcept {
    std::unique_ptr<DoneCallback> found;
    {
        os::BriefGuard guard(base().mutex());
        base::ListNode* const first = base().observers_;
        for (base::ListNode* n = first; n; n = n->next == first ? nullptr : static_cast<base::ListNode*>(n->next)) {
            auto* callback = dynamic_cast<DoneCallback*>(static_cast<TaskObserver*>(n));
            if (!callback || callback->number != number) continue;
            base().remove(*n);
            found.reset(callback);
            break;
        }
    }
    return found != nullptr;
}

void TaskRef::print_stack() const {
    std::string text = describe() + '\n';
    for (const auto& where : stack()) text += "  " + wait::describe_line(where) + '\n';
    std::fwrite(text.data(), 1, text.size(), stderr);
}

std::string TaskRef::describe() const {
    std::string text = "<Task " + name();
    if (!done()) {
        text += cancelling() > 0 ? " cancelling" : " pending";
        const auto where = stack();
        if (!where.empty() && where.front().line() != 0) text += " in " + wait::describe_line(where.front());
    } else {
        text += cancelled() ? " cancelled" : base().failed() ? " failed" : " finished";
    }
    return text + '>';
}

namespace detail {

void throw_not_done(const TaskBase& task) {
    throw InvalidStateError("the task " + task.name() + " is not done; co_await it to wait for its result");
}

TaskBase* running_task() noexcept {
    wait::Agent* const a = wait::detail::current;
    return a && a->kind() == wait::AgentKind::coroutine && EventLoop::running_or_null() ? static_cast<TaskBase*>(a)
                                                                                        : nullptr;
}

void PromiseBase::tell_task() noexcept {
    auto& task = static_cast<TaskBase&>(*wait::detail::current);
    task.leaf_ = sync::detail::continuation_of(std::coroutine_handle<PromiseBase>::from_promise(*this), where_);
    task.ended_ = 1;
}

void PromiseBase::fail_task() noexcept {
    auto& task = static_cast<TaskBase&>(*wait::detail::current);
    task.threw_ = 1;
    task.store_error(std::current_exception());
}

void throw_awaited_before() {
    throw UsageError(
        "this Coro was awaited, moved from or made a task before; call the coroutine function again for another run");
}

void report_dropped(std::coroutine_handle<>) noexcept {
    const EventLoop* loop = EventLoop::running_or_null();
    if (!loop || !loop->get_debug()) return;
    std::fputs("sennit: warning: a Coro was dropped and never ran; co_await it, or give it to create_task()\n", stderr);
}

void end_tasks(EventLoop& loop) {
    std::vector<TaskRef> left = all_tasks(loop);
    if (left.empty()) return;
    const EventLoop::Running runs(loop);
    for (const TaskRef& t : left) {
        loop::ExceptionContext context;
        context.message = "a task was still pending when its event loop was closed, and is cancelled";
        context.source = t.name();
        loop.call_exception_handler(context);
        t.cancel();
    }
    left.clear();
    while (loop.agents().size() > 0) loop.turn(true);
}

} // namespace detail

TaskRef current_task() noexcept {
    TaskBase* const t = detail::running_task();
    return t ? TaskRef(*t) : TaskRef();
}

std::vector<TaskRef> all_tasks(EventLoop& loop) {
    std::vector<TaskRef> all;
    for (std::size_t room = 0;;) {
        all.clear();
        room = loop.agents().size() + 16;
        all.reserve(room); // outside of the lock
        bool enough = true;
        loop.agents().for_each([&](wait::Agent& a) {
            if (a.kind() != wait::AgentKind::coroutine) return;
            if (all.size() < room)
                all.emplace_back(static_cast<TaskBase&>(a));
            else
                enough = false;
        });
        if (enough) return all;
    }
}

std::vector<TaskRef> all_tasks() { return all_tasks(EventLoop::running()); }

} // namespace sennit::asyncio
