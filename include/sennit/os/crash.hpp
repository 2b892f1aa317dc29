// What is left of a process that ends by a signal of its own making.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace sennit::os {

/// Calls see(to, first address, address behind the last one, file name) for each module of this process; the program itself comes first
/// and has no name.
void for_each_module(void (*see)(void* to, std::uintptr_t base, std::uintptr_t end, const char* name) noexcept,
                     void* to) noexcept;

/// From now on SEGV, BUS, FPE, ILL and ABRT whose action is the default call note(frames, n) in the signal handler, on the thread that
/// they came to (on a stack of its own for the calling thread, so an overflow of its stack is noted, too), and then do what they did
/// before. Once a process; what has a handler already keeps it.
void on_crash(void (*note)(void* const* frames, std::size_t n) noexcept) noexcept;

/// The function at `offset` of this process's module of that name (as for_each_module says), demangled; empty where nothing exports it.
std::string name_of_place(const char* module, std::uint64_t offset);

} // namespace sennit::os
