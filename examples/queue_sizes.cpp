// Twelve puts into a queue of ten, ten gets: two are left.
#include <sennit/queue.hpp>
#include <sennit/threading.hpp>

#include <cstdio>
#include <memory>
#include <vector>

namespace queue = sennit::queue;
namespace threading = sennit::threading;

int main() {
    queue::Queue<int> q(10);
    std::vector<std::unique_ptr<threading::Thread>> threads;
    const auto start = [&](auto body) {
        threads.push_back(std::make_unique<threading::Thread>(body));
        threads.back()->start();
    };
    for (int i = 1; i <= 12; ++i) start([&q, i] { q.put(i); }); // two of them wait for room
    for (int i = 1; i <= 10; ++i) start([&q] { std::printf("get: %d\n", q.get()); });
    for (auto& t : threads) t->join();
    std::printf("size: %zu\n", q.qsize());
}
