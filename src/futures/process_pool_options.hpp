#pragma once

#include <sennit/futures/pool.hpp>

namespace sennit::multiprocessing::detail {

WorkerPoolOptions worker_pool_options(std::size_t processes, const ProcessPoolOptions& options, const char* name);

/// For destructors: not interruptible. A cancelled agent waits all the same, and stays cancelled.
void wait_for_end(WorkerPool& pool) noexcept;

} // namespace sennit::multiprocessing::detail
