// Two consumers wait for a condition, a producer notifies all.
#include <sennit/threading.hpp>

#include <cstdio>
#include <mutex>

namespace threading = sennit::threading;

int main() {
    threading::Condition condition;
    threading::Semaphore waits(0);
    const auto consumer = [&] {
        std::unique_lock guard(condition);
        std::puts("consumer before wait");
        waits.release(); // still under the lock: the producer gets in only once this one waits
        condition.wait();
        std::puts("consumer after wait");
    };
    threading::Thread c1({.name = "c1"}, consumer), c2({.name = "c2"}, consumer);
    threading::Thread producer({.name = "p"}, [&] {
        std::unique_lock guard(condition);
        std::puts("producer before notify_all");
        condition.notify_all();
        std::puts("producer after notify_all");
    });
    c1.start();
    waits.acquire();
    c2.start();
    waits.acquire();
    producer.start();
    producer.join();
    c1.join();
    c2.join();
}
