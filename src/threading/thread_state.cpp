// The life of a thread
//
//   starter                                   the thread                              joiner
//   s1  phase: initial -> started             t1  its id, its agent with its name     j1  phase is ended: j4
//   s2  into the list of threads              t2  the function; report what it throws j2  link under the lock of joiners_,
//   s3  a reference for the thread            t3  function, arguments, local values       unless ended by now
//   s4  start it; refused: undo s3, s2, s1        destroyed                           j3  park
//                                             t4  C++ thread_locals destroyed         j4  join it with the system: whoever
//                                             t5  no agent any more                       comes first
//                                             t6  out of the list
//                                             t7  phase = ended, claim the joiners
//                                             t8  wake them; drop the reference
//
// A thread that joins without a deadline takes j4 at once instead, and shows what it waits for meanwhile: one wake-up less.
// t5 to t8 are hooks at the thread's exit, the last things that run in it: j4 waits for microseconds. A second joiner may
// return while the first is in j4. Who never joins leaves j4 to the last reference; if that is the thread's own, it is detached.
#include <sennit/threading/thread_state.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/throw_stack.hpp>
#include <sennit/threading/excepthook.hpp>
#include <sennit/threading/thread.hpp>
#include <sennit/wait/callback_mark.hpp>
#include <sennit/wait/registry.hpp>

#include "report.hpp"
#include "threads.hpp"

#include <charconv>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstring>
#include <cxxabi.h>
#include <iterator>

