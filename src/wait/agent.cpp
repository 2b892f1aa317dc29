// The life of a wait
//
//   agent                                   notifier                    canceller, inspector
//   a1  bind: since, deadline               n1  lock the queue          c1  store cancel_requested_   seq_cst
//   a2  step: lock the queue                n2  unlink w                c2  load current_             seq_cst
//   a3  look again, arm, link, unlock       n3  settle(woken)           c3  claim it: set bit 0
//   a4  begin: store current_    seq_cst    n4  unlock the queue        c4  still requested? settle(cancelled)
//   a5  load cancel_requested_   seq_cst    n5  unpark  (if n3 won)     c5  unclaim
//   a6  park till settled and unparked                                  c6  unpark  (if c4 won)
//   a7  end: current_ = 0 once unclaimed
//   a8  step: take what was handed over, or unlink w under the queue's lock
//
// 1. No cancellation is missed: a4 before a5, c1 before c2, all seq_cst: either a5 sees the request or c2 sees the wait.
// 2. The wait outlives who touches it: n5 and c6 come last, and a6 ends only after them (or when the agent itself won);
//    c3..c5 hold the claim, and a7 waits for that.
// 3. A settled wait is unparked exactly once, for exactly one party wins settle().
// 4. A request ends one wait. A canceller that was slow between c1 and c3 may find a later wait than the one that a5 has
//    ended for it; by then the agent has taken the request, and c4 sees that.
#include <sennit/wait/agent.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/os/backtrace.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/callback_mark.hpp>
#include <sennit/wait/process_end.hpp>
#include <sennit/wait/registry.hpp>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

namespace sennit::wait {
namespace {

// relaxed: only uniqueness counts.
constinit atomic<std::uint64_t> next_id{1};

// Coroutines come by the million: a thread takes their numbers by the hundred. (Not under the model, whose schedules must not depend
// on what a thread did before.)
constexpr std::uint64_t ids_at_once = 128;
#if defined(SENNIT_MODEL)
constexpr bool ids_in_blocks = false;
#else
constexpr bool ids_in_blocks = true;
#endif
constinit thread_local std::uint64_t id_of_coroutine = 0; // the next; a multiple of ids_at_once: none is left

std::uint64_t take_id(AgentKind kind) noexcept {
    if (!ids_in_blocks || kind != AgentKind::coroutine) return next_id.fetch_add(1, memory_order_relaxed);
    if (id_of_coroutine % ids_at_once == 0) {
        // Blocks begin after a multiple, the numbers between are nobody's.
        id_of_coroutine = next_id.fetch_add(2 * ids_at_once, memory_order_relaxed);
        id_of_coroutine += ids_at_once - id_of_coroutine % ids_at_once + 1;
    }
    return id_of_coroutine++;
}

#if defined(SENNIT_DEBUG)
constexpr auto default_policy = BlockingCallPolicy::raise;
#else
constexpr auto default_policy = BlockingCallPolicy::warn;
#endif
constinit atomic<BlockingCallPolicy> policy_now{default_policy};

// `callback`: the name of that which makes the call; nullptr: a coroutine does.
void report_blocking_call(const Wait& w, const char* callback) {
    // relaxed: a setting.
    const auto policy = policy_now.load(memory_order_relaxed);
    if (policy == BlockingCallPolicy::ignore) return;
    if (policy == BlockingCallPolicy::raise) {
        std::string text = std::string("blocking call ") + w.site().object + "." + w.site().call + "() in ";
        text += callback ? std::string("the callback ") + callback : "a coroutine";
        text += " would stop its event loop; ";
        text += callback ? "start a task that has a co_await of its async_ twin" : "co_await its async_ twin instead";
        throw UsageError(text);
    }
    // Once a call site: a loop that does it a million times says so once. relaxed: at worst it is said twice.
    static atomic<const WaitSite*> said[8]{};
    for (auto& slot : said) {
        const WaitSite* seen = slot.load(memory_order_relaxed);
        if (seen == &w.site()) return;
        if (!seen) {
            slot.store(&w.site(), memory_order_relaxed);
            break;
        }
    }
    std::fprintf(stderr, "sennit: warning: blocking call %s.%s() in %s%s stops its event loop; %s\n", w.site().object,
                 w.site().call, callback ? "the callback " : "a coroutine", callback ? callback : "",
                 callback ? "start a task that has a co_await of its async_ twin" : "co_await its async_ twin instead");
    os::print_backtrace(1);
}

// The end of the process, for the threads that it does not wait for (ProcessEnd):
//
//   running   it has not begun
//   holding   such a thread that comes out of a wait is held
//   waiting   the thread that ends the process waits itself: nobody is held meanwhile
constexpr std::uint32_t running = 0, holding = 1, waiting = 2;
constinit os::FutexWord end_state{running};
// relaxed everywhere: the ending thread compares it with itself.
constinit atomic<const Agent*> ending_thread{nullptr};

void hold_others() noexcept;

/// An OS thread. It parks on a futex word of its own:
///
///   idle      runs, nothing to take            unpark: -> token
///   token     was unparked before it slept     park takes it: -> idle
///   sleeping  sleeps, or is about to           unpark: -> token, then a futex wake
class ThreadAgent final : public Agent {
  public:
    ThreadAgent(std::string_view name, bool held_at_end) noexcept
        : Agent(AgentKind::thread), held_at_end_(held_at_end), native_id_(os::current_thread_id()) {
        keep(name);
    }
    ~ThreadAgent() { end_locals(); } // while it is a ThreadAgent
    void after_fork() noexcept {
        os::forget_thread_id();
        native_id_ = os::current_thread_id();
    }

