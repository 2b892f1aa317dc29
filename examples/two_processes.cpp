// Two processes sleep side by side: together they take the longer sleep, not the sum.
#include <sennit/multiprocessing.hpp>
#include <sennit/threading.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace sennit;

void nap(const std::string& name, std::chrono::milliseconds duration) {
    threading::Event never;
    never.wait(duration);
    const bool own = multiprocessing::current_process().pid() != multiprocessing::parent_process()->pid();
    std::printf("%s woke, %s\n", name.c_str(), own ? "in a process of its own" : "in the parent");
}

int main() {
    using namespace std::chrono_literals;
    const auto begin = std::chrono::steady_clock::now();
    multiprocessing::Process shorter(nap, "short", 200ms), longer(nap, "long", 400ms);
    shorter.start();
    longer.start();
    shorter.join();
    longer.join();
    std::printf("together: %.1f s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}
