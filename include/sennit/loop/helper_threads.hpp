// Threads for what would stop an event loop.
#pragma once

#include <sennit/os/thread.hpp>
#include <sennit/sync/executor.hpp>
#include <sennit/sync/lock.hpp>
#include <sennit/sync/queue.hpp>

#include <cstddef>

#include <vector>

namespace sennit::loop {

/// The default executor of an event loop: blocking calls (files, name look-ups, somebody's library), a thread for each that runs
/// at the same time, as many as are needed and at most `most`. For work that keeps the cores busy use a ThreadPoolExecutor.
///
/// Agents    submit() from anywhere, at the same time.
/// Blocks    shutdown() and the destructor, until all tasks have run.
/// Cost      A thread the first time, then a queue of sync/ each way.
class HelperThreads final : public sync::Executor {
  public:
    explicit HelperThreads(std::size_t most);
    /// As many as Python's: the cores + 4, at most 32.
    HelperThreads();
    ~HelperThreads() override;

    using Executor::shutdown;
    void shutdown(ShutdownOptions options) override;

  protected:
    /// Throws OSError when there is no thread yet and the system refuses one.
    void enqueue(sync::Task& task) override;

  private:
    void work() noexcept;

    sync::Queue<sync::Task*> tasks_;
    sync::Lock lock_; // guards threads_
    std::vector<pthread_t> threads_;
    const std::size_t most_;
    atomic<std::size_t> idle_{0}; // how many wait for a task; relaxed: a hint
};

} // namespace sennit::loop
