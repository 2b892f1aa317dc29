// Two threads sleep side by side: together they take as long as the longer one.
#include <sennit/threading.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

using namespace std::chrono_literals;
using sennit::threading::Thread;

int main() {
    const auto nap = [](const char* name, std::chrono::milliseconds length) {
        std::this_thread::sleep_for(length);
        std::printf("%s woke\n", name);
    };
    const auto begin = std::chrono::steady_clock::now();
    Thread a(nap, "short", 200ms), b(nap, "long", 400ms);
    a.start();
    b.start();
    a.join();
    b.join();
    std::printf("seconds %.2f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}
