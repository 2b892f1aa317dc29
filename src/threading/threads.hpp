// All threads that live, and the end of the process.
#pragma once

#include <sennit/os/mutex.hpp>
#include <sennit/threading/thread_ref.hpp>

#include <cstddef>
#include <vector>

namespace sennit::threading::detail {

/// Never destroyed: threads live until the very end of the process.
struct Threads {
    /// Guards the list and the threads' names. Held across a fork. wait::Registry's lock may be taken while it is held.
    static os::Mutex lock;

    /// Puts a thread into the list, when it starts. Throws UsageError when the process has come to its very end.
    static void add(ThreadState& thread);
    static void remove(ThreadState& thread) noexcept;
    static std::vector<ThreadRef> all();
    static std::size_t count();

    /// The state of the thread that calls; one that sennit did not start becomes known.
    static ThreadState& current();
    /// The same, or nullptr for one that is not known.
    static ThreadState* current_or_null() noexcept;
    static void set_current(ThreadState* thread) noexcept;
    static ThreadState& main();
    static ThreadRef ref(ThreadState& thread) { return ThreadRef(StatePtr::share(thread)); }

    /// `run` is called when the process begins to end, before its threads are waited for. One only.
    static void before_the_end(void (*run)() noexcept) noexcept;
    /// Waits for the threads that are no daemons, and holds the others.
    static void end_of_process() noexcept;
    static void last_handler() noexcept;

  private:
    static void handle_fork_and_end();
    static void before_fork() noexcept;
    static void after_fork_in_parent() noexcept;
    static void after_fork_in_child() noexcept;
    static void ended_with_fork(ThreadState& thread) noexcept;
};

} // namespace sennit::threading::detail
