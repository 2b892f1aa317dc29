#pragma once

#include <sennit/threading/thread_state.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::threading {

/// A thread that somebody runs: what there is to know of it, and joining it. current_thread() and enumerate() give it; a Thread
/// is one, too. Copies are cheap and mean the same thread, also when its Thread object has gone.
/// Python: a reference to a Thread object
///
/// Agents    Every member, at the same time, from anywhere.
/// Blocks    join() parks the agent, async_join() suspends the coroutine. Nothing else waits.
/// Order     What the thread did is visible after join() gave true, or is_alive() false after a start.
/// Cancel    A cancelled join() throws CancelledError; the thread knows nothing of it. An OS thread that joins without a
///           deadline is cancelled at its next wait after that.
class ThreadRef {
  public:
    /// As given, else "Thread-N" with N counted from 1, "MainThread", or "Dummy-N" for a thread that sennit did not start.
    [[nodiscard]] std::string name() const;
    /// Also while it runs. The kernel (top, gdb) shows the first 15 bytes of a name that was given.
    void set_name(std::string_view name);
    /// Whether the process's end does not wait for it.
    [[nodiscard]] bool daemon() const;
    /// Before start() only: UsageError afterwards.
    void set_daemon(bool daemon);
    /// From start() until it has ended.
    [[nodiscard]] bool is_alive() const noexcept;
    /// The thread's number in this process (pthread_self); 0 before start(). Used again after its end.
    [[nodiscard]] std::uintptr_t ident() const noexcept;
    /// The kernel's id of it (gettid); 0 before start(). Right after start() it waits for the thread's first instructions.
    [[nodiscard]] std::int64_t native_id() const noexcept;

    /// Waits for the thread's end: true once its function, its local values and its thread_locals are gone. False at the
    /// deadline. Any number may join, any number of times; joining the main thread waits for the beginning of the process's end.
    /// Throws UsageError before start(), in the thread itself, and for a thread that sennit did not start.
    bool join(Deadline deadline = forever) const;
    /// The twin of join() for coroutines.
    sync::Awaitable<JoinOp> async_join(Deadline deadline = forever) const;

    /// The same thread.
    friend bool operator==(const ThreadRef& a, const ThreadRef& b) noexcept { return a.state_.get() == b.state_.get(); }

    // No moves: a ThreadRef made from a Thread leaves that what it was.
    ThreadRef(const ThreadRef&) = default;
    ThreadRef& operator=(const ThreadRef&) = default;
    ~ThreadRef() = default;

  protected:
    explicit ThreadRef(detail::StatePtr state) noexcept : state_(static_cast<detail::StatePtr&&>(state)) {}
    /// Throws UsageError if there is none: a Thread that was moved from.
    detail::ThreadState& state(const char* call) const;

    detail::StatePtr state_;

  private:
    friend struct detail::Threads;
};

/// The thread that calls this; from a coroutine or a green thread, the one that runs it. A thread that sennit did not start
/// becomes known by its first call: a daemon by the name of Dummy-N, until it ends.
ThreadRef current_thread();
/// The thread that runs main(); in the child of a fork() the one that forked.
ThreadRef main_thread();
/// All threads that live: the main one, those that sennit started, and the others that have called current_thread().
std::vector<ThreadRef> enumerate();
/// How many enumerate() would give.
std::size_t active_count();
/// The calling thread's number: current_thread().ident(), without making it known.
std::uintptr_t get_ident() noexcept;
/// The calling thread's id in the kernel.
std::int64_t get_native_id() noexcept;

} // namespace sennit::threading
