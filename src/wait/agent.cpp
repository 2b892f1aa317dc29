// The life of a wait
//
//   agent                                   notifier                    canceller, inspector
//   a1  bind: since, deadline               n1  lock the queue          c1  store cancel_requested_   seq_cst
//   a2  step: lock the queue                n2  unlink w                c2  load current_             seq_cst
//   a3  look again, arm, link, unlock       n3  settle(woken)           c3  claim it: set bit 0
//   a4  begin: store current_    seq_cst    n4  unlock the queue        c4  settle(cancelled)
//   a5  load cancel_requested_   seq_cst    n5  unpark  (if n3 won)     c5  unclaim
//   a6  park till settled and unparked                                  c6  unpark  (if c4 won)
//   a7  end: current_ = 0 once unclaimed
//   a8  step: take what was handed over, or unlink w under the queue's lock
//
// 1. No cancellation is missed: a4 before a5, c1 before c2, all seq_cst: either a5 sees the request or c2 sees the wait.
// 2. The wait outlives who touches it: n5 and c6 come last, and a6 ends only after them (or when the agent itself won);
//    c3..c5 hold the claim, and a7 waits for that.
// 3. A settled wait is unparked exactly once, for exactly one party wins settle().
#include <sennit/wait/agent.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/backtrace.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/wait/registry.hpp>

#include <cstdio>
#include <cstring>
#include <new>
#include <string>

namespace sennit::wait {
namespace {

// relaxed: only uniqueness counts.
constinit atomic<std::uint64_t> next_id{1};

constinit atomic<BlockingCallPolicy> blocking_call_policy{BlockingCallPolicy::warn};

void report_blocking_call(const Wait& w) {
    // relaxed: a setting.
    const auto policy = blocking_call_policy.load(memory_order_relaxed);
    if (policy == BlockingCallPolicy::ignore) return;
    if (policy == BlockingCallPolicy::raise)
        throw UsageError(std::string("blocking call ") + w.site().object + "." + w.site().call +
                         "() in a coroutine would stop its event loop; co_await its async_ twin instead");
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
    std::fprintf(stderr,
                 "sennit: warning: blocking call %s.%s() in a coroutine stops its event loop; co_await its async_ twin "
                 "instead\n",
                 w.site().object, w.site().call);
    os::print_backtrace(1);
}

/// An OS thread. It parks on a futex word of its own:
///
///   idle      runs, nothing to take            unpark: -> token
///   token     was unparked before it slept     park takes it: -> idle
///   sleeping  sleeps, or is about to           unpark: -> token, then a futex wake
class ThreadAgent final : public Agent {
  public:
    ThreadAgent() noexcept : Agent(AgentKind::thread), native_id_(os::current_thread_id()) {}

    void unpark(Wait&) noexcept override {
        // release: meets the acquire in park(): what the waker did before is visible to who wakes up.
        if (word_.exchange(token, memory_order_release) == sleeping) os::futex_wake(word_, 1);
        // The thread may be gone by now: futex_wake uses the address alone.
    }

  protected:
    bool park(Wait& w, Deadline deadline) noexcept override {
        for (std::uint32_t i = w.spins(); i > 0; --i) {
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
        bool by_other = true;
        for (;;) {
            if (!os::futex_wait(word_, sleeping, deadline)) {
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

    std::int64_t native_id() const noexcept override { return native_id_; }

  private:
    static constexpr std::uint32_t idle = 0, token = 1, sleeping = 2;
    os::FutexWord word_{idle};
    std::int64_t native_id_;
};

// In the thread's own storage, so that becoming an agent can't fail; destroyed by a pthread key, after all thread_locals
// whose destructors may still use a lock.
alignas(ThreadAgent) constinit thread_local unsigned char thread_agent_storage[sizeof(ThreadAgent)]{};
constinit thread_local ThreadAgent* this_thread_agent = nullptr;

void leave_thread(void*) noexcept {
    ThreadAgent* a = this_thread_agent;
    if (!a) return;
    Registry::remove(*a);
    detail::current = nullptr;
    this_thread_agent = nullptr;
    a->~ThreadAgent();
}

ThreadAgent& adopt() noexcept {
    if (!this_thread_agent) {
        auto* a = ::new (static_cast<void*>(thread_agent_storage)) ThreadAgent;
        this_thread_agent = a;
        Registry::add(*a);
        os::at_thread_exit(leave_thread, nullptr);
    }
    return *this_thread_agent;
}

} // namespace

namespace detail {

Agent& adopt_thread() noexcept {
    ThreadAgent& a = adopt();
    current = &a;
    return a;
}

} // namespace detail

Agent& current_thread_agent() noexcept { return adopt(); }

void set_blocking_call_policy(BlockingCallPolicy policy) noexcept {
    blocking_call_policy.store(policy, memory_order_relaxed);
}

Agent::Agent(AgentKind kind) noexcept : kind_(kind), id_(next_id.fetch_add(1, memory_order_relaxed)) {}

void Agent::bind(Wait& w, Deadline deadline) noexcept {
    w.agent_ = this;
    w.deadline_ = deadline;
    w.since_ns_ = base::monotonic_ns();
}

// Publishes the wait. True: the wait is not settled by this call: park. False: a cancellation was pending, and settled it.
bool Agent::begin(Wait& w) noexcept {
    current_.store(reinterpret_cast<std::uintptr_t>(&w), memory_order_seq_cst); // a4; meets c2
    if (cancel_requested_.load(memory_order_seq_cst) && w.interruptible())      // a5; meets c1
        return !w.settle(Outcome::cancelled);
    return true;
}

void Agent::end(Wait& w) noexcept {
    std::uintptr_t mine = reinterpret_cast<std::uintptr_t>(&w);
    const std::uintptr_t alone = mine;
    // acq_rel: acquire meets unclaim(): the claimer has done reading; release: meets the next claim_current().
    for (int turns = 0; !current_.compare_exchange_weak(mine, 0, memory_order_acq_rel, memory_order_relaxed); ++turns) {
        mine = alone;
        turns < 100 ? cpu_relax() : os::yield_core(); // a claimer that lost its core must run to let go
    }
}

Wait* Agent::claim_current() const noexcept {
    for (int turns = 0;; ++turns) {
        std::uintptr_t seen = current_.load(memory_order_seq_cst); // c2; meets a4
        if (seen == 0) return nullptr;
        if (!(seen & claimed) &&
            // acquire: meets begin(): the Wait's fields are visible.
            current_.compare_exchange_weak(seen, seen | claimed, memory_order_acquire, memory_order_relaxed))
            return reinterpret_cast<Wait*>(seen);
        turns < 100 ? cpu_relax() : os::yield_core();
    }
}

void Agent::unclaim(Wait* w) const noexcept {
    // release: meets end(). Nobody else writes while the claim is held.
    current_.store(reinterpret_cast<std::uintptr_t>(w), memory_order_release);
}

void Agent::wait(Wait& w, Deadline deadline) {
    if (kind_ == AgentKind::coroutine) {
        report_blocking_call(w);
        current_thread_agent().wait(w, deadline);
        return;
    }
    bind(w, deadline);
    while (!w.step()) {
        if (begin(w)) park(w, w.interruptible() ? deadline : forever);
        end(w);
    }
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

void Agent::cancel() noexcept {
    cancel_requested_.store(true, memory_order_seq_cst); // c1; meets a5
    Wait* w = claim_current();
    if (!w) return;
    const bool won = w->interruptible() && w->settle(Outcome::cancelled);
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
