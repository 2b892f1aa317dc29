// What at_fork() was told, for a fork that libc does not know of.
#pragma once

namespace sennit::os {

void run_handlers_before_fork() noexcept;
void run_handlers_in_parent() noexcept;
void run_handlers_in_child() noexcept;

} // namespace sennit::os