namespace sennit::threading {
namespace detail {
namespace {

constexpr std::uint32_t somebody_waits = UINT32_MAX; // no thread has this id

} // namespace

constinit const wait::WaitSite ThreadState::join_site{"Thread", "join", &ThreadState::holder};

ThreadState::ThreadState(Kind kind) : kind_(kind) {}

ThreadState::~ThreadState() = default;

std::uint64_t ThreadState::holder(const void* state) noexcept {
    return static_cast<const ThreadState*>(state)->agent_id();
}

std::string ThreadState::default_name() const { return "Thread-" + std::to_string(number_); }

std::string ThreadState::name() const {
    os::MutexGuard guard(Threads::lock);
    return named_.load(memory_order_relaxed) ? name_ : default_name();
}

std::string ThreadState::quoted_name() const { return '"' + name() + '"'; }

void ThreadState::set_name(std::string_view name) {
    std::string copy(name);
    os::MutexGuard guard(Threads::lock);
    name_.swap(copy);
    named_.store(true, memory_order_seq_cst); // meets set_agent()
    name_agent();
}

// Under the lock of Threads: gives the name to the agent and the kernel, if the thread is in its function.
void ThreadState::name_agent() noexcept {
    std::uintptr_t seen = agent_.load(memory_order_seq_cst); // meets set_agent()
    while (seen != 0) {
        // Nobody else claims it: that takes the lock.
        if (agent_.compare_exchange_weak(seen, seen | claimed, memory_order_acquire, memory_order_relaxed)) {
            reinterpret_cast<wait::Agent*>(seen)->set_name(name_);
            if (kind_ == Kind::made) os::set_kernel_thread_name(os::thread_of(ident()), name_.c_str());
            agent_.store(seen, memory_order_release); // meets forget_agent()
            return;
        }
    }
}

void ThreadState::set_agent(wait::Agent& agent) noexcept {
    agent_id_.store(agent.id(), memory_order_relaxed);                            // for who compares it
    agent_.store(reinterpret_cast<std::uintptr_t>(&agent), memory_order_seq_cst); // meets set_name()
    if (!named_.load(memory_order_seq_cst)) return;                               // meets set_name()
    os::MutexGuard guard(Threads::lock);
    name_agent();
}

void ThreadState::forget_agent() noexcept {
    agent_id_.store(0, memory_order_relaxed);
    std::uintptr_t seen = agent_.load(memory_order_relaxed);
    // acquire: meets name_agent(): who claimed it is done.
    while ((seen & claimed) || !agent_.compare_exchange_weak(seen, 0, memory_order_acquire, memory_order_relaxed)) {
        cpu_relax();
        seen = agent_.load(memory_order_relaxed);
    }
}

void ThreadState::set_daemon(bool daemon) {
    if (kind_ != Kind::made || phase() != Phase::initial)
        throw UsageError("Thread.set_daemon: thread " + quoted_name() +
                         " runs already; say it before start(), or in ThreadOptions");
    daemon_.store(daemon, memory_order_relaxed);
}

std::int64_t ThreadState::native_id() noexcept {
    if (phase() == Phase::initial) return 0;
    for (;;) {
        // acquire: nothing is read behind it, but a join may follow.
        std::uint32_t seen = native_id_.load(memory_order_acquire);
        if (seen != 0 && seen != somebody_waits) return seen;
        if (seen == 0 &&
            !native_id_.compare_exchange_strong(seen, somebody_waits, memory_order_relaxed, memory_order_relaxed))
            continue;
        os::futex_wait(native_id_, somebody_waits, forever);
    }
}

void ThreadState::start(Thread* face, const char* face_type) {
    Phase seen = Phase::initial;
    if (!phase_.compare_exchange_strong(seen, Phase::started, memory_order_acq_rel, memory_order_acquire)) // s1
        throw UsageError("Thread.start: thread " + quoted_name() +
                         " has been started already; a thread runs once, make another Thread");
    const auto undo = [this]() noexcept {
        face_ = nullptr;
        face_type_ = nullptr;
        wait::WakeList wakes;
        wait::WaitQueue::Guard guard(joiners_);
        phase_.store(Phase::initial, memory_order_release);
        joiners_.claim_all(guard, wakes); // who was so quick to join is told that it did not start
    };
    face_ = face;
    face_type_ = face_type;
    try {
        Threads::add(*this); // s2
    } catch (...) {
        undo();
        throw;
    }
    add_ref(); // s3
    FAULT_POINT("thread.added");
    pthread_t handle{};
    if (const int e =
            os::start_thread(handle, &entry, this, stack_bytes ? stack_bytes : threading::stack_size())) { // s4
        refs_.fetch_sub(1, memory_order_relaxed); // the starter has another one
        Threads::remove(*this);
        undo();
        throw OSError(e, "Thread.start: the system does not start thread " + quoted_name());
    }
    ident_.store(os::thread_number(handle), memory_order_relaxed); // the thread stores the same
}

void ThreadState::begin_here() noexcept {
    Threads::set_current(this);
    ident_.store(os::thread_number(os::this_thread()), memory_order_relaxed);
    const auto id = static_cast<std::uint32_t>(os::current_thread_id());
    if (native_id_.exchange(id, memory_order_release) == somebody_waits) // meets native_id()
        os::futex_wake(native_id_, INT_MAX);
}

void* ThreadState::entry(void* state) {
    auto& it = *static_cast<ThreadState*>(state);
    it.exit_hook_.state = &it;
    it.exit_hook_.run = &left;
    // Before the agent's hook, so that it runs after it.
    const bool hooked = os::at_thread_exit(it.exit_hook_) == 0;
    FAULT_POINT("thread.entered");
    it.begin_here(); // t1
    char name[32] = "Thread-";
    *std::to_chars(name + std::strlen(name), std::end(name) - 1, it.number_).ptr = '\0';
    wait::Agent& agent = wait::detail::adopt_new_thread(name, it.daemon());
    {
        struct InFunction { // left also when pthread_exit unwinds
            ThreadState& state;
            InFunction(ThreadState& state, wait::Agent& agent) noexcept : state(state) { state.set_agent(agent); }
            ~InFunction() { state.forget_agent(); }
        } in_function(it, agent);
        it.run_all(); // t2
    }
    it.drop_target(); // t3
    agent.end_locals();
    if (!hooked) left(it.exit_hook_); // no memory for the hook: joiners don't wait for the thread_locals then
    return nullptr;
}

// The reference to a forced unwind is a null one in GCC: nobody looks at it.
__attribute__((no_sanitize("null"))) void ThreadState::run_all() {
    os::ThrowStack stack;
    try {
        os::call_noting_throw(
            [](void* state) {
                auto& it = *static_cast<ThreadState*>(state);
                it.face_ ? it.face_->run() : it.call();
            },
            this, stack);
    } catch (abi::__forced_unwind&) {
        throw; // pthread_exit
    } catch (...) {
        report_exception(Threads::ref(*this), stack);
    }
}

void ThreadState::left(os::ThreadExitHook& hook) noexcept {
    ThreadState& it = *static_cast<ExitHook&>(hook).state;
    if (it.kind_ == Kind::foreign) it.forget_agent();
    Threads::remove(it); // t6
    Threads::set_current(nullptr);
    it.end();
    it.drop_ref();
}

void ThreadState::end() noexcept {
    wait::WakeList wakes; // t8: dies after the guard
    wait::WaitQueue::Guard guard(joiners_);
    phase_.store(Phase::ended, memory_order_release); // t7; meets phase()
    joiners_.claim_all(guard, wakes);
}

void ThreadState::reap() noexcept {
    if (kind_ != Kind::made || reaped_.exchange(true, memory_order_relaxed)) return;
    const pthread_t handle = os::thread_of(ident());
    if (ident() == os::thread_number(os::this_thread()))
        os::detach_thread(handle);
    else
        os::join_thread(handle);
}

void ThreadState::last_ref_gone() noexcept {
    if (phase() == Phase::ended) reap();
    delete this;
}

bool ThreadState::waits_for(const wait::Agent& other) const {
    const auto all = wait::Registry::snapshot();
    std::uint64_t at = agent_id();
    for (std::size_t steps = 0; at && steps <= all.size(); ++steps) {
        if (at == other.id()) return true;
        std::uint64_t next = 0;
        for (const auto& a : all)
            if (a.id == at && a.site && !a.has_deadline) next = a.holder;
        at = next;
    }
    return false;
}

bool ThreadState::wait_to_the_end(const char* who, bool give_up_on_a_cycle) noexcept {
    using namespace std::chrono_literals;
    wait::Agent* me = &wait::current_agent();
    const auto wait_until = [&](Deadline deadline, bool interruptible) noexcept {
        JoinOp op(StatePtr::share(*this));
        if (!interruptible) op.make_uninterruptible();
        try {
            me->wait(op, deadline);
        } catch (const std::exception& error) { // a coroutine would stop its loop: so it must be, but not in silence
            std::fprintf(stderr, "sennit: %s\n", error.what());
            me = &wait::current_thread_agent();
            me->wait(op, deadline);
        }
        return phase() == Phase::ended;
    };
    // A cancellation that comes now is left to the agent's next wait.
    bool ended = wait_until(give_up_on_a_cycle ? Deadline(200ms) : Deadline(5s), true);
    if (!ended && give_up_on_a_cycle) {
        try {
            if (waits_for(*me)) {
                std::fprintf(stderr,
                             "sennit: %s does not wait for thread %s, which waits for the thread that ends it\n", who,
                             quoted_name().c_str());
                return false;
            }
        } catch (...) { // no memory to look
        }
        ended = wait_until(5s, true);
    }
    if (!ended) {
        report_long_wait(who, Threads::ref(*this), agent());
        wait_until(forever, false);
    }
    reap();
    return true;
}

} // namespace detail

JoinOp::JoinOp(detail::StatePtr thread) noexcept
    : Wait(thread.get(), detail::ThreadState::join_site), thread_(std::move(thread)) {}

bool JoinOp::try_now(Deadline deadline) {
    using detail::ThreadState;
    if (thread_->phase() == ThreadState::Phase::ended) return true;
    if (thread_->phase() == ThreadState::Phase::initial)
        throw UsageError("Thread.join: thread " + thread_->quoted_name() + " has not been started; call start() first");
    // The main thread is not known as such before it first asks who it is.
    const ThreadState* me = detail::Threads::current_or_null();
    if (!me && os::is_main_thread()) me = &detail::Threads::main();
    if (thread_.get() == me)
        throw UsageError("Thread.join: thread " + thread_->quoted_name() +
                         " would wait for itself; let its function return, and join it elsewhere");
    if (thread_->kind() == ThreadState::Kind::foreign)
        throw UsageError("Thread.join: sennit did not start thread " + thread_->quoted_name() +
                         "; join it with what started it");
    return deadline.is_poll();
}

bool JoinOp::step() noexcept {
    if (linked_) {
        if (outcome() == wait::Outcome::woken) return woken_ = true;
        wait::WaitQueue::Guard guard(thread_->joiners_);
        thread_->joiners_.remove(guard, *this);
        cancelled_ = outcome() == wait::Outcome::cancelled;
        return true;
    }
    wait::WaitQueue::Guard guard(thread_->joiners_);
    // relaxed: end() and start() change it under the lock, but for s1, after which it is not `initial`.
    const auto phase = thread_->phase_.load(memory_order_relaxed);
    if (phase != detail::ThreadState::Phase::started) return woken_ = true;
    arm();
    thread_->joiners_.push_back(guard, *this);
    linked_ = true;
    return false;
}

bool JoinOp::join_with_system(wait::Agent& me) noexcept {
    // relaxed: a handle, and nothing behind it. Without one the start is not done yet.
    if (me.kind() != wait::AgentKind::thread || thread_->kind() != detail::ThreadState::Kind::made ||
        thread_->ident() == 0 || wait::CallbackMark::current() || // where it is reported, the usual way
        thread_->reaped_.exchange(true, memory_order_relaxed))
        return false;
    make_uninterruptible();
    me.wait_outside(*this,
                    [](Wait& w) noexcept { os::join_thread(os::thread_of(static_cast<JoinOp&>(w).thread_->ident())); });
    return true;
}

bool JoinOp::finish(wait::Agent& me) {
    if (cancelled_) me.throw_cancelled();
    const auto phase = thread_->phase();
    if (phase == detail::ThreadState::Phase::ended) {
        thread_->reap();
        return true;
    }
    if (woken_)
        throw UsageError("Thread.join: thread " + thread_->quoted_name() +
                         " could not be started; see what start() threw");
    return false;
}

} // namespace sennit::threading
