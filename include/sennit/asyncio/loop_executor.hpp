#pragma once

#include <sennit/loop/event_loop.hpp>
#include <sennit/sync/executor.hpp>

#include <memory>

namespace sennit::asyncio {

/// An event loop as an Executor: what is submitted, from any thread, is called by the loop, one at a time, in the order in which it
/// came. So the same program text runs on threads, processes and a loop.
///
///     LoopExecutor on_loop(EventLoop::running());
///     pool.submit([&] { on_loop.submit(show, work()); });
///
/// For coroutines use run_coroutine_threadsafe().
///
/// Agents    submit() and shutdown() from anywhere, at the same time.
/// Blocks    shutdown() and the destructor, until all has run. On the loop's own thread, where that can't be waited for, they cancel
///           what has not begun.
/// Lifetime  The loop outlives submit(). What the loop has not run when it is closed is cancelled.
/// Cost      One small allocation more than the task, and a wake-up if the loop sleeps.
class LoopExecutor final : public sync::Executor {
  public:
    explicit LoopExecutor(loop::EventLoop& loop);
    ~LoopExecutor() override;
    LoopExecutor(const LoopExecutor&) = delete;
    LoopExecutor& operator=(const LoopExecutor&) = delete;

    using Executor::shutdown;
    void shutdown(ShutdownOptions options) override;

  protected:
    void enqueue(sync::Task& task) override;

  private:
    struct State;
    class Entry;
    loop::EventLoop& loop_;
    std::shared_ptr<State> state_;
};

} // namespace sennit::asyncio
