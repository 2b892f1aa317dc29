// Tells ThreadSanitizer of the count of owners of an exception. That lives in libstdc++, which is not compiled with it: without this
// it sees neither what a last owner waited for, nor what who gave back an earlier share did before, and calls it a race when a thread
// frees an exception that another one has looked at.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SENNIT_UNDER_TSAN
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(SENNIT_UNDER_TSAN)
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <sanitizer/tsan_interface.h>

namespace {

void* next_of(const char* name) noexcept {
    void* const found = ::dlsym(RTLD_NEXT, name);
    if (!found) std::abort(); // libstdc++ has another ABI
    return found;
}

// exception_ptr::_M_release(): both sides of the count's decrement, around it.
void release_share(void* owner) noexcept {
    static const auto next =
        reinterpret_cast<void (*)(void*) noexcept>(next_of("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv"));
    void* exception = nullptr;
    std::memcpy(&exception, owner, sizeof exception);
    __tsan_release(exception);
    __tsan_acquire(exception);
    next(owner);
}

} // namespace

// Called by every ~exception_ptr().
extern "C" void sennit_tsan_release(void* self) noexcept __asm__("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
extern "C" void sennit_tsan_release(void* self) noexcept { release_share(self); }

// The end of a handler gives a share back, too.
extern "C" void __cxa_end_catch() {
    static const auto next = reinterpret_cast<void (*)()>(next_of("__cxa_end_catch"));
    { const std::exception_ptr share = std::current_exception(); }
    next();
}
#endif
