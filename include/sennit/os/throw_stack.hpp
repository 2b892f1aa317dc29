// Where an exception that leaves a function was thrown.
#pragma once

#include <cstddef>
#include <string>

namespace sennit::os {

/// The calls that led to a throw, innermost first.
struct ThrowStack {
    static constexpr std::size_t most = 64;
    void* frames[most];
    std::size_t count = 0; // 0: unknown

    /// A line a call: its address, its name where the program exports it, and module+offset, which addr2line understands. The
    /// lines of the C++ runtime itself at the throw are left out. Empty when unknown.
    [[nodiscard]] std::string describe() const;
};

/// Calls fn(argument). An exception that nobody in it catches goes on to the caller; `stack` then holds where it was thrown (or
/// thrown again).
///
/// Cost    Nothing while no exception leaves: the unwinder's search, which comes by before anything is unwound, takes the
///         stack down.
/// Source  Itanium C++ ABI, Exception Handling, 1.6.2 the personality routine. On x86-64 and AArch64; elsewhere the stack
///         stays unknown.
void call_noting_throw(void (*fn)(void*), void* argument, ThrowStack& stack);

} // namespace sennit::os
