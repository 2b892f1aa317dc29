#pragma once

#include <sennit/sync/event.hpp>
#include <sennit/sync/executor.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace sennit::futures {

namespace detail {
class ForkTeam;
}

struct ThreadPoolOptions {
    std::string thread_name_prefix = {};    ///< workers are called PREFIX_0, PREFIX_1, ...; "": ThreadPoolExecutor-N
    std::function<void()> initializer = {}; ///< runs first in each worker; when it throws, the pool is broken
    std::size_t stack_size = 0;             ///< bytes of a worker's stack; 0: the system's default
    bool cancel_at_exit = false;            ///< at the process's end, what has not begun is cancelled, not done
};

/// Runs callables on threads.                    Python: concurrent.futures.ThreadPoolExecutor
///
///     ThreadPoolExecutor pool(4);
///     auto answer = pool.submit([](int a, int b) { return a * b; }, 6, 7);
///     std::printf("%d\n", answer.result());
///
/// Threads start as they are needed, idle ones are used first, and stay until the end.
///
/// Agents    submit() and shutdown() from anywhere, at the same time, also from its own tasks.
/// Order     Tasks begin in the order in which they were submitted, as far as several workers have an order.
/// Nesting   A task may wait for another one of its own pool, however small that is: one that has not begun is run by who waits,
///           and while a worker waits for anything else of the pool another thread takes its place. So there are up to
///           max_workers that run, and more threads while some wait. Waiting for anything else (a lock, an event) is not seen.
/// Cancel    cancel() of a future that has not begun. Running tasks are not interrupted.
/// Lifetime  The destructor waits, as shutdown() does. In one of the pool's own tasks it can't, and only closes the pool: what
///           was submitted still runs. A pool that lives at the end of the process (a static one, one that leaked) is closed
///           when main() returns or exit() is called, before static objects are destroyed; what was submitted is done first.
///           In the child of a fork() it has no threads, and takes no more.
/// Cost      A task is one allocation with its future, and a lock of some ten nanoseconds to submit.
class ThreadPoolExecutor final : public sync::Executor {
    class Impl;

  public:
    /// For up to `max_workers` threads. Throws UsageError for 0.
    explicit ThreadPoolExecutor(std::size_t max_workers, ThreadPoolOptions options = {});
    /// For as many as Python takes: the CPUs that this process may use (its affinity and its control group's quota) and four
    /// more, at most 32.
    ThreadPoolExecutor();
    ~ThreadPoolExecutor() override;
    ThreadPoolExecutor(const ThreadPoolExecutor&) = delete;
    ThreadPoolExecutor& operator=(const ThreadPoolExecutor&) = delete;

    using Executor::shutdown;
    /// With `wait`, returns when all tasks have ended; after 5 s it says on stderr which still run, and goes on waiting.
    /// Throws UsageError when one of its own tasks asks to wait for itself.
    void shutdown(ShutdownOptions options) override;

    class ShutdownOp {
      public:
        ShutdownOp(std::shared_ptr<Impl> impl, ShutdownOptions options);
        bool try_now(Deadline deadline);
        void finish(wait::Agent& me);
        operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
        void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

      private:
        std::shared_ptr<Impl> impl_;
        ShutdownOptions options_;
        sync::Event::WaitOp op_;
    };
    /// The twin of shutdown() for coroutines. It says nothing on stderr; the pool may be destroyed meanwhile.
    sync::Awaitable<ShutdownOp> async_shutdown(ShutdownOptions options = {true, false});

    /// Numbers of one moment, for displays; each right by itself.
    struct Statistics {
        std::size_t max_workers = 0;
        std::size_t threads = 0; ///< alive now
        std::size_t idle = 0;    ///< of them, asleep without work
        std::size_t waiting = 0; ///< of them, in a task that waits for another one
        std::size_t queued = 0;  ///< tasks that no worker has taken yet (cancelled ones may count)
        std::uint64_t started = 0;
    };
    [[nodiscard]] Statistics statistics() const;

    // ---- for what is built on the pool (parallel_for, fork-join): a task without a future
    /// Queues a task of one's own: a class derived from sync::Task, wherever it lives; nothing is allocated for it. Exactly one
    /// of its three functions is called once, in a worker (run), or by who shuts down or breaks the pool. Throws UsageError
    /// after shutdown(), and then nothing is called.
    void enqueue(sync::Task& task) override;
    /// Whether the calling thread is one of this pool's workers.
    [[nodiscard]] bool is_worker() const noexcept;
    /// How many run at the same time at most.
    [[nodiscard]] std::size_t max_workers() const noexcept;

  private:
    friend class ForkEntry;
    // Those who share forks on this pool (fork_scope.hpp).
    detail::ForkTeam& fork_team() noexcept;

    std::shared_ptr<Impl> impl_; // the workers have it, too
};

} // namespace sennit::futures
