// Three workers, five tasks: the results come in the order in which the tasks were submitted.
#include <sennit/futures.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace futures = sennit::futures;

int main() {
    futures::ThreadPoolExecutor executor(3);
    std::vector<futures::Future<std::string>> results;
    for (int i = 0; i < 5; ++i)
        results.push_back(executor.submit([](int n) { return "result of t" + std::to_string(n); }, i));
    for (auto& result : results) std::printf("%s\n", result.result().c_str());
}
