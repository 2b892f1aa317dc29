// Whoever can wait: an OS thread, a green thread, a coroutine on an event loop.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/wait/agent_local.hpp>
#include <sennit/wait/waiter.hpp>

#include <cstdint>
#include <string_view>

namespace sennit::wait {

enum class AgentKind : std::uint8_t { thread, green_thread, coroutine };

/// The seam between what one waits for (sync/) and who waits (threading/, gevent/, asyncio/). The former calls wait(),
/// suspend() and Waiter::settle() + unpark(); the latter implement park(), suspend() and unpark(). Neither knows more.
///
/// Agents    wait(), suspend() and take_cancel() by the agent itself; unpark(), cancel() and describe() by anybody.
/// Lifetime  An agent outlives every call on it; it is not destroyed while it waits.
class Agent : public base::ListNode {
  public:
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;

    [[nodiscard]] AgentKind kind() const noexcept { return kind_; }
    /// A number that no other agent of this process has or had.
    [[nodiscard]] std::uint64_t id() const noexcept { return std::uint64_t(id_high_) << 32 | id_low_; }

    /// Whether it may look a few times more before it parks: it keeps nobody else from running by that but who wants its
    /// core. Green threads and coroutines may not: what they wait for may be another's of the same loop.
    [[nodiscard]] bool may_spin() const noexcept { return kind_ == AgentKind::thread; }

    /// Runs `w` to its end, parking as often as needed. At the deadline, or when cancelled, the wait is settled so and
    /// its last step sees that. In a coroutine this stops the whole loop: it is reported (see on_blocking_call), and
    /// the OS thread parks.
    /// Blocks    The agent.
    void wait(Wait& w, Deadline deadline);

    /// For an OS thread that waits by other means than park(), in block(w): `w`, which is not interruptible, only shows what
    /// for. Neither a deadline nor a cancellation ends it.
    void wait_outside(Wait& w, void (*block)(Wait&) noexcept) noexcept;

    /// The coroutine's form: starts `w`. False: it has ended already, go on. True: suspended; the agent's loop calls
    /// resume_step() whenever the wait has been settled, and resumes the coroutine once that gives true.
    /// Throws UsageError when this agent can't suspend (a coroutine awaited something outside of any event loop).
    bool suspend(Wait& w, Deadline deadline);

    /// A coroutine's wait for nothing but time, after which it goes on at `handle_address`. False: a cancellation was asked for
    /// before: go on, `w` says so.
    bool sleep(Pause& w, Deadline until, void* handle_address) noexcept {
        continue_with(handle_address);
        return begin_pause(w, until);
    }

    /// Wakes the agent that armed `w`. Called once by who won `w`, outside of every lock, as its last touch of both.
    /// Never waits. From a signal handler: no. After a cancellation `w` is still linked in its object's queue: a ready
    /// list needs a node of its own.
    virtual void unpark(Pause& w) noexcept = 0;

    /// Asks for cancellation: the wait that the agent is in, or else the next one that it really has to wait in, ends
    /// `cancelled`, once. From anywhere, any time while the agent lives. Never waits.
    void cancel() noexcept;
    /// True once after a cancellation was asked for; clears the request. By the agent itself.
    bool take_cancel() noexcept;
    [[nodiscard]] bool cancel_requested() const noexcept;
    /// Throws what a cancelled wait throws in this kind of agent; clears the request. Default: CancelledError.
    [[noreturn]] virtual void throw_cancelled();

    /// The list of agents shows at most 31 bytes. Thread-safe.
    void set_name(std::string_view name) noexcept;

    /// What an agent is doing, copied out for the list of agents.
    struct Snapshot {
        const Agent* agent = nullptr;
        std::uint64_t id = 0;
        AgentKind kind = AgentKind::thread;
        char name[32] = {};
        std::int64_t native_id = 0;     // the OS thread (gettid); 0 where none is fixed
        const WaitSite* site = nullptr; // nullptr: does not wait
        const void* object = nullptr;   // what it waits for
        std::uint64_t holder = 0;       // the id of who holds that; 0: nobody or unknown. It may have ended
        std::int64_t since_ns = 0;      // since when (CLOCK_MONOTONIC)
        std::int64_t deadline_ns = forever.monotonic_ns(); // when the wait ends by itself
        bool has_deadline = false;                         // whether it does
        std::uint64_t wait = 0; // the how manieth wait of this agent it is: tells two of them apart
        bool settled = false;   // it has been woken, timed out or cancelled, and has not gone on yet
        bool parked = false;    // it really sleeps (not: about to)
    };
    [[nodiscard]] Snapshot snapshot() const noexcept;

    /// Destroys the agent's local values, newest first, and those that this makes. By the agent itself, when its function has
    /// ended; who forgets has them destroyed with the agent, by whoever does that.
    void end_locals() noexcept {
        if (has_locals_) end_locals_slow();
    }

  protected:
    explicit Agent(AgentKind kind) noexcept;
    /// The end of the most derived one calls end_locals() where locals_place() is overridden.
    ~Agent() { end_locals(); }

