// What at_fork() was told, for a fork that libc does not know of: of a process with one thread, where no lock can be held by another one.
#pragma once

namespace sennit::os {

void run_handlers_in_child() noexcept;

} // namespace sennit::os
