// The pool of Python's manual: map, imap_unordered, apply_async, a result that is waited for with a time-out, and a scope that is
// left without waiting for what still runs.
#include <sennit/multiprocessing.hpp>

#include <chrono>
#include <cstdio>
#include <ranges>
#include <set>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace multiprocessing = sennit::multiprocessing;
using namespace std::chrono_literals;

int square(int x) { return x * x; }

int main() {
    const auto began = std::chrono::steady_clock::now();
    {
        multiprocessing::Pool pool(4);
        for (int x : pool.map(square, std::views::iota(0, 10))) std::printf("%d ", x);
        std::printf("\n");

        int sum = 0;
        for (int x : pool.imap_unordered(square, std::views::iota(0, 10))) sum += x;
        std::printf("in any order, together: %d\n", sum);

        auto twenty = pool.apply_async(square, std::tuple(20));
        std::printf("%d\n", twenty.get(10s));

        auto pid = pool.apply_async(::getpid);
        std::printf("a worker: %s\n", pid.get(10s) != ::getpid() ? "another process" : "this process");

        std::vector<multiprocessing::AsyncResult<int>> several;
        for (int i = 0; i < 4; ++i) several.push_back(pool.apply_async(::getpid));
        std::set<int> pids;
        for (auto& one : several) pids.insert(one.get(10s));
        std::printf("pids: %s\n", !pids.empty() && pids.size() <= 4 ? "at most four" : "too many");

        auto slow = pool.apply_async(::sleep, std::tuple(10U));
        try {
            slow.get(1s);
        } catch (const multiprocessing::TimeoutError&) {
            std::printf("TimeoutError: we lacked patience\n");
        }
        std::printf("the pool still takes work\n");
    }
    const auto took = std::chrono::steady_clock::now() - began;
    std::printf("the pool is closed, %s\n", took < 8s ? "without having waited" : "late");
}
