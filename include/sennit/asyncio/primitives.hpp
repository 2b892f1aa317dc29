// Python's asyncio has primitives of its own; here they are the one set of all agents, with its async_ twins:
// `co_await lock.async_acquire()`, `co_await queue.async_get()`, `co_await event.async_wait()`.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/base/exception_group.hpp>
#include <sennit/sync.hpp>
#include <sennit/sync/future.hpp>
#include <sennit/sync/queue.hpp>

namespace sennit::asyncio {

using sync::Barrier;
using sync::BoundedSemaphore;
using sync::Condition;
using sync::Event;
using sync::Future;
using sync::LifoQueue;
using sync::Lock;
using sync::PriorityQueue;
using sync::Queue;
using sync::Semaphore;

using QueueEmpty = queue::Empty;
using QueueFull = queue::Full;
using QueueShutDown = queue::ShutDown;
using sennit::BrokenBarrierError;
using sennit::CancelledError;
using sennit::ExceptionGroup;
using sennit::InvalidStateError;
using sennit::TimeoutError;

} // namespace sennit::asyncio
