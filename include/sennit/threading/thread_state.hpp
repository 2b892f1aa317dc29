// What a Thread, all references to it, and the running thread share.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/os/thread.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace sennit::threading {

class Thread;
class JoinOp;

namespace detail {

struct Threads;

/// One thread's life:
///
///   initial    not started                      start() -> started, or back when the system refuses
///   started    its function runs, or will       its end -> ended
///   ended      joiners go on; its stack is given back by who joins first, or by the last reference
///
/// Counted: each ThreadRef holds one reference, the running thread another. A thread's function and arguments lie behind it in
/// the same piece of memory (TargetState), so a thread costs one allocation.
class ThreadState : public base::ListNode {
  public:
    enum class Kind : std::uint8_t { made, main, foreign };
    enum class Phase : std::uint32_t { initial, started, ended };

    explicit ThreadState(Kind kind);
    ThreadState(const ThreadState&) = delete;
    ThreadState& operator=(const ThreadState&) = delete;

    void add_ref() noexcept { refs_.fetch_add(1, memory_order_relaxed); } // whoever adds one has one
    void drop_ref() noexcept {
        // acq_rel: release: what the others did with it comes before its end, which acquires.
        if (refs_.fetch_sub(1, memory_order_acq_rel) == 1) last_ref_gone();
    }

    /// Calls the function; once. Without one, nothing.
    virtual void call() {}
    /// Destroys the function and its arguments, which may be used no more. Twice is as once.
    virtual void drop_target() noexcept {}

    /// Starts it: calls face->run(), or call() if face is nullptr. Throws UsageError, OSError; then nothing has changed.
    void start(Thread* face, const char* face_type);
    /// For destructors: waits for the end, without being cancelled, and says for what when that takes long. False: gave up,
    /// because the thread waits for the caller (asked for by the end of the process alone).
    bool wait_to_the_end(const char* who, bool give_up_on_a_cycle) noexcept;

    [[nodiscard]] Phase phase() const noexcept { return phase_.load(memory_order_acquire); } // meets end()
    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    [[nodiscard]] bool daemon() const noexcept { return daemon_.load(memory_order_relaxed); }
    void set_daemon(bool daemon);
    [[nodiscard]] std::string name() const;
    void set_name(std::string_view name);
    [[nodiscard]] std::uintptr_t ident() const noexcept { return ident_.load(memory_order_relaxed); }
    [[nodiscard]] std::int64_t native_id() noexcept;
    /// While it runs: the type of the object whose run() it is in; nullptr if it needs no object.
    [[nodiscard]] const char* face_type() const noexcept { return face_type_; }

    // By Thread, before anybody else knows of it. `number` is that of the default name, for an empty `name`.
    void configure(std::string&& name, std::uint64_t number) noexcept {
        name_ = std::move(name);
        named_.store(!name_.empty(), memory_order_relaxed);
        number_ = number;
    }
    bool self_contained = false; // a class of ours whose run() needs nothing of the Thread object
    std::size_t stack_bytes = 0;

  protected:
    virtual ~ThreadState();

  private:
    friend class threading::JoinOp;
    friend struct Threads;

    static void* entry(void* state);
    static void left(os::ThreadExitHook& hook) noexcept;
    void begin_here() noexcept;
    void run_all();
    void end() noexcept;
    void reap() noexcept;
    void last_ref_gone() noexcept;
    [[nodiscard]] std::string default_name() const;
    [[nodiscard]] std::string quoted_name() const;
    // To be compared only.
    [[nodiscard]] const wait::Agent* agent() const noexcept {
        return reinterpret_cast<const wait::Agent*>(agent_.load(memory_order_relaxed) & ~claimed);
    }
    // 0: not in its function. Old news at once.
    [[nodiscard]] std::uint64_t agent_id() const noexcept { return agent_id_.load(memory_order_relaxed); }
    void set_agent(wait::Agent& agent) noexcept;
    void forget_agent() noexcept;
    void name_agent() noexcept;
    [[nodiscard]] bool waits_for(const wait::Agent& other) const;
    static std::uint64_t holder(const void* state) noexcept;
    static const wait::WaitSite join_site;

    struct ExitHook : os::ThreadExitHook {
        ThreadState* state = nullptr;
    };

    atomic<std::uint32_t> refs_{1};
    atomic<Phase> phase_{Phase::initial};
    Kind kind_;
    atomic<bool> daemon_{false};
    atomic<bool> reaped_{false};
    os::FutexWord native_id_{0};      // 0: not known yet; somebody_waits: nor that, and somebody waits for it
    atomic<std::uintptr_t> ident_{0}; // its handle; stored by the starter and by the thread itself, whoever is first
    Thread* face_ = nullptr;
    const char* face_type_ = nullptr;
    wait::WaitQueue joiners_;
    ExitHook exit_hook_;

    // The running thread's agent while it is in its function, else 0. Bit 0 is a claim: while somebody has set it, to name the
    // agent, the thread does not leave its function.
    static constexpr std::uintptr_t claimed = 1;
    atomic<std::uintptr_t> agent_{0};
    atomic<std::uint64_t> agent_id_{0};
    // Under the lock of Threads. The thread itself looks at named_ without it, after it has set agent_: either it sees the name
    // or who sets the name sees the agent.
    atomic<bool> named_{false};
    std::uint64_t number_ = 0; // in the default name
    std::string name_;
};

/// A counted reference.
class StatePtr {
  public:
    StatePtr() noexcept = default;
    static StatePtr adopt(ThreadState* state) noexcept { return StatePtr(state); }
    static StatePtr share(ThreadState& state) noexcept {
        state.add_ref();
        return StatePtr(&state);
    }
    StatePtr(const StatePtr& other) noexcept : state_(other.state_) {
        if (state_) state_->add_ref();
    }
    StatePtr(StatePtr&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    StatePtr& operator=(StatePtr other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~StatePtr() {
        if (state_) state_->drop_ref();
    }
    ThreadState* get() const noexcept { return state_; }
    ThreadState* operator->() const noexcept { return state_; }
    ThreadState& operator*() const noexcept { return *state_; }
    explicit operator bool() const noexcept { return state_ != nullptr; }

  private:
    explicit StatePtr(ThreadState* state) noexcept : state_(state) {}
    ThreadState* state_ = nullptr;
};

} // namespace detail

/// The wait of join().
class JoinOp final : public wait::Wait {
  public:
    explicit JoinOp(detail::StatePtr thread) noexcept;
    /// Throws UsageError when it can't be joined, or not by this thread.
    bool try_now(Deadline deadline);
    bool step() noexcept override;
    bool finish(wait::Agent& me);
    /// The quick way, for a thread that joins without a deadline: true when done. The system wakes it as the other thread goes,
    /// instead of the other thread first and then the system. False: not possible here, wait as usual.
    bool join_with_system(wait::Agent& me) noexcept;

  private:
    friend class detail::ThreadState;
    void make_uninterruptible() noexcept { interruptible_ = false; }

    detail::StatePtr thread_;
    bool linked_ = false;
    bool woken_ = false;
    bool cancelled_ = false;
};

} // namespace sennit::threading
