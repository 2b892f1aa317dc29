// One endless loop a core (or as many as the argument says), for a second: all cores burn. In Python the threads would share one.
#include <sennit/threading.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
namespace threading = sennit::threading;

int main(int argc, char** argv) {
    const unsigned loops = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : std::thread::hardware_concurrency();
    std::atomic<bool> stop{false};
    std::vector<std::unique_ptr<threading::Thread>> threads;
    for (unsigned i = 0; i < loops; ++i) {
        threads.push_back(std::make_unique<threading::Thread>([&stop] {
            while (!stop) {}
        }));
        threads.back()->start();
    }
    const auto began = std::chrono::steady_clock::now();
    const std::clock_t cpu_began = std::clock();
    threading::Event never;
    never.wait(1s);
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const double cpu = static_cast<double>(std::clock() - cpu_began) / CLOCKS_PER_SEC;
    stop = true;
    for (auto& t : threads) t->join();
    std::printf("%u loops, CPU time / wall time: %.2f\n", loops, cpu / wall);
}