    void unpark(Pause&) noexcept override {
        FAULT_POINT("wait.before_unpark");
        // release: meets the acquire in park(): what the waker did before is visible to who wakes up.
        if (word_.exchange(token, memory_order_release) == sleeping) os::futex_wake(word_, 1);
        // The thread may be gone by now: futex_wake uses the address alone.
    }

    // Whether it can do no harm at the end of the process: it is parked, and held if it wakes up.
    [[nodiscard]] bool is_harmless() const noexcept {
        // seq_cst: meets hold(): either it sees `holding`, or this sees that it runs.
        return !held_at_end_ || parked_.load(memory_order_seq_cst) || os::thread_sleeps(native_id_);
    }

    // Runs `sleep()`, in which the thread waits, with what the end of the process asks for around it.
    template <class Sleep>
    bool wait_at_end_too(Sleep sleep) noexcept {
        // relaxed: only the thread that began the end has to see it here.
        const bool ends =
            end_state.load(memory_order_relaxed) == holding && ending_thread.load(memory_order_relaxed) == this;
        if (ends) [[unlikely]] {
            end_state.store(waiting, memory_order_seq_cst); // meets hold()
            os::futex_wake(end_state, INT_MAX);
        }
        const bool by_other = sleep();
        if (ends) [[unlikely]]
            hold_others();
        if (held_at_end_) hold();
        return by_other;
    }
    void wait_outside(Wait& w, void (*block)(Wait&) noexcept) noexcept {
        wait_at_end_too([&]() noexcept {
            parked_.store(true, memory_order_relaxed); // a hint
            block(w);
            parked_.store(false, memory_order_relaxed);
            return true;
        });
    }

  protected:
    bool park(Wait& w, Deadline deadline) noexcept override {
        return wait_at_end_too([&]() noexcept { return sleep(w, deadline); });
    }

    std::int64_t native_id() const noexcept override { return native_id_; }
    void keep_name(std::string_view name) noexcept override { keep(name); }
    void copy_name(char (&to)[32]) const noexcept override { std::memcpy(to, name_, sizeof to); }

