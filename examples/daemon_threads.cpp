// main ends: the process waits for the thread that is no daemon, and not for the daemon.
#include <sennit/threading.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;
using namespace sennit;

int main() {
    static threading::Event never;
    static threading::Thread daemon({.name = "daemon", .daemon = true}, [] {
        never.wait(1h);
        std::puts("daemon: never said");
    });
    static threading::Thread worker([] {
        threading::main_thread().join();
        std::puts("worker: done after main");
    });
    daemon.start();
    worker.start();
    std::puts("main: ends");
}
