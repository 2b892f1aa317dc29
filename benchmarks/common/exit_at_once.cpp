// The cheapest program there is: no libc, ends at once. What is left of spawning it is the kernel's work.
extern "C" [[noreturn]] void _start() {
#if defined(__x86_64__)
    asm volatile("mov $60, %eax\n\txor %edi, %edi\n\tsyscall");
#elif defined(__aarch64__)
    asm volatile("mov x8, #93\n\tmov x0, #0\n\tsvc #0");
#else
#error "exit_at_once.cpp: write the exit system call of this architecture"
#endif
    __builtin_unreachable();
}
