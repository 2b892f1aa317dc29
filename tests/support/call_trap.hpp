// Every system call of the calling thread, as it is made: counted, and one of them deadly.
#pragma once

#include <cstdint>

// x86-64 alone: the calls are made anew by their registers. Not under a sanitizer, whose runtime has calls and handlers of its own.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define SENNIT_HAS_CALL_TRAP 1
#endif
#else
#define SENNIT_HAS_CALL_TRAP 1
#endif
#endif

namespace sennit::testing {

/// What trap_calls() does. Lives as long as the process; may be in shared memory.
struct CallTrap {
    std::int64_t calls = 0;       // made so far; may be read by others
    std::int64_t deadly = 0;      // SIGKILL at this one, counted from 1; 0: at none
    std::int64_t after = 0;       // 1: once the kernel has done it, else before
    std::int64_t deadly_call = 0; // its number (SYS_...), when it has come
};

/// From now on each system call of the calling thread, libc's own too, goes through a handler of SIGSYS. For ever: the filter that
/// sends it can't be taken away, and threads that this one starts inherit it. False when the kernel has no such filters.
///
/// Source    seccomp(2), SECCOMP_RET_TRAP.
bool trap_calls(CallTrap& trap) noexcept;

} // namespace sennit::testing