  private:
    void keep(std::string_view name) noexcept {
        const std::size_t n = name.size() < sizeof name_ - 1 ? name.size() : sizeof name_ - 1;
        if (n != 0) std::memcpy(name_, name.data(), n); // an empty view may have no address
        std::memset(name_ + n, 0, sizeof name_ - n);
    }
    void hold() noexcept {
        parked_.store(false, memory_order_seq_cst);               // it runs, and then
        while (end_state.load(memory_order_seq_cst) == holding) { // looks; meets is_harmless()
            parked_.store(true, memory_order_seq_cst);
            os::futex_wait(end_state, holding, forever);
            parked_.store(false, memory_order_seq_cst);
        }
    }

    bool sleep(Wait& w, Deadline deadline) noexcept {
        for (unsigned i = spin_turns(w.spins()); i > 0; --i) {
            // acquire: meets unpark().
            if (word_.load(memory_order_acquire) == token) break;
            cpu_relax();
        }
        std::uint32_t seen = idle;
        // acquire on failure: meets unpark(), whose token is taken here.
        if (!word_.compare_exchange_strong(seen, sleeping, memory_order_acquire, memory_order_acquire)) {
            word_.store(idle, memory_order_relaxed); // only this thread writes after a token
            return true;
        }
        parked_.store(true, memory_order_relaxed);
        FAULT_POINT("wait.before_park");
        bool by_other = true;
        for (;;) {
            if (w.outside()) {
                look_outside(w, deadline, by_other);
                break;
            }
            if (!os::futex_wait(word_, sleeping, deadline)) {
                FAULT_POINT("wait.deadline_passed");
                if (w.settle(Outcome::timed_out)) {
                    by_other = false;
                    break;
                }
                deadline = forever; // somebody was quicker: the unpark is on its way
            }
            if (word_.load(memory_order_acquire) == token) break; // acquire: meets unpark()
        }
        parked_.store(false, memory_order_relaxed);
        word_.store(idle, memory_order_relaxed); // nobody else writes: no unpark is outstanding
        return by_other;
    }

    // The sleep of a wait that depends on a word outside.
    void look_outside(Wait& w, Deadline deadline, bool& by_other) noexcept {
        const std::int64_t soon = base::monotonic_ns() + Wait::look_again_ns;
        os::futex_wait_either(word_, sleeping, *w.outside(), w.outside_value(),
                              std::min(deadline, Deadline::at_monotonic_ns(soon)));
        if (word_.load(memory_order_acquire) == token) return; // acquire: meets unpark()
        by_other = !w.settle(deadline.has_passed() ? Outcome::timed_out : Outcome::woken);
        // Somebody was quicker: the unpark is on its way.
        while (by_other && word_.load(memory_order_acquire) != token) os::futex_wait(word_, sleeping, forever);
    }

    AgentLocalTable** locals_place() noexcept override { return &locals_; }

