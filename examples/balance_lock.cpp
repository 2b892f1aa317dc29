// Two threads add to a balance and take the same away again, a million times each, under a lock: it is 0 at the end.
#include <sennit/threading.hpp>

#include <cstdio>
#include <mutex>

namespace threading = sennit::threading;

int main() {
    long balance = 0;
    threading::Lock lock;
    const auto change = [&](long amount) {
        for (int i = 0; i < 1'000'000; ++i) {
            std::scoped_lock guard(lock);
            balance += amount;
            balance -= amount;
        }
    };
    threading::Thread a(change, 5), b(change, 8);
    a.start();
    b.start();
    a.join();
    b.join();
    std::printf("balance: %ld\n", balance);
}
