// A process that was executed as a child takes another way than main(), without a line in the program.
//
// The C library starts a program by __libc_start_main(main, ...), called from the start code that is linked into it (crt1.o): it runs the
// constructors of the static objects, calls main, and exits with what main gives back. This file has a function of that name, which the
// linker finds before libc's, both in libsennit.a and in libsennit.so: crt1.o asks for it before any library is looked at, so it is in every
// program that links sennit. It calls libc's with a main of its own.
//
// In a program linked with -static both would be in one file: this one is weak there and gives way, and the last constructor takes over
// instead, that is after the program's own, which are linked before libsennit.a; what static objects libraries have that come after it
// on the linker's line, a child lacks.
//
// A program that loads libsennit later (dlopen) has freeze_support().
//
// Source: glibc csu/libc-start.c; System V ABI, process initialisation.
#include <sennit/multiprocessing/child.hpp>
#include <sennit/os/fork.hpp>
#include <sennit/os/shared_memory.hpp>

#include "child_run.hpp"
#include "this_process.hpp"
#include "zygote.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

namespace sennit::multiprocessing::detail {
namespace {

enum class Kind { none, zygote, spawned };

struct Takeover {
    Kind kind = Kind::none;
    bool pending = false;
    int fd_count = 0;
};
constinit Takeover takeover;

// glibc gives main's arguments to constructors. Before those of the program's static objects.
[[gnu::constructor(101)]] void look_at_arguments(int argc, char** argv, char**) noexcept {
    if (argc < 3 || argv == nullptr || std::strcmp(argv[1], child_mark) != 0) return;
    const bool bound = std::strcmp(argv[2], "zygote-bound") == 0;
    if ((bound || std::strcmp(argv[2], "zygote") == 0) && argc == 3)
        takeover.kind = Kind::zygote;
    else if (std::strcmp(argv[2], "spawn") == 0 && argc == 4)
        takeover.kind = Kind::spawned;
    // Who types it gets main() and an argument that it does not know. A program with more rights than its caller takes no orders so.
    if (os::is_privileged() || !os::is_open(ChildFds::commands) || !os::is_fifo(ChildFds::lifeline))
        takeover.kind = Kind::none;
    if (takeover.kind == Kind::spawned) takeover.fd_count = std::atoi(argv[3]);
    if (takeover.kind == Kind::zygote && bound) os::remove_variable(bind_now);
    takeover.pending = takeover.kind != Kind::none;
}

[[noreturn]] void run_spawned() {
    os::Fd watch;
    os::Lifeline::die_with(ChildFds::lifeline, watch);
    watch.release(); // for ever
    os::Fd(ChildFds::lifeline).reset();
    Start start;
    for (int i = 0; i < takeover.fd_count; ++i) {
        const int number = ChildFds::cargo + i;
        os::set_close_on_exec(number);
        start.fds.emplace_back(number);
    }
    os::Fd file(ChildFds::commands);
    const std::int64_t bytes = os::file_bytes(file.get());
    int error = 0;
    void* const memory = bytes >= static_cast<std::int64_t>(sizeof start.header)
                             ? os::map_shared(file.get(), static_cast<std::size_t>(bytes), error)
                             : nullptr;
    if (memory != nullptr) std::memcpy(&start.header, memory, sizeof start.header);
    const std::size_t body = memory != nullptr ? static_cast<std::size_t>(bytes) - sizeof start.header : 0;
    if (memory == nullptr || start.header.magic != StartHeader::the_magic || start.header.preparation_bytes > body ||
        start.header.cargo_bytes > body - start.header.preparation_bytes) {
        std::fputs("sennit: this process was started to be a child, and what it should do can't be read\n", stderr);
        os::exit_now(1);
    }
    start.body = {static_cast<const std::byte*>(memory) + sizeof start.header, body};
    file.reset();
    run_child(std::move(start), false);
}

} // namespace

bool takeover_is_pending() noexcept { return takeover.pending; }

const char* program_name() noexcept { return program_invocation_name; }
const char* program_short_name() noexcept { return program_invocation_short_name; }

} // namespace sennit::multiprocessing::detail

namespace sennit::multiprocessing {

void freeze_support() {
    using namespace detail;
    if (!takeover.pending) return;
    takeover.pending = false;
    if (takeover.kind == Kind::zygote) run_zygote();
    run_spawned();
}

} // namespace sennit::multiprocessing

namespace {

using Main = int (*)(int, char**, char**);
Main program_main;

int main_or_child(int argc, char** argv, char** envp) {
    sennit::multiprocessing::freeze_support();
    return program_main(argc, argv, envp);
}

[[gnu::constructor]] void take_over_static_program() {
    if (program_main == nullptr && sennit::os::is_linked_statically()) sennit::multiprocessing::freeze_support();
}

} // namespace

using StartMain = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);

extern "C" [[gnu::visibility("default"), gnu::weak]] int __libc_start_main(Main main, int argc, char** argv,
                                                                           void (*init)(), void (*fini)(),
                                                                           void (*rtld_fini)(), void* stack_end);

// Runs before anything is set up but by the dynamic loader.
extern "C" int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(), void (*rtld_fini)(),
                                 void* stack_end) {
    auto* const real = reinterpret_cast<StartMain>(::dlsym(RTLD_NEXT, "__libc_start_main"));
    if (real == nullptr) {
        std::fputs("sennit: this program can't be started: the C library has no __libc_start_main\n", stderr);
        std::abort();
    }
    program_main = main;
    return real(main_or_child, argc, argv, init, fini, rtld_fini, stack_end);
}
