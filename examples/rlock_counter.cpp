// Ten threads count under an RLock, which each takes twice.
#include <sennit/threading.hpp>

#include <cstdio>
#include <mutex>
#include <vector>

using namespace sennit;

int main() {
    threading::RLock lock;
    int number = 0;
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 10; ++i)
        threads.emplace_back([&] {
            std::scoped_lock outer(lock);
            ++number;
            std::scoped_lock inner(lock);
            std::printf("%d\n", number);
        });
    for (auto& t : threads) t.start();
}
