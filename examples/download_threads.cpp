// The same five downloads, a thread each: takes the longest of their times.
#include <sennit/threading.hpp>

#include "slow_server.hpp"

#include <atomic>
#include <memory>
#include <vector>

namespace threading = sennit::threading;

int main() {
    SlowServer server;
    report("threads", [&] {
        std::atomic<std::size_t> bytes{0};
        std::vector<std::unique_ptr<threading::Thread>> threads;
        for (const Download& file : downloads) {
            threads.push_back(std::make_unique<threading::Thread>([&] { bytes += server.fetch(file); }));
            threads.back()->start();
        }
        for (auto& t : threads) t->join();
        return bytes.load();
    });
}
