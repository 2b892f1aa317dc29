// All pools of the process: for its end, and for the child of a fork.
#pragma once

#include <sennit/base/intrusive_list.hpp>
#include <sennit/base/thread_safety.hpp>
#include <sennit/os/mutex.hpp>

#include <cstdint>
#include <memory>

namespace sennit::futures {

/// A pool whose threads the end of the process waits for. At that end, before static objects are destroyed, all pools are closed,
/// and then waited for one after the other, leaked ones, too: what was submitted is done. Python: concurrent.futures.thread._python_exit
class LivingPool : public base::ListNode {
  public:
    LivingPool(const LivingPool&) = delete;
    LivingPool& operator=(const LivingPool&) = delete;

    /// Whether the end has begun: pools made from now on are closed from the beginning.
    static bool process_ends() noexcept;

  protected:
    LivingPool() noexcept = default;
    ~LivingPool() = default;
    /// When it is made, and at the end of its life.
    void enter() noexcept;
    void leave() noexcept;

    /// Keeps it alive meanwhile; nullptr: it is being destroyed.
    virtual std::shared_ptr<LivingPool> hold() noexcept = 0;
    /// No more submits. Under the lock of all pools: waits for nothing.
    virtual void close_at_end() noexcept = 0;
    virtual void wait_at_end() noexcept = 0;
    /// In the child of a fork: its threads are the parent's.
    virtual void forget_threads() noexcept = 0;

  private:
    static void end_of_process() noexcept;
    static void before_fork() noexcept;
    static void after_fork_in_parent() noexcept;
    static void after_fork_in_child() noexcept;
    static os::Mutex lock;
    bool waited_for_ = false;
};

} // namespace sennit::futures
