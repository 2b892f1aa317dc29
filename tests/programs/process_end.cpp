// process_end MODE: whole processes whose beginning and end are the point; tests/unit/multiprocessing/process_end_test.cpp says what each
// must do.
#include <sennit/multiprocessing.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/io.hpp>
#include <sennit/threading.hpp>

#include "modes.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <unistd.h>

namespace {

using sennit::multiprocessing::CargoReader;
using sennit::multiprocessing::CargoWriter;
using sennit::multiprocessing::Process;

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

// A static object that starts a process: in every child, too.
struct Starter {
    Starter() {
        if (std::getenv("SENNIT_TEST_STARTER") == nullptr) return;
        try {
            Process p({.context = "spawn"}, [] { say("child"); });
            p.start();
            p.join();
            say("started by a static object, exit code " + std::to_string(p.exitcode().value_or(-99)));
        } catch (const std::exception& e) {
            say(std::string("refused: ") + (std::strstr(e.what(), "static object") ? "a static object" : e.what()));
        }
    }
};
const Starter starter;

int static_object() { // its work was done before
    say("main");
    return 0;
}

struct End {
    int fd = -1;
    void pack(CargoWriter& to) const { to.attach(fd); }
    static End unpack(CargoReader& from) { return {from.take_fd().release()}; }
};

int go_on = -1;

// Returns from main with a daemon and another child that run, and a thread.
int children() {
    static auto* const pipe = new sennit::os::Pipe(sennit::os::make_pipe());
    go_on = pipe->write_end.get();
    std::atexit([] {
        say("atexit");
        static_cast<void>(sennit::os::write_some(go_on, "!", 1));
    });
    Process daemon({.daemon = true}, [] { ::pause(); });
    daemon.start();
    Process worker(
        [](End begin) {
            char byte = 0;
            if (sennit::os::read_some(begin.fd, &byte, 1) == 1) say("worker");
        },
        End{pipe->read_end.get()});
    worker.start();
    static sennit::threading::Thread thread([] { say("thread"); });
    thread.start();
    return 0;
}

// exit() in a thread of a child.
int exit_in_a_thread() {
    Process p([] {
        sennit::threading::Thread t([] { std::exit(5); });
        t.start();
        t.join();
        for (;;) ::pause();
    });
    p.start();
    p.join();
    return p.exitcode().value_or(99);
}

// A child that has a thread, a daemon and a child of its own.
int child_with_all() {
    Process p([] {
        std::atexit([] { say("child's atexit"); });
        static sennit::threading::Thread thread([] { say("child's thread"); });
        thread.start();
        Process daemon({.daemon = true}, [] { ::pause(); });
        daemon.start();
    });
    p.start();
    p.join();
    return p.exitcode().value_or(99);
}

} // namespace

int main(int argc, char** argv) {
    return run_mode("process_end", {MODE(static_object), MODE(children), MODE(exit_in_a_thread), MODE(child_with_all)},
                    argc, argv);
}
