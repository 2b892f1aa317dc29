#pragma once

namespace sennit::os {

/// Writes the calling thread's stack to stderr, a line a frame (module, function where the symbols are known, address),
/// without the innermost `skip` frames. Allocates at the first call of a process (the unwinder is loaded).
/// Source: backtrace(3).
void print_backtrace(int skip) noexcept;

} // namespace sennit::os
