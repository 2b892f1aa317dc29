// A loop, a sum and a recursion on all cores; for each, that its result is the one of serial code.
#include <sennit/futures.hpp>

#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <vector>

namespace futures = sennit::futures;
using futures::ForkScope;

// No cut-off: a fork that no idle worker takes is little more than a call.
long fib(ForkScope& scope, int n) {
    if (n < 2) return n;
    const auto [a, b] = futures::fork_join(
        scope, [n](ForkScope& s) { return fib(s, n - 1); }, [n](ForkScope& s) { return fib(s, n - 2); });
    return a + b;
}

int main() {
    futures::ThreadPoolExecutor pool;

    std::vector<double> roots(1'000'000);
    futures::parallel_for(pool, 0, 1'000'000,
                          [&](int i) { roots[static_cast<std::size_t>(i)] = std::sqrt(static_cast<double>(i)); });
    std::printf("root of 144: %g\n", roots[144]);

    std::vector<long> numbers(1'000'000);
    std::iota(numbers.begin(), numbers.end(), 1);
    std::printf("1 + ... + 1000000 = %ld\n", futures::parallel_reduce(pool, numbers, 0L, std::plus<>()));

    std::printf("fib(27) = %ld\n", futures::fork_join(pool, [](ForkScope& s) { return fib(s, 27); }));
}
