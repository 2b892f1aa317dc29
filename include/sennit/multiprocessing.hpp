// Python's multiprocessing: so far its shared memory, locks in it, and its pool of threads.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/futures/pool.hpp>
#include <sennit/futures/thread_pool.hpp>
#include <sennit/multiprocessing/barrier.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/child.hpp>
#include <sennit/multiprocessing/condition.hpp>
#include <sennit/multiprocessing/connection.hpp>
#include <sennit/multiprocessing/entry.hpp>
#include <sennit/multiprocessing/errors.hpp>
#include <sennit/multiprocessing/event.hpp>
#include <sennit/multiprocessing/listener.hpp>
#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/process.hpp>
#include <sennit/multiprocessing/queue.hpp>
#include <sennit/multiprocessing/rlock.hpp>
#include <sennit/multiprocessing/semaphore.hpp>
#include <sennit/multiprocessing/shareable_list.hpp>
#include <sennit/multiprocessing/shared_memory.hpp>
#include <sennit/multiprocessing/shared_memory_manager.hpp>
#include <sennit/multiprocessing/sharedctypes.hpp>

namespace sennit::multiprocessing {

using sennit::CancelledError;
using sennit::TimeoutError;

} // namespace sennit::multiprocessing
