// Python's multiprocessing: so far its pool of threads.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/futures/thread_pool.hpp>

namespace sennit::multiprocessing {

using sennit::CancelledError;
using sennit::TimeoutError;

} // namespace sennit::multiprocessing
