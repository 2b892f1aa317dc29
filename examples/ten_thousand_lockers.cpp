// Ten thousand threads (or as many as the argument says) and one lock: each changes the balance and takes the change back, one
// thread at a time, and the balance is 0. All of them exist before the first may begin.
#include <sennit/threading.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace threading = sennit::threading;

int main(int argc, char** argv) {
    const int lockers = argc > 1 ? std::atoi(argv[1]) : 10'000;
    long balance = 0, seen_wrong = 0;
    threading::Lock lock;
    threading::Event gate;
    const auto change = [&] {
        gate.wait();
        std::scoped_lock guard(lock);
        balance += 1;
        balance -= 3;
        std::this_thread::yield(); // others may run now: none of them gets in
        balance += 2;
        seen_wrong += balance != 0;
    };
    std::vector<std::unique_ptr<threading::Thread>> threads;
    for (int i = 0; i < lockers; ++i) {
        threads.push_back(
            std::make_unique<threading::Thread>(threading::ThreadOptions{.stack_size = 64 << 10}, change));
        threads.back()->start();
    }
    gate.set();
    for (auto& t : threads) t->join();
    std::printf("%d lockers, balance: %ld, seen wrong: %ld\n", lockers, balance, seen_wrong);
}
