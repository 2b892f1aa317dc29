// Threads and what they wait for.               Python: threading
#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>
#include <sennit/threading/excepthook.hpp>
#include <sennit/threading/local.hpp>
#include <sennit/threading/thread.hpp>
#include <sennit/threading/thread_ref.hpp>
#include <sennit/threading/timer.hpp>

namespace sennit::threading {

using sync::Barrier;
using sync::BoundedSemaphore;
using sync::Condition;
using sync::Event;
using sync::Lock;
using sync::RLock;
using sync::Semaphore;

using sennit::BrokenBarrierError;
/// Python's old name for misuse of a lock.
using ThreadError = UsageError;

/// The longest time-out: whatever is longer is as good as sennit::forever.
inline constexpr std::chrono::nanoseconds TIMEOUT_MAX = std::chrono::nanoseconds::max();

} // namespace sennit::threading
