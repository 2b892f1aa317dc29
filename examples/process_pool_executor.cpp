// Two workers, four tasks: the results come in the order in which the tasks were submitted, from two processes.
#include <sennit/futures.hpp>

#include <cstdio>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

namespace futures = sennit::futures;

struct Answer {
    std::string text;
    int pid;
};

Answer work(int n) {
    // Long enough that the other worker takes the next one.
    ::usleep(100'000);
    return {"result of t" + std::to_string(n), ::getpid()};
}

int main() {
    futures::ProcessPoolExecutor executor(2);
    std::vector<futures::Future<Answer>> results;
    for (int i = 0; i < 4; ++i) results.push_back(executor.submit(work, i));
    std::set<int> pids;
    for (auto& result : results) {
        std::printf("%s\n", result.result().text.c_str());
        pids.insert(result.result().pid);
    }
    std::printf("%zu processes\n", pids.size());
}
