// Starting a program, or a function in a process of its own, and waiting for its end, from a small parent and from one with 4 GiB of touched memory.
#include "common/bench.hpp"

#include <boost/process/child.hpp>
#include <cstdint>
#include <sennit/multiprocessing.hpp>
#include <sennit/os/spawn.hpp>
#include <sennit/subprocess.hpp>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using bench::Board;
using bench::seconds;

constexpr const char* program = "/bin/true";
// Contenders differ by a few per cent, and the machine drifts by more: so they alternate as finely as can be.
constexpr int children_a_turn = 5;
constexpr int turns_a_round = 60;
// A zygote makes children ahead: in a long turn nearly all that are used are made in it.
constexpr int starts_a_turn = 25, starts_each_nth_turn = 4;
constexpr std::size_t ballast_bytes = std::size_t{4} << 30;

char* const* arguments_for(const char* path) {
    static char* argv[2];
    argv[0] = const_cast<char*>(path);
    return argv;
}

pid_t by_vfork(const char* path) {
    char* const* argv = arguments_for(path);
    const pid_t pid = vfork();
    if (pid == 0) {
        execve(path, argv, environ);
        _exit(127);
    }
    return pid;
}
pid_t by_fork(const char* path) {
    char* const* argv = arguments_for(path);
    const pid_t pid = fork();
    if (pid == 0) {
        execve(path, argv, environ);
        _exit(127);
    }
    return pid;
}
pid_t by_posix_spawn(const char* path) {
    pid_t pid = -1;
    if (posix_spawn(&pid, path, nullptr, nullptr, arguments_for(path), environ) != 0) bench::die("posix_spawn failed");
    return pid;
}
void reap(pid_t pid) {
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        bench::die("a child could not be started, or failed");
}

void by_sennit() {
    const char* argv[] = {program, nullptr};
    sennit::os::SpawnRequest request;
    request.file = program;
    request.argv = argv;
    sennit::os::ChildProcess child;
    if (sennit::os::spawn(request, child).error != 0) bench::die("os::spawn failed");
    const auto status = child.wait();
    if (!status || status->unknown || status->code != 0) bench::die("os::spawn: the child failed");
}

double spawns_per_s(int children, auto&& one) {
    if (children > 1) one(); // takes upon itself what the contender before left behind
    const double start = seconds();
    for (int i = 0; i < children; ++i) one();
    return children / (seconds() - start);
}

// Once, and kept: as a program with much data has it, in small pages (huge ones would make fork look better than it is).
void touch_ballast() {
    static bool done = false;
    if (done) return;
    done = true;
    void* at = mmap(nullptr, ballast_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) bench::die("no 4 GiB of memory for the large parent");
    madvise(at, ballast_bytes, MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < ballast_bytes; i += 4096) static_cast<volatile char*>(at)[i] = 1;
}

void add_all(Board& board, const std::string& in_case, const std::string& tiny, bool large) {
    const auto add = [&](const char* who, bool copies_page_tables, auto one) {
        const bool slow = large && copies_page_tables;
        board.add(
            in_case, who, "spawns/s",
            [=] {
                if (large) touch_ballast();
                return spawns_per_s(slow ? 1 : children_a_turn, one);
            },
            slow ? turns_a_round : 1);
    };
    add("vfork + exec, program without libc (limit)", false, [tiny] { reap(by_vfork(tiny.c_str())); });
    add("vfork + exec", false, [] { reap(by_vfork(program)); });
    add("posix_spawn", false, [] { reap(by_posix_spawn(program)); });
    add("fork + exec", true, [] { reap(by_fork(program)); });
    add("sennit os::spawn", false, [] { by_sennit(); });
    add("sennit subprocess::Popen", false, [] {
        sennit::subprocess::Popen child({program});
        if (child.wait() != 0) bench::die("Popen: the child failed");
    });
    add("sennit subprocess::run", false, [] { sennit::subprocess::run({program}, {.check = true}); });
    add("Boost.Process child", true, [] {
        boost::process::child child(program);
        child.wait();
        if (child.exit_code() != 0) bench::die("Boost.Process: the child failed");
    });
}

void add_processes(Board& board, const std::string& in_case, bool large) {
    const auto add = [&](const char* who, bool slow, auto one) {
        board.add(
            in_case, who, "starts/s",
            [=] {
                if (large) touch_ballast();
                return spawns_per_s(slow ? 1 : starts_a_turn, one);
            },
            slow ? turns_a_round : starts_each_nth_turn);
    };
    const auto process = [](const char* method) {
        sennit::multiprocessing::Process child({.context = method}, [] {});
        child.start();
        child.join();
        if (child.exitcode() != 0) bench::die("Process: the child failed");
    };
    add("fork + _exit (limit)", large, [] {
        const pid_t pid = fork();
        if (pid == 0) _exit(0);
        reap(pid);
    });
    add("sennit Process, forkserver", false, [process] { process("forkserver"); });
    add("sennit Process, spawn", false, [process] { process("spawn"); });
    add("sennit Process, fork", large, [process] { process("fork"); });
}

} // namespace

int main(int argc, char** argv) {
    const std::string self = argv[0];
    const std::string tiny = self.substr(0, self.rfind('/') + 1) + "exit_at_once";
    Board board(turns_a_round);
    add_all(board, "small parent", tiny, false);
    add_processes(board, "start + join a process, small parent", false); // before the memory is touched, which stays
    add_all(board, "parent with 4 GiB touched", tiny, true);
    add_processes(board, "start + join a process, parent with 4 GiB touched", true);
    return board.run(argc, argv);
}
