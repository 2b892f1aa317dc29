#pragma once

#include <sennit/base/deadline.hpp>

#include <poll.h>
#include <span>

namespace sennit::os {

/// poll(2) with a deadline: waits until one of `fds` is ready and fills in `revents`. Entries with a negative descriptor
/// are passed over.
///
/// Result    How many are ready; 0 once the deadline has passed; -errno on failure (ENOMEM).
/// Blocks    The OS thread. Signals do not end the wait. Under a test clock it looks at that clock every millisecond.
int poll_fds(std::span<pollfd> fds, Deadline deadline) noexcept;

} // namespace sennit::os
