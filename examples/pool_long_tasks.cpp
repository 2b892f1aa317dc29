// Four workers, five tasks of random length: the fifth waits until a worker is free.
#include <sennit/multiprocessing.hpp>
#include <sennit/threading.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace pool = sennit::multiprocessing::pool;
namespace threading = sennit::threading;

int main() {
    threading::Lock lock;
    int running = 0, most = 0, begun = 0, finished = 0, finished_before_the_fifth = 0;
    std::mt19937 random(std::random_device{}());
    std::uniform_int_distribution<int> length(20, 120);

    pool::ThreadPool workers(4);
    for (int i = 0; i < 5; ++i)
        workers.apply_async([&, i, time = std::chrono::milliseconds(length(random))] {
            {
                std::scoped_lock guard(lock);
                most = std::max(most, ++running);
                if (++begun == 5) finished_before_the_fifth = finished;
                std::printf("Run task %d\n", i);
            }
            std::this_thread::sleep_for(time);
            std::scoped_lock guard(lock);
            --running, ++finished;
            std::printf("Task %d runs %.2f seconds.\n", i, std::chrono::duration<double>(time).count());
        });
    std::puts("Waiting for all tasks done...");
    workers.close();
    workers.join();
    std::printf("All tasks done. At most four at once: %s. Before the fifth began, another one had ended: %s.\n",
                most <= 4 ? "yes" : "no", finished_before_the_fifth > 0 ? "yes" : "no");
}