    static constexpr std::uint32_t idle = 0, token = 1, sleeping = 2;
    AgentLocalTable* locals_ = nullptr;
    os::FutexWord word_{idle};
    const bool held_at_end_;
    std::int64_t native_id_;
    char name_[32] = {};
};

// In the thread's own storage, so that becoming an agent can't fail; destroyed by a pthread key, after all thread_locals
// whose destructors may still use a lock.
alignas(ThreadAgent) constinit thread_local unsigned char thread_agent_storage[sizeof(ThreadAgent)]{};
constinit thread_local ThreadAgent* this_thread_agent = nullptr;

constinit thread_local os::ThreadExitHook leave_hook{};

void leave_thread(os::ThreadExitHook&) noexcept {
    ThreadAgent* a = this_thread_agent;
    a->end_locals();
    Registry::remove(*a);
    detail::current = nullptr;
    this_thread_agent = nullptr;
    a->~ThreadAgent();
}

ThreadAgent& adopt(std::string_view name = {}, bool held_at_end = false) noexcept {
    if (!this_thread_agent) {
        auto* a = ::new (static_cast<void*>(thread_agent_storage)) ThreadAgent(name, held_at_end);
        this_thread_agent = a;
        Registry::add(*a);
        leave_hook.run = leave_thread;
        os::at_thread_exit(leave_hook);
    }
    return *this_thread_agent;
}

// From now on a thread that is held comes no further than its next wait. Gives those that run a moment to come to it.
void hold_others() noexcept {
    constexpr int looks = 100;
    constexpr std::int64_t between_ns = 200'000;
    end_state.store(holding, memory_order_seq_cst); // meets hold(), is_harmless()
    os::FutexWord nobody{0};
    for (int i = 0; i < looks; ++i) {
        if (Registry::every([](const Agent& a) noexcept {
                return a.kind() != AgentKind::thread || static_cast<const ThreadAgent&>(a).is_harmless();
            }))
            return;
        os::futex_wait(nobody, 0, Deadline::at_monotonic_ns(base::monotonic_ns() + between_ns));
    }
}

} // namespace

namespace detail {

Agent& adopt_thread() noexcept {
    ThreadAgent& a = adopt();
    current = &a;
    return a;
}

Agent& adopt_new_thread(std::string_view name, bool held_at_end) noexcept {
    ThreadAgent& a = adopt(name, held_at_end);
    current = &a;
    return a;
}

void thread_after_fork() noexcept {
    if (this_thread_agent) this_thread_agent->after_fork();
}

} // namespace detail

Agent& current_thread_agent() noexcept { return adopt(); }

void ProcessEnd::begin() noexcept {
    const Agent* nobody = nullptr;
    if (ending_thread.compare_exchange_strong(nobody, &current_thread_agent(), memory_order_relaxed,
                                              memory_order_relaxed))
        hold_others();
}

bool ProcessEnd::begun() noexcept { return ending_thread.load(memory_order_relaxed) != nullptr; }

BlockingCallPolicy blocking_call_policy() noexcept { return policy_now.load(memory_order_relaxed); }

void set_blocking_call_policy(BlockingCallPolicy policy) noexcept { policy_now.store(policy, memory_order_relaxed); }

Agent::Agent(AgentKind kind) noexcept : kind_(kind) {
    const std::uint64_t id = take_id(kind);
    id_low_ = static_cast<std::uint32_t>(id);
    id_high_ = static_cast<std::uint16_t>(id >> 32);
}

void Agent::bind(Pause& w, Deadline deadline) noexcept {
    w.deadline_ = deadline;
    w.since_units_ = static_cast<std::uint32_t>(base::monotonic_ns() >> Pause::since_shift);
    ++waits_;
}

void Agent::bind(Wait& w, Deadline deadline) noexcept {
    w.agent_ = this;
    w.deadline_ = deadline;
    w.since_ns_ = base::monotonic_ns();
    ++waits_;
}

// Publishes the wait. True: the wait is not settled by this call: park. False: a cancellation was pending, and settled it.
bool Agent::begin(Pause& w) noexcept {
    current_.store(reinterpret_cast<std::uintptr_t>(&w), memory_order_seq_cst); // a4; meets c2
    if (cancel_requested_.load(memory_order_seq_cst) && w.interruptible())      // a5; meets c1
        return !w.settle(Outcome::cancelled);
    return true;
}

void Agent::end(Pause& w) noexcept {
    std::uintptr_t mine = reinterpret_cast<std::uintptr_t>(&w);
    const std::uintptr_t alone = mine;
    // acq_rel: acquire meets unclaim(): the claimer has done reading; release: meets the next claim_current().
    for (int turns = 0; !current_.compare_exchange_weak(mine, 0, memory_order_acq_rel, memory_order_relaxed); ++turns) {
        mine = alone;
        turns < 100 ? cpu_relax() : os::yield_core(); // a claimer that lost its core must run to let go
    }
}

Pause* Agent::claim_current() const noexcept {
    for (int turns = 0;; ++turns) {
        std::uintptr_t seen = current_.load(memory_order_seq_cst); // c2; meets a4
        if (seen == 0) return nullptr;
        if (!(seen & claimed) &&
            // acquire: meets begin(): the Wait's fields are visible.
            current_.compare_exchange_weak(seen, seen | claimed, memory_order_acquire, memory_order_relaxed))
            return reinterpret_cast<Pause*>(seen);
        turns < 100 ? cpu_relax() : os::yield_core();
    }
}

void Agent::unclaim(Pause* w) const noexcept {
    // release: meets end(). Nobody else writes while the claim is held.
    current_.store(reinterpret_cast<std::uintptr_t>(w), memory_order_release);
}

void Agent::wait(Wait& w, Deadline deadline) {
    if (kind_ == AgentKind::coroutine) {
        report_blocking_call(w, nullptr);
        const CallbackMark reported(nullptr);
        current_thread_agent().wait(w, deadline);
        return;
    }
    if (CallbackMark::current()) [[unlikely]]
        report_blocking_call(w, CallbackMark::current());
    bind(w, deadline);
    while (!w.step()) {
        if (begin(w)) park(w, w.interruptible() ? deadline : forever);
        end(w);
    }
}

void Agent::wait_outside(Wait& w, void (*block)(Wait&) noexcept) noexcept {
    bind(w, forever);
    begin(w); // not interruptible: so it is not settled here
    static_cast<ThreadAgent&>(*this).wait_outside(w, block);
    end(w);
}

bool Agent::suspend(Wait& w, Deadline deadline) {
    if (kind_ != AgentKind::coroutine)
        throw UsageError(
            std::string("co_await of ") + w.site().object + "." + w.site().call +
            " outside of an event loop; call the function without async_ here, or run the coroutine on a loop");
    bind(w, deadline);
    return !advance(w);
}

bool Agent::advance(Wait& w) noexcept {
    while (!w.step()) {
        // From here on the loop may be told to call resume_step(); it does so on this thread, after this returned.
        arm_timer(w, w.interruptible() ? w.deadline() : forever);
        parked_.store(true, memory_order_relaxed); // a hint
        if (begin(w)) return false;
        parked_.store(false, memory_order_relaxed);
        end(w);
        disarm_timer(w);
    }
    return true;
}

bool Agent::resume_step(Wait& w) noexcept {
    parked_.store(false, memory_order_relaxed);
    end(w);
    disarm_timer(w);
    // Steps may run a user's predicate or take an RLock: they do so as this agent.
    Agent* const outer = detail::current;
    detail::current = this;
    const bool ended = advance(w);
    detail::current = outer;
    return ended;
}

bool Agent::begin_pause(Pause& w, Deadline deadline) noexcept {
    bind(w, deadline);
    arm_timer(w, deadline);
    parked_.store(true, memory_order_relaxed); // a hint
    if (begin(w)) return true;
    end_pause(w);
    return false;
}

void Agent::end_pause(Pause& w) noexcept {
    parked_.store(false, memory_order_relaxed);
    end(w);
    disarm_timer(w);
}

void Agent::cancel() noexcept {
    cancel_requested_.store(true, memory_order_seq_cst); // c1; meets a5
    Pause* const w = claim_current();
    if (!w) return;
    FAULT_POINT("wait.cancel_claimed");
    // c4; relaxed: a request that was taken before this wait began was so before a4, which the claim has acquired.
    const bool won =
        w->interruptible() && cancel_requested_.load(memory_order_relaxed) && w->settle(Outcome::cancelled);
    unclaim(w);
    if (won) unpark(*w); // the agent can't leave the wait before this: w lives
}

bool Agent::take_cancel() noexcept {
    // acquire: meets cancel(): why it was cancelled is visible. (seq_cst there includes release.)
    return cancel_requested_.exchange(false, memory_order_acquire);
}

bool Agent::cancel_requested() const noexcept { return cancel_requested_.load(memory_order_acquire); }

void Agent::throw_cancelled() {
    take_cancel();
    throw CancelledError();
}

} // namespace sennit::wait
