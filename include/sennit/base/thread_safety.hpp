// Clang's thread-safety attributes (-Wthread-safety); nothing elsewhere.
// Source: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define SENNIT_TSA(x) __attribute__((x))
#else
#define SENNIT_TSA(x)
#endif

#define SENNIT_CAPABILITY(name) SENNIT_TSA(capability(name))
#define SENNIT_SCOPED_CAPABILITY SENNIT_TSA(scoped_lockable)
#define SENNIT_GUARDED_BY(lock) SENNIT_TSA(guarded_by(lock))
#define SENNIT_REQUIRES(...) SENNIT_TSA(requires_capability(__VA_ARGS__))
#define SENNIT_ACQUIRE(...) SENNIT_TSA(acquire_capability(__VA_ARGS__))
#define SENNIT_TRY_ACQUIRE(...) SENNIT_TSA(try_acquire_capability(__VA_ARGS__))
#define SENNIT_RELEASE(...) SENNIT_TSA(release_capability(__VA_ARGS__))
#define SENNIT_EXCLUDES(...) SENNIT_TSA(locks_excluded(__VA_ARGS__))
#define SENNIT_NO_TSA SENNIT_TSA(no_thread_safety_analysis)
