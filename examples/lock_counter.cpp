// Many threads, one counter, one lock: the sum is exact.
#include <sennit/threading.hpp>

#include <cstdio>
#include <mutex>
#include <vector>

using namespace sennit;

int main() {
    threading::Lock lock;
    long count = 0;
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            for (int n = 0; n < 10'000; ++n) {
                std::scoped_lock guard(lock);
                ++count;
            }
        });
    for (auto& t : threads) t.start();
    for (auto& t : threads) t.join();
    std::printf("%ld\n", count);
}
