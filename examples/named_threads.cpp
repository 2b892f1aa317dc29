// Ten threads with names.
#include <sennit/threading.hpp>

#include <cstdio>
#include <string>
#include <vector>

using namespace sennit;

int main() {
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 10; ++i)
        threads.emplace_back(threading::ThreadOptions{.name = "t." + std::to_string(i)},
                             [] { std::printf("%s\n", threading::current_thread().name().c_str()); });
    for (auto& t : threads) t.start();
}
