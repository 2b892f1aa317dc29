#include <sennit/futures/process_pool_executor.hpp>

#include "futures/process_pool_options.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/cpu_count.hpp>

namespace sennit::futures {

ProcessPoolExecutor::ProcessPoolExecutor() : ProcessPoolExecutor(static_cast<std::size_t>(os::usable_cpu_count())) {}

ProcessPoolExecutor::ProcessPoolExecutor(std::size_t max_workers, ProcessPoolExecutorOptions options) {
    if (max_workers < 1) throw UsageError("ProcessPoolExecutor: max_workers must be at least 1, got 0");
    multiprocessing::ProcessPoolOptions pool;
    pool.initializer = std::move(options.initializer);
    pool.maxtasksperchild = options.max_tasks_per_child;
    pool.context = std::move(options.mp_context);
    pool.task_timeout = options.task_timeout;
    pool.memory_limit = options.memory_limit;
    pool.retries = options.retries;
    auto how = multiprocessing::detail::worker_pool_options(max_workers, pool, "ProcessPoolWorker");
    how.all_at_once = false;
    pool_ = multiprocessing::detail::WorkerPool::make(std::move(how));
}

ProcessPoolExecutor::~ProcessPoolExecutor() {
    if (!pool_->is_owner()) return; // of a fork's copy nothing has to end
    pool_->close();
    if (!pool_->is_server()) multiprocessing::detail::wait_for_end(*pool_);
    pool_->leave();
}

void ProcessPoolExecutor::shutdown(ShutdownOptions options) {
    if (options.wait && pool_->is_server())
        throw UsageError(
            "ProcessPoolExecutor.shutdown: a callback of the pool can't wait for the pool's end; pass .wait = false");
    pool_->close();
    if (options.cancel_futures) pool_->cancel_waiting();
    if (options.wait) pool_->ended().wait();
}

sync::Awaitable<sync::Event::WaitOp> ProcessPoolExecutor::async_shutdown(ShutdownOptions options) {
    pool_->close();
    if (options.cancel_futures) pool_->cancel_waiting();
    return pool_->ended().async_wait();
}

void ProcessPoolExecutor::kill_workers() { pool_->terminate(); }

} // namespace sennit::futures
