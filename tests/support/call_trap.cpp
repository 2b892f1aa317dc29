#include "call_trap.hpp"

#if defined(SENNIT_HAS_CALL_TRAP)

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

// The only place whose calls the filter lets through; and a restorer, without which the kernel takes no handler.
extern "C" long sennit_trap_call(long number, long a, long b, long c, long d, long e, long f);
extern "C" const char sennit_trap_call_made[], sennit_trap_restorer[];
asm(R"(
    .pushsection .text
    .globl sennit_trap_call, sennit_trap_call_made, sennit_trap_restorer
    .type sennit_trap_call, @function
sennit_trap_call:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
sennit_trap_call_made:
    ret
    .balign 16
sennit_trap_restorer:
    mov $15, %eax
    syscall
    .popsection
)");

namespace sennit::testing {
namespace {

// As the kernel has it: libc's own puts its restorer in.
struct KernelSigaction {
    void (*handler)(int, siginfo_t*, void*);
    unsigned long flags;
    void (*restorer)();
    std::uint64_t mask;
};
constexpr std::uint64_t sigsys_bit = std::uint64_t{1} << (SIGSYS - 1);

CallTrap* the_trap = nullptr;

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
    return sennit_trap_call(number, a, b, c, d, e, f);
}
void die(long number) {
    the_trap->deadly_call = number;
    call(SYS_kill, call(SYS_getpid), SIGKILL);
}

// The mask of the handler's end is the thread's: so the call is done on that. SIGSYS stays open: blocked, a trap would be an end.
long set_mask(ucontext_t& at, long how, long set, long old, long size) {
    std::uint64_t mask = 0;
    std::memcpy(&mask, &at.uc_sigmask, sizeof mask);
    if (size != sizeof mask) return -EINVAL;
    const std::uint64_t before = mask;
    if (set != 0) {
        std::uint64_t wanted = 0;
        std::memcpy(&wanted, reinterpret_cast<const void*>(set), sizeof wanted); // NOLINT(performance-no-int-to-ptr)
        mask = how == SIG_BLOCK ? mask | wanted : how == SIG_UNBLOCK ? mask & ~wanted : wanted;
        mask &= ~sigsys_bit;
        std::memcpy(&at.uc_sigmask, &mask, sizeof mask);
    }
    if (old != 0)
        std::memcpy(reinterpret_cast<void*>(old), &before, sizeof before); // NOLINT(performance-no-int-to-ptr)
    return 0;
}

void make_call(int, siginfo_t* info, void* context) {
    ucontext_t& at = *static_cast<ucontext_t*>(context);
    greg_t* const r = at.uc_mcontext.gregs;
    const long number = info->si_syscall;
    const std::int64_t n = __atomic_add_fetch(&the_trap->calls, 1, __ATOMIC_RELAXED);
    const bool deadly = n == the_trap->deadly;
    if (deadly && the_trap->after == 0) die(number);
    long result = 0;
    if (number == SYS_rt_sigprocmask)
        result = set_mask(at, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10]);
    else if (!(number == SYS_rt_sigaction && r[REG_RDI] == SIGSYS))
        result = call(number, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
    if (number == SYS_sigaltstack) call(number, 0, reinterpret_cast<long>(&at.uc_stack)); // else undone by our end
    if (deadly) die(number);
    r[REG_RAX] = result;
}

} // namespace

bool trap_calls(CallTrap& trap) noexcept {
    the_trap = &trap;
    KernelSigaction action{};
    action.handler = make_call;
    action.flags = SA_SIGINFO | SA_NODEFER | 0x04000000UL; // SA_RESTORER
    action.restorer = reinterpret_cast<void (*)()>(const_cast<char*>(sennit_trap_restorer));
    if (call(SYS_rt_sigaction, SIGSYS, reinterpret_cast<long>(&action), 0, sizeof action.mask) != 0) return false;
    sigset_t open;
    sigemptyset(&open);
    sigaddset(&open, SIGSYS);
    ::sigprocmask(SIG_UNBLOCK, &open, nullptr);

    const auto made = reinterpret_cast<std::uintptr_t>(sennit_trap_call_made);
    const auto low = static_cast<std::uint32_t>(made), high = static_cast<std::uint32_t>(made >> 32);
    constexpr auto where = static_cast<unsigned>(offsetof(seccomp_data, instruction_pointer)); // behind the call
    const sock_filter filter[] = {
        /* 0 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        /* 1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 5, 0), // the end of anybody's handler
        /* 2 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, where + 4),
        /* 3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 2),
        /* 4 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, where),
        /* 5 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 1, 0),
        /* 6 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        /* 7 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{static_cast<unsigned short>(std::size(filter)), const_cast<sock_filter*>(filter)};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

} // namespace sennit::testing

#endif
