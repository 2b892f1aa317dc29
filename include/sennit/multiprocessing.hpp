// Python's multiprocessing: so far its shared memory and its pool of threads.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/futures/thread_pool.hpp>
#include <sennit/multiprocessing/shareable_list.hpp>
#include <sennit/multiprocessing/shared_memory.hpp>

namespace sennit::multiprocessing {

using sennit::CancelledError;
using sennit::TimeoutError;

} // namespace sennit::multiprocessing
