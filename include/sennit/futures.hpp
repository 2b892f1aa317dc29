// Python's concurrent.futures: callables that run elsewhere, and their results.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/futures/as_completed.hpp>
#include <sennit/futures/async_fork.hpp>
#include <sennit/futures/fork_scope.hpp>
#include <sennit/futures/parallel_for.hpp>
#include <sennit/futures/parallel_invoke.hpp>
#include <sennit/futures/parallel_reduce.hpp>
#include <sennit/futures/process_pool_executor.hpp>
#include <sennit/futures/thread_pool_executor.hpp>
#include <sennit/futures/wait.hpp>
#include <sennit/sync/executor.hpp>
#include <sennit/sync/future.hpp>

namespace sennit::futures {

using sync::Executor;
using sync::Future;

using sennit::BrokenExecutor;
using sennit::CancelledError;
using sennit::InvalidStateError;
using sennit::TimeoutError;

} // namespace sennit::futures
