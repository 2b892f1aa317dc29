// The one door to atomics. Everything in sennit that is shared between agents is a `sennit::atomic`, never a
// std::atomic: under the `model` preset (SENNIT_MODEL) the same code then runs under a seeded scheduler that may switch
// to another thread before each operation.
#pragma once

#include <atomic>

#if defined(SENNIT_MODEL)
#include <sennit/impl/model_atomic.hpp>
#endif

namespace sennit {

#if defined(SENNIT_MODEL)
template <class T>
using atomic = model::atomic<T>;
#else
template <class T>
using atomic = std::atomic<T>;
#endif

/// Plain data that agents share under a lock, or hand over to each other: T itself. Under the model every access is checked:
/// ordered against all that conflict with it, and within the object's lifetime.
#if defined(SENNIT_MODEL)
template <class T>
using plain = model::var<T>;
#else
template <class T>
using plain = T;
#endif

using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

/// A full fence, as std::atomic_thread_fence(seq_cst).
///
/// ThreadSanitizer does not understand fences; where one is needed sennit uses a seq_cst read-modify-write on a word
/// both sides touch instead, and this function only where both sides are also ordered by such a word.
inline void full_fence() noexcept {
#if defined(SENNIT_MODEL)
    model::fence();
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

/// Tells the core that this is a spin loop (PAUSE on x86, YIELD on Arm). No memory effect.
/// In parentheses, for Boost.Fiber has a macro of this name. Not to be called in headers, for the same reason.
inline void(cpu_relax)() noexcept {
#if defined(SENNIT_MODEL)
    model::yield();
#elif defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield" ::: "memory");
#endif
}

/// How many times a loop looks before it sleeps. Under the model once: its schedules are to come to the sleep, too.
constexpr unsigned spin_turns(unsigned n) noexcept {
#if defined(SENNIT_MODEL)
    return n < 1 ? n : 1;
#else
    return n;
#endif
}

} // namespace sennit
