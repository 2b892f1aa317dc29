#include <sennit/os/crash.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>

namespace sennit::os {
namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
void (*tell)(void* const*, std::size_t) noexcept = nullptr;
alignas(16) char handler_stack[64 * 1024];

void handle(int signal, siginfo_t* info, void*) {
    void* frames[64];
    const int n = ::backtrace(frames, 64);
    const int skip = std::min(n, 2); // this function, and what called it
    tell(frames + skip, static_cast<std::size_t>(n - skip));
    // SA_RESETHAND: the default action is back. A fault (si_code above 0) comes again when its instruction does; what a process sent, by
    // kill() or raise(), is sent once more, and comes when this returns.
    if (info->si_code <= 0) ::raise(signal);
}

struct See {
    void (*see)(void*, std::uintptr_t, std::uintptr_t, const char*) noexcept;
    void* to;
};

std::uintptr_t end_of(const dl_phdr_info& info) noexcept {
    std::uintptr_t end = info.dlpi_addr;
    for (int i = 0; i < info.dlpi_phnum; ++i)
        if (info.dlpi_phdr[i].p_type == PT_LOAD)
            end = std::max<std::uintptr_t>(end, info.dlpi_addr + info.dlpi_phdr[i].p_vaddr + info.dlpi_phdr[i].p_memsz);
    return end;
}

} // namespace

void for_each_module(void (*see)(void*, std::uintptr_t, std::uintptr_t, const char*) noexcept, void* to) noexcept {
    See both{see, to};
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* both) {
            const auto& s = *static_cast<See*>(both);
            s.see(s.to, info->dlpi_addr, end_of(*info), info->dlpi_name ? info->dlpi_name : "");
            return 0;
        },
        &both);
}

void on_crash(void (*note)(void* const*, std::size_t) noexcept) noexcept {
    if (tell) return;
    tell = note;
    void* frames[2];
    ::backtrace(frames, 2); // loads the unwinder, which allocates
    stack_t stack{};
    if (::sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE)) {
        stack = {};
        stack.ss_sp = handler_stack;
        stack.ss_size = sizeof handler_stack;
        ::sigaltstack(&stack, nullptr);
    }
    for (const int signal : signals) {
        struct sigaction now {};
        if (::sigaction(signal, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
        struct sigaction mine {};
        mine.sa_sigaction = handle;
        mine.sa_flags = SA_SIGINFO | SA_ONSTACK | static_cast<int>(SA_RESETHAND);
        ::sigemptyset(&mine.sa_mask);
        ::sigaction(signal, &mine, nullptr);
    }
}

std::string name_of_place(const char* module, std::uint64_t offset) {
    struct Search {
        const char* name;
        std::uintptr_t base = 0, end = 0;
        bool found = false;
    } search{module};
    for_each_module(
        [](void* to, std::uintptr_t base, std::uintptr_t end, const char* name) noexcept {
            auto& s = *static_cast<Search*>(to);
            if (s.found || std::strcmp(s.name, name) != 0) return;
            s = {s.name, base, end, true};
        },
        &search);
    if (!search.found || offset >= search.end - search.base) return {};
    Dl_info info{};
    if (!::dladdr(reinterpret_cast<void*>(search.base + offset), &info) || !info.dli_sname)
        return {}; // NOLINT(performance-no-int-to-ptr)
    int status = -1;
    char* const plain = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    std::string name(status == 0 ? plain : info.dli_sname);
    std::free(plain); // NOLINT(cppcoreguidelines-no-malloc): made by __cxa_demangle
    return name;
}

} // namespace sennit::os
