// The processes behind Pool and ProcessPoolExecutor, without templates: jobs are bytes, and so are their results.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/child.hpp>
#include <sennit/multiprocessing/entry.hpp>
#include <sennit/multiprocessing/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sennit::sync {
class Event;
}

namespace sennit::multiprocessing {

/// Numbers of a pool at one moment.
struct PoolStatistics {
    std::size_t processes = 0;   ///< alive now
    std::size_t waiting = 0;     ///< jobs that no worker has got yet
    std::size_t handed_out = 0;  ///< jobs that workers have
    std::uint64_t submitted = 0; ///< jobs, since the beginning
    std::uint64_t settled = 0;   ///< of them, those with a result or an error
    std::uint64_t started = 0;   ///< workers, since the beginning
    std::uint64_t died = 0;      ///< of them, those that ended in the middle of a job
};

namespace detail {

struct PoolWorker;

/// A piece of work of a pool, typed above: what goes to the worker, and what becomes of it. The pool calls begin() once, and then
/// settle() or fail() once; or cancel(); and at last drop().
class PoolJob {
  public:
    PoolJob() noexcept = default;
    PoolJob(const PoolJob&) = delete;
    PoolJob& operator=(const PoolJob&) = delete;

    /// It is about to be handed to a worker. False: it was cancelled.
    virtual bool begin() noexcept = 0;
    /// The result's bytes have come. Empty where they went to `target`.
    virtual void settle(CargoReader& result) noexcept = 0;
    virtual void fail(std::exception_ptr error) noexcept = 0;
    virtual void cancel() noexcept = 0;
    virtual void drop() noexcept = 0;

    /// What runs in the worker: reads `arguments`, and then `bulk`, as one.
    Entry entry = nullptr;
    /// Keeps what was packed. Throws bad_alloc.
    void take_arguments(CargoWriter& packed);
    /// Bytes of the caller's, which live as long as the job.
    std::span<const std::byte> bulk;
    /// Where a result goes whose entry has marked it as raw, if it has this size.
    std::span<std::byte> target;

  protected:
    ~PoolJob();

  private:
    friend class WorkerPoolImpl;
    friend class JobList;
    friend struct PoolWorker;
    friend void abandon(PoolJob&) noexcept;
    friend void help(PoolJob&);
    static constexpr std::size_t small_bytes = 48;
    [[nodiscard]] std::span<const std::byte> arguments() const noexcept;

    PoolJob* next_ = nullptr;
    PoolWorker* worker_ = nullptr; // who has it
    PoolWorker* helped_ = nullptr; // whose answer its submitter looks for: that thread's own
    std::unique_ptr<CargoWriter> cargo_;
    std::uint64_t number_ = 0;
    std::uint32_t bytes_ = 0;
    std::uint32_t attempt_ = 0;
    bool begun_ = false;
    bool abandoned_ = false; // under the pool's lock
    std::uint32_t pool_ = 0; // its number
    alignas(16) std::byte small_[small_bytes];
};

struct WorkerPoolOptions {
    std::size_t processes = 1;
    bool all_at_once = true; ///< start all workers now, and not only as they are needed
    std::optional<StartMethod> method;
    Entry initializer = nullptr; ///< runs first in each worker
    std::shared_ptr<CargoWriter> initargs;
    std::size_t max_jobs_per_worker = 0; ///< 0: any number
    std::int64_t task_timeout_ns = 0;    ///< 0: none
    std::uint64_t memory_limit = 0;      ///< bytes of address space; 0: none
    std::uint32_t retries = 0;
    std::function<void(const PoolStatistics&)> progress;
    std::string name;
    std::size_t ring_bytes = std::size_t{512} * 1024; ///< a power of two
};

/// By who has cancelled a job that a pool had begun (and owns a reference): nobody wants its result. A worker that runs it is killed,
/// and this job alone goes with it; elsewhere it is passed over. Does nothing when the pool is gone.
void abandon(PoolJob& job) noexcept;

/// By who is about to wait without a deadline for a job that was submitted some time ago (and owns a reference), any number of threads: as
/// WorkerPool::help(), if it is all that its worker has. Else nothing.
void help(PoolJob& job);

/// See worker_pool.cpp for how it works.
///
/// Agents    Every member, at the same time, from anywhere.
class WorkerPool {
  public:
    static std::shared_ptr<WorkerPool> make(WorkerPoolOptions options);
    virtual ~WorkerPool() = default;

    /// Takes over a reference, which drop() gives back. Throws UsageError after close(), and then nothing was taken; a pool that is
    /// broken fails the job. `helps`: help() follows.
    virtual void submit(PoolJob& job, bool helps = false) = 0;
    /// By who has submitted the job so, and waits for it: waits for the worker's answer itself, as far as it can. The job may be
    /// done then, or not: its future knows. Throws what a cancelled wait throws.
    virtual void help(PoolJob& job) = 0;
    /// No more jobs. The workers end when all are done.
    virtual void close() noexcept = 0;
    /// The workers are killed; what is not done is cancelled.
    virtual void terminate() noexcept = 0;
    /// Cancels what no worker has got.
    virtual void cancel_waiting() noexcept = 0;
    [[nodiscard]] virtual bool closed() const noexcept = 0;
    /// Set when all workers are gone after close() or terminate().
    [[nodiscard]] virtual sync::Event& ended() noexcept = 0;
    /// By the owner, once, at last: waits for the pool's thread, which has set ended(), unless it is the caller.
    virtual void leave() noexcept = 0;
    /// Whether the calling thread is the one that serves the pool: a callback.
    [[nodiscard]] virtual bool is_server() const noexcept = 0;
    [[nodiscard]] virtual std::size_t processes() const noexcept = 0;
    [[nodiscard]] virtual PoolStatistics statistics() const = 0;
    /// The workers' numbers.
    [[nodiscard]] virtual std::vector<int> pids() const = 0;
    /// Whether this is the process that made the pool.
    [[nodiscard]] virtual bool is_owner() const noexcept = 0;
};

/// A CargoWriter to pack a job's arguments into: the thread's own, whose memory is there already, unless that is in use.
class PackScratch {
  public:
    PackScratch();
    ~PackScratch();
    PackScratch(const PackScratch&) = delete;
    PackScratch& operator=(const PackScratch&) = delete;
    CargoWriter& operator*() const noexcept { return *writer_; }

  private:
    CargoWriter* writer_;
    mutable CargoWriter own_;
};

/// In a worker, by an entry: its result is these bytes, which it has written, and nothing else: they go to the job's `target`.
void mark_result_raw() noexcept;

[[noreturn]] void throw_no_workers(const char* whose);

} // namespace detail
} // namespace sennit::multiprocessing