    /// Sleeps until `w` is settled, or settles it itself at the deadline.
    /// Contract: returns true when somebody else settled it (and has called unpark), false when this call did.
    virtual bool park(Wait& w, Deadline deadline) noexcept = 0;
    /// Coroutine kinds: from now on the loop settles `w` as `timed_out` when the deadline comes (and then, like everybody
    /// who wins, sees to it that resume_step is called). A deadline of forever arms nothing.
    virtual void arm_timer(Pause&, Deadline) noexcept {}
    virtual void disarm_timer(Pause&) noexcept {}
    /// Coroutine kinds, by the loop, once after `w` has been settled: the next step. True: ended, resume
    /// w.continuation(). False: it waits again, unpark() will come again.
    bool resume_step(Wait& w) noexcept;
    /// Coroutine kinds: what sleep() is to resume.
    virtual void continue_with(void*) noexcept {}
    /// The same two for a wait for nothing but time. False: a cancellation was asked for before, and has ended it.
    bool begin_pause(Pause& w, Deadline deadline) noexcept;
    void end_pause(Pause& w) noexcept;
    virtual std::int64_t native_id() const noexcept { return 0; }
    /// The wait the agent is in; nullptr: none. On the thread where the agent runs: it can't leave it meanwhile.
    [[nodiscard]] Pause* current_wait() const noexcept {
        return reinterpret_cast<Pause*>(current_.load(memory_order_relaxed) & ~claimed);
    }
    /// Keeps a name, and copies it (the first 31 bytes and a 0). Under the lock of the list of agents. Default: no name.
    virtual void keep_name(std::string_view) noexcept {}
    virtual void copy_name(char (&to)[32]) const noexcept { to[0] = '\0'; }

  private:
    // `current_` is the wait the agent is in, with bit 0 as a claim: whoever set the bit may read the Pause, and the agent
    // does not leave the wait until the bit is gone.
    static constexpr std::uintptr_t claimed = 1;
    Pause* claim_current() const noexcept;
    void unclaim(Pause* w) const noexcept;
    void bind(Pause& w, Deadline deadline) noexcept;
    void bind(Wait& w, Deadline deadline) noexcept;
    bool begin(Pause& w) noexcept;
    bool advance(Wait& w) noexcept;
    void end(Pause& w) noexcept;

    // Of a million tasks each has these: no byte of padding, and the rest of the last word is the derived class's.
    mutable atomic<std::uintptr_t> current_{0};
    std::uint32_t id_low_;
    std::uint16_t id_high_; // 2^48: ten million a second for 325 days
    AgentKind kind_;
    atomic<bool> cancel_requested_{false};
    std::uint16_t waits_ = 0; // changed by the agent outside of a wait, read under a claim

  protected:
    atomic<bool> parked_{false}; // for snapshot() and tests: relaxed hints

  private:
    // Changed by the agent itself, with its table of locals under the lock of all keys. The table is where locals_place() says.
    bool has_locals_ = false;
    void end_locals_slow() noexcept;
    /// Where the agent keeps its table of locals; nullptr: in a table of all such agents, which takes a lock and no room here.
    virtual AgentLocalTable** locals_place() noexcept { return nullptr; }

    friend class Registry;
    friend class AgentLocalKey;
};

inline AgentLocal* AgentLocalKey::find(Agent& agent) const noexcept {
    if (!agent.has_locals_) return nullptr;
    AgentLocalTable** const place = agent.locals_place();
    const AgentLocalTable* const table = place ? *place : table_beside(agent);
    const std::uint32_t index = index_.load(memory_order_relaxed); // the agent has seen it when it made its value
    return index < table->size ? table->values[index] : nullptr;
}

namespace detail {
// Who runs on this OS thread now. An event loop sets it while it runs a coroutine. nullptr: a thread that has not met
// sennit yet. constinit + inline: one load, no wrapper call.
inline constinit thread_local Agent* current = nullptr;
Agent& adopt_thread() noexcept;
// The same for a thread that sennit has just started: with its name, and whether the process's end holds it (ProcessEnd).
Agent& adopt_new_thread(std::string_view name, bool held_at_end) noexcept;
// In the child of a fork: the thread that forked has another id now.
void thread_after_fork() noexcept;
} // namespace detail

/// The agent that calls this. A thread that was not made by sennit becomes an agent at its first call.
/// Never fails, allocates nothing. Cost: one thread-local load.
inline Agent& current_agent() noexcept {
    if (Agent* a = detail::current) [[likely]]
        return *a;
    return detail::adopt_thread();
}
/// The same, or nullptr for a thread that never waited.
inline const Agent* current_agent_or_null() noexcept { return detail::current; }
/// The agent of the OS thread below, also while a coroutine runs on it.
Agent& current_thread_agent() noexcept;

/// What happens when a blocking call would stop an event loop's thread. `warn`, the default: a line and the stack on stderr,
/// once per call site (object and call). `raise`, the default of a library built with SENNIT_DEBUG: a UsageError.
enum class BlockingCallPolicy : std::uint8_t { ignore, warn, raise };
void set_blocking_call_policy(BlockingCallPolicy policy) noexcept;
BlockingCallPolicy blocking_call_policy() noexcept;

} // namespace sennit::wait
