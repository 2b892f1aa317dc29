// One wait of one agent for one object, and the rule that decides how it ends.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/intrusive_list.hpp>

#include <cstdint>
#include <utility>

namespace sennit::wait {

class Agent;
class Wait;

/// How a wait stands, or how it ended.
enum class Outcome : std::uint8_t {
    waiting,   // not settled
    woken,     // a notifier took it: whatever it handed over is the waiter's now
    timed_out, // the deadline passed first
    cancelled, // somebody cancelled the agent first
};

/// What kind of wait this is, for the list of agents and the search for deadlocks. One static object per call.
struct WaitSite {
    const char* object; // "Lock"
    const char* call;   // "acquire"
    /// The id of the agent that holds the object now; 0: nobody, or the object can't tell.
    std::uint64_t (*holder)(const void* object) noexcept = nullptr;
};

/// How a wait ends, and what the list of agents tells about it: of itself a wait for nothing but time.
///
/// It lies in the frame (stack or coroutine frame) of an agent that waits. One atomic state, and one rule that carries every primitive of sennit:
///
///     waiting --> woken | timed_out | cancelled      by compare-exchange, so exactly one party wins
///
/// * Who wins has the duty to unpark the agent (unless it is the agent itself), once, as the last touch.
/// * A notifier that loses goes on to the next waiter: a time-out or a cancellation that races with a notification can
///   never swallow it.
/// * A waiter that loses against a notifier (its deadline passed, but `woken` came first) waits for the unpark all the
///   same: so nobody else touches the node, or the object, once the agent goes on.
/// * A waiter that wins by itself unlinks itself from its queue, under the queue's lock.
///
/// tests/model/waiter.pml proves the rule; tests/model runs this code under a seeded scheduler.
class Pause {
  public:
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

    /// Ends the wait with `how`, if nothing else has. True for the one who did.
    bool settle(Outcome how) noexcept {
        Outcome expected = Outcome::waiting;
        // acq_rel: release hands over what the winner did before (the grant, the item); acquire lets a winner that
        // goes on to read the node see what its agent wrote when it armed it. Meets outcome() and arm().
        return state_.compare_exchange_strong(expected, how, memory_order_acq_rel, memory_order_acquire);
    }
    /// acquire: meets settle(). What the winner did before is visible.
    [[nodiscard]] Outcome outcome() const noexcept { return state_.load(memory_order_acquire); }

    [[nodiscard]] inline const WaitSite& site() const noexcept;
    /// CLOCK_MONOTONIC nanoseconds when the wait began; of a wait for nothing but time to about a millisecond.
    [[nodiscard]] inline std::int64_t since_ns() const noexcept;
    [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }
    /// False while neither deadline nor cancellation may end it (Condition taking its lock again).
    [[nodiscard]] bool interruptible() const noexcept { return interruptible_; }
    /// Whether it is a Wait, that goes on by steps.
    [[nodiscard]] bool has_steps() const noexcept { return has_steps_; }

  protected:
    explicit Pause(bool has_steps = false) noexcept : has_steps_(has_steps) {}
    /// One that has not begun: so what co_await would begin can be handed to a task first.
    Pause(Pause&& unbegun) noexcept
        : interruptible_(unbegun.interruptible_), has_steps_(unbegun.has_steps_), deadline_(unbegun.deadline_) {}
    ~Pause() = default;

    /// Makes the node ready to wait (again). By the agent itself, before it links the node.
    /// relaxed: linking happens under the queue's lock, which orders it for every notifier.
    void arm() noexcept { state_.store(Outcome::waiting, memory_order_relaxed); }

    /// Before it begins.
    void set_deadline(Deadline deadline) noexcept { deadline_ = deadline; }
    bool interruptible_ = true;

