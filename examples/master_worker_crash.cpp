// A worker is killed in the middle of a task: that task alone fails, the master and all other tasks go on.
#include <sennit/multiprocessing.hpp>

#include <csignal>
#include <cstdio>
#include <tuple>
#include <vector>

namespace multiprocessing = sennit::multiprocessing;

int work(int n) {
    if (n == 3) ::raise(SIGKILL); // as the system does that has no memory left
    return n * n;
}

int main() {
    multiprocessing::Pool master(2);
    std::vector<multiprocessing::AsyncResult<int>> results;
    for (int n = 0; n < 8; ++n) results.push_back(master.apply_async(work, std::tuple(n)));
    for (int n = 0; n < 8; ++n) {
        try {
            std::printf("task %d: %d\n", n, results[static_cast<std::size_t>(n)].get());
        } catch (const multiprocessing::WorkerDied& e) {
            std::printf("task %d: its worker died by signal %d\n", n, e.signal());
        }
    }
    std::printf("and the pool goes on: %d\n", master.apply(work, 9));
}
