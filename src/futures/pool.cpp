#include <sennit/futures/pool.hpp>

#include "futures/process_pool_options.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/cpu_count.hpp>
#include <sennit/wait/agent.hpp>

namespace sennit::multiprocessing {

detail::WorkerPoolOptions& operator<<(detail::WorkerPoolOptions& to, const Initializer& from) {
    to.initializer = from.entry_;
    to.initargs = from.packed_;
    return to;
}

detail::WorkerPoolOptions detail::worker_pool_options(std::size_t processes, const ProcessPoolOptions& options,
                                                      const char* name) {
    WorkerPoolOptions to;
    to.processes = processes;
    if (!options.context.empty()) to.method = start_method_of(options.context);
    to << options.initializer;
    to.max_jobs_per_worker = options.maxtasksperchild;
    to.task_timeout_ns = options.task_timeout.count();
    to.memory_limit = options.memory_limit;
    to.retries = options.retries;
    to.progress = options.progress;
    to.name = name;
    return to;
}

void detail::help_towards(sync::FutureCore& future) {
    if (auto* const job = dynamic_cast<PoolJob*>(&future)) help(*job);
}

void detail::wait_for_end(WorkerPool& pool) noexcept {
    bool cancelled = false;
    for (;;) {
        try {
            pool.ended().wait();
            break;
        } catch (...) {
            cancelled = true;
        }
    }
    if (cancelled) wait::current_agent().cancel();
}

Pool::Pool() : Pool(static_cast<std::size_t>(os::usable_cpu_count())) {}

Pool::Pool(std::size_t processes, ProcessPoolOptions options)
    : callbacks_(std::make_shared<pool::detail::Callbacks>()) {
    if (processes < 1) throw UsageError("Pool: the number of processes must be at least 1, got 0");
    pool_ = detail::WorkerPool::make(detail::worker_pool_options(processes, options, "PoolWorker"));
}

Pool::~Pool() {
    if (!pool_->is_owner()) return; // of a fork's copy nothing has to end
    pool_->terminate();
    if (!pool_->is_server()) detail::wait_for_end(*pool_);
    pool_->leave();
}

void Pool::close() { pool_->close(); }

void Pool::terminate() { pool_->terminate(); }

void Pool::check_closed() const {
    if (!pool_->closed()) throw UsageError("Pool.join: the pool still takes work; close() or terminate() it first");
    detail::check_not_in_callback_of(callbacks_.get());
    if (pool_->is_server()) throw UsageError("Pool.join: a callback of the pool can't wait for the pool's end");
}

void Pool::join() {
    check_closed();
    pool_->ended().wait();
}

sync::Awaitable<sync::Event::WaitOp> Pool::async_join() {
    check_closed();
    return pool_->ended().async_wait();
}

void Pool::throw_bad_chunksize() { throw UsageError("Pool.imap: chunksize must be at least 1, got 0"); }

} // namespace sennit::multiprocessing
