// The same five downloads, a process each: takes the longest of their times.
#include <sennit/multiprocessing.hpp>

#include "slow_server.hpp"

#include <memory>
#include <mutex>
#include <vector>

namespace multiprocessing = sennit::multiprocessing;

int main() {
    SlowServer server;
    report("processes", [&] {
        multiprocessing::Value<std::size_t> bytes(0);
        std::vector<std::unique_ptr<multiprocessing::Process>> processes;
        for (const Download& file : downloads) {
            processes.push_back(std::make_unique<multiprocessing::Process>(
                [](int from, const Download& what, const multiprocessing::Value<std::size_t>& sum) {
                    const std::size_t got = fetch_from(from, what);
                    const std::scoped_lock guard(sum.get_lock());
                    *sum += got;
                },
                server.port(), file, bytes));
            processes.back()->start();
        }
        for (auto& p : processes) p->join();
        return *bytes;
    });
}
