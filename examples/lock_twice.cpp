// A Lock taken twice by one thread: with a time-out it says so, without one it is a deadlock that the detector names. An RLock
// may be taken twice.
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;
using namespace sennit;

int main() {
    threading::Lock lock;
    lock.acquire();
    std::printf("Lock, second time within 50 ms: %s\n", lock.acquire(50ms) ? "yes" : "no");
    lock.release();

    threading::RLock rlock;
    rlock.acquire();
    std::printf("RLock, second time: %s\n", rlock.acquire() ? "yes" : "no");
    rlock.release();
    rlock.release();

    threading::Thread stuck({.name = "stuck"}, [&] {
        lock.acquire();
        lock.acquire(); // for ever, but any agent may release a Lock
    });
    stuck.start();
    while (wait::Registry::find_deadlock().empty()) threading::Event().wait(1ms);
    std::printf("%s", wait::Registry::describe().c_str());
    lock.release();
}
