// Something of every point that lies in the processes of a pool: jobs, a worker that dies, a process by plain fork().
#include <sennit/multiprocessing.hpp>
#include <sennit/os/fork.hpp>

#include <csignal>
#include <cstdio>
#include <sys/wait.h>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace mp = sennit::multiprocessing;

int work(int n) {
    if (n == 3) ::raise(SIGKILL);
    return n * n;
}

int main() {
    {
        const pid_t child = sennit::os::fork(); // while there is one thread
        if (child == 0) ::_exit(0);
        ::waitpid(child, nullptr, 0);
    }
    mp::Process forked(mp::ProcessOptions{.context = mp::get_context("fork")}, work, 2);
    forked.start();
    forked.join();
    mp::Pool pool(1);
    std::vector<mp::AsyncResult<int>> results;
    for (int n = 0; n < 64; ++n) results.push_back(pool.apply_async(work, std::tuple(n)));
    int died = 0;
    for (mp::AsyncResult<int>& result : results) {
        try {
            result.get();
        } catch (const mp::WorkerDied&) {
            ++died;
        }
    }
    return died == 1 ? 0 : 1;
}
