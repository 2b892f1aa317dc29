// When an exception is thrown the unwinder goes up the stack twice: first it asks each frame's personality routine whether it
// will catch, and nothing is unwound yet; then it unwinds. call_noting_throw() puts a frame with a personality of our own below
// the catch: asked in the first round, it takes down the stack, which still stands, and says no.
#include <sennit/os/throw_stack.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <unwind.h>

namespace sennit::os {
namespace {

_Unwind_Reason_Code take_frame(_Unwind_Context* context, void* into) {
    auto& stack = *static_cast<ThrowStack*>(into);
    if (stack.count == ThrowStack::most) return _URC_END_OF_STACK;
    auto* address = reinterpret_cast<void*>(_Unwind_GetIP(context));
    if (!address) return _URC_END_OF_STACK;
    stack.frames[stack.count++] = address;
    return _URC_NO_REASON;
}

} // namespace
} // namespace sennit::os

#if defined(__x86_64__) || defined(__aarch64__)

extern "C" {

// NOLINTBEGIN(readability-identifier-naming): names for the assembler
[[gnu::visibility("hidden")]] void sennit_call_watched(void (*fn)(void*), void* argument,
                                                       sennit::os::ThrowStack* stack);

[[gnu::visibility("hidden")]] _Unwind_Reason_Code sennit_throw_personality(int, _Unwind_Action actions,
                                                                           _Unwind_Exception_Class, _Unwind_Exception*,
                                                                           _Unwind_Context* frame) {
    if (actions & _UA_SEARCH_PHASE) {
        // The frame below the one asked begins where that one's stack pointer is: there lies `stack`.
        auto* stack = *reinterpret_cast<sennit::os::ThrowStack**>(_Unwind_GetCFA(frame));
        stack->count = 0;
        _Unwind_Backtrace(sennit::os::take_frame, stack);
    }
    return _URC_CONTINUE_UNWIND;
}
// NOLINTEND(readability-identifier-naming)

} // extern "C"

// A call, with `stack` at the stack pointer, and the unwind information that names our personality (0x9b: as a pointer relative
// to the code, through a slot that the linker fills in; so compilers write it, too).
asm(R"(
    .text
    .globl  sennit_call_watched
    .hidden sennit_call_watched
    .type   sennit_call_watched, %function
sennit_call_watched:
    .cfi_startproc
    .cfi_personality 0x9b, DW.ref.sennit_throw_personality
)"
#if defined(__x86_64__)
    R"(
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    movq    %rdx, (%rsp)
    movq    %rdi, %rax
    movq    %rsi, %rdi
    call    *%rax
    addq    $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
)"
#else
    R"(
    sub     sp, sp, #32
    .cfi_def_cfa_offset 32
    stp     x29, x30, [sp, #16]
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    add     x29, sp, #16
    str     x2, [sp]
    mov     x3, x0
    mov     x0, x1
    blr     x3
    ldp     x29, x30, [sp, #16]
    .cfi_restore x29
    .cfi_restore x30
    add     sp, sp, #32
    .cfi_def_cfa_offset 0
    ret
)"
#endif
    R"(
    .cfi_endproc
    .size   sennit_call_watched, .-sennit_call_watched
    .hidden DW.ref.sennit_throw_personality
    .weak   DW.ref.sennit_throw_personality
    .section .data.rel.local.DW.ref.sennit_throw_personality, "awG", %progbits, DW.ref.sennit_throw_personality, comdat
    .balign 8
    .type   DW.ref.sennit_throw_personality, %object
    .size   DW.ref.sennit_throw_personality, 8
DW.ref.sennit_throw_personality:
    .quad   sennit_throw_personality
    .text
)");

namespace sennit::os {

void call_noting_throw(void (*fn)(void*), void* argument, ThrowStack& stack) {
    stack.count = 0;
    sennit_call_watched(fn, argument, &stack);
}

} // namespace sennit::os

#else

namespace sennit::os {

void call_noting_throw(void (*fn)(void*), void* argument, ThrowStack& stack) {
    stack.count = 0;
    fn(argument);
}

} // namespace sennit::os

#endif

namespace sennit::os {

std::string ThrowStack::describe() const {
    // The innermost frames are ours and the unwinder's; the throw itself is the last of the runtime's.
    std::size_t first = 0;
    for (std::size_t i = 0; i < count && i < 8; ++i) {
        Dl_info info{};
        if (!::dladdr(frames[i], &info) || !info.dli_sname) continue;
        if (!std::strcmp(info.dli_sname, "__cxa_throw") || !std::strcmp(info.dli_sname, "__cxa_rethrow") ||
            std::strstr(info.dli_sname, "rethrow_exception"))
            first = i + 1;
    }
    std::string text;
    for (std::size_t i = first; i < count; ++i) {
        // A return address: the call is before it.
        const auto address = reinterpret_cast<std::uintptr_t>(frames[i]) - 1;
        Dl_info info{};
        const bool known = ::dladdr(reinterpret_cast<void*>(address), &info) != 0;
        char line[64];
        std::snprintf(line, sizeof line, "#%-2zu %#018zx", i - first, static_cast<std::size_t>(address));
        text += line;
        if (known && info.dli_sname) {
            int status = -1;
            char* plain = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
            text += std::string(" ") + (status == 0 ? plain : info.dli_sname);
            std::free(plain); // NOLINT(cppcoreguidelines-no-malloc): made by __cxa_demangle
        }
        if (known && info.dli_fname) {
            std::snprintf(line, sizeof line, "(+%#zx)",
                          static_cast<std::size_t>(address - reinterpret_cast<std::uintptr_t>(info.dli_fbase)));
            text += std::string(" ") + info.dli_fname + line;
        }
        text += '\n';
    }
    return text;
}

} // namespace sennit::os
