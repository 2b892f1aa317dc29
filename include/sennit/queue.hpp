// Python's queue: queues between threads, green threads and coroutines.
#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/sync/queue.hpp>

namespace sennit::queue {

using sync::LifoQueue;
using sync::PriorityQueue;
using sync::Queue;
using sync::SimpleQueue;

} // namespace sennit::queue
