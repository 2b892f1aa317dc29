// Ten threads wait at an Event: none passes before it is set, all pass after.
#include <sennit/threading.hpp>

#include <chrono>
#include <cstdio>
#include <vector>

using namespace std::chrono_literals;
using namespace sennit;

int main() {
    threading::Event gate;
    threading::Semaphore started(0);
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 10; ++i)
        threads.emplace_back([&] {
            std::puts("start");
            started.release();
            gate.wait();
            std::puts("execute");
        });
    for (auto& t : threads) t.start();
    for (int i = 0; i < 10; ++i) started.acquire();
    std::puts("open");
    gate.set();
}
