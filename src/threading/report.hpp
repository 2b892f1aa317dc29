// What goes wrong in a thread where nobody can catch it.
#pragma once

#include <sennit/os/throw_stack.hpp>
#include <sennit/threading/thread_ref.hpp>

#include <exception>
#include <string>

namespace sennit::threading::detail {

/// In a catch block: gives the exception to excepthook. `stack`: where it was thrown.
void report_exception(const ThreadRef& thread, const os::ThrowStack& stack) noexcept;
/// Gives an error that nobody can catch to excepthook; `what` says where it was. For futures.
void report_unseen_error(std::exception_ptr error, const char* what) noexcept;
/// Gives misuse that can't be thrown to excepthook.
void report_misuse(const ThreadRef& thread, const std::string& message) noexcept;
/// Says on stderr that `who` waits for `thread`, and what that does.
void report_long_wait(const char* who, const ThreadRef& thread, const wait::Agent* agent) noexcept;

} // namespace sennit::threading::detail