  private:
    friend class Agent;
    // A million sleepers have one each: 16 bytes. The time of its beginning, which only the list of agents shows, in units of 2^20 ns.
    static constexpr int since_shift = 20;
    const bool has_steps_;
    atomic<Outcome> state_{Outcome::waiting};
    plain<std::uint32_t> since_units_ = 0;
    plain<Deadline> deadline_;
};
static_assert(sizeof(plain<Deadline>) != sizeof(Deadline) || sizeof(Pause) == 16);

/// A wait for an object: a node in its queue.
class Waiter : public Pause, public base::ListNode {
  public:
    [[nodiscard]] Agent& agent() const noexcept { return *agent_; }
    [[nodiscard]] const void* object() const noexcept { return object_; }
    /// How many times a thread may look for the wake-up before it sleeps; 0 where a wake-up is not imminent.
    [[nodiscard]] std::uint32_t spins() const noexcept { return spins_; }

  protected:
    Waiter(const void* object, const WaitSite& site) noexcept : Pause(true), site_(&site), object_(object) {}
    Waiter(Waiter&& unbegun) noexcept
        : Pause(std::move(unbegun)),
          ListNode(),
          spins_(unbegun.spins_),
          site_(unbegun.site_),
          object_(unbegun.object_) {}
    ~Waiter() = default;
    /// Begins to count the waiting time anew, for a wait of several parts. By the agent itself, within step().
    void restart_since() noexcept { since_ns_ = base::monotonic_ns(); }

    std::uint16_t spins_ = 0;

  private:
    friend class Agent;
    friend class Pause;
    const WaitSite* site_;
    plain<Agent*> agent_ = nullptr;
    plain<std::int64_t> since_ns_ = 0;
    const void* object_;
};

namespace detail {
// Of waits for nothing but time; a deadline that polls is a turn of the loop.
inline constexpr WaitSite sleep_site{"asyncio", "sleep", nullptr};
inline constexpr WaitSite turn_site{"asyncio", "sleep(0)", nullptr};
} // namespace detail

inline const WaitSite& Pause::site() const noexcept {
    if (has_steps_) return *static_cast<const Waiter*>(this)->site_;
    return deadline().is_poll() ? detail::turn_site : detail::sleep_site;
}

inline std::int64_t Pause::since_ns() const noexcept {
    if (has_steps_) return static_cast<const Waiter*>(this)->since_ns_;
    const std::int64_t now = base::monotonic_ns() >> since_shift;
    const auto age = static_cast<std::uint32_t>(static_cast<std::uint32_t>(now) - since_units_); // of 52 days at most
    return (now - age) << since_shift;
}

/// A call that may wait, as a small state machine: the one form in which every primitive is written, whoever waits.
///
/// A blocking agent runs it as `while (!step()) park();`, a coroutine returns to its loop between two steps. So a wait
/// of several parts (Condition: wait, then take the lock again) or with retries (Lock: woken, but overtaken) is written
/// once for all kinds of agents.
class Wait : public Waiter {
  public:
    /// Goes on as far as it can without waiting. False: linked in a queue, armed; call again once settled.
    /// By the agent itself. Never throws: what went wrong is kept and thrown at the face.
    virtual bool step() noexcept = 0;

    /// A word in memory that processes share, on which the wait depends: a thread that parks looks again (step(), settled
    /// `woken` by itself) when it no longer has outside_value(), and every look_again_ns whatever it has. nullptr: none.
    [[nodiscard]] atomic<std::uint32_t>* outside() const noexcept { return outside_; }
    [[nodiscard]] std::uint32_t outside_value() const noexcept { return outside_value_; }
    static constexpr std::int64_t look_again_ns = 100'000'000;
    /// The coroutine to resume once the wait has ended (see sync::detail::continuation_of); nullptr in a blocking wait.
    [[nodiscard]] void* continuation() const noexcept { return continuation_; }
    void set_continuation(void* handle_address) noexcept { continuation_ = handle_address; }

  protected:
    using Waiter::Waiter;
    Wait(Wait&& unbegun) noexcept
        : Waiter(std::move(unbegun)), outside_value_(unbegun.outside_value_), outside_(unbegun.outside_) {}
    ~Wait() = default;
    std::uint32_t outside_value_ = 0;
    atomic<std::uint32_t>* outside_ = nullptr;

  private:
    void* continuation_ = nullptr;
};

} // namespace sennit::wait
