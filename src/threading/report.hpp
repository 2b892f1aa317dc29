// What goes wrong in a thread where nobody can catch it.
#pragma once

#include <sennit/os/throw_stack.hpp>
#include <sennit/threading/thread_ref.hpp>

namespace sennit::threading::detail {

/// In a catch block: gives the exception to excepthook. `stack`: where it was thrown.
void report_exception(const ThreadRef& thread, const os::ThrowStack& stack) noexcept;
/// Gives misuse that can't be thrown to excepthook.
void report_misuse(const ThreadRef& thread, const std::string& message) noexcept;
/// Says on stderr that `who` waits for `thread`, and what that does.
void report_long_wait(const char* who, const ThreadRef& thread, const wait::Agent* agent) noexcept;

} // namespace sennit::threading::detail
