// The simplest pool: a queue of ten tokens. Who wants to start a thread takes one, the thread puts it back at its end; so at most ten
// of the 99 tasks run at once.
#include <sennit/queue.hpp>
#include <sennit/threading.hpp>

#include <atomic>
#include <cstdio>
#include <memory>
#include <vector>

namespace queue = sennit::queue;
namespace threading = sennit::threading;

int main() {
    constexpr int size = 10, tasks = 99;
    struct Token {};
    queue::Queue<Token> tokens(size);
    for (int i = 0; i < size; ++i) tokens.put({});

    std::atomic<int> running{0}, most{0}, done{0};
    threading::Event full; // the first tasks stay until there are ten
    const auto task = [&] {
        const int now = ++running;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {}
        if (now == size) full.set();
        full.wait();
        --running;
        ++done;
        tokens.put({});
    };
    std::vector<std::unique_ptr<threading::Thread>> threads;
    for (int i = 0; i < tasks; ++i) {
        tokens.get(); // waits while ten run
        threads.push_back(std::make_unique<threading::Thread>(task));
        threads.back()->start();
    }
    for (auto& t : threads) t->join();
    std::printf("%d tasks, at most %d at once\n", done.load(), most.load());
}
