// The same five downloads in a pool of five processes, by map: takes the longest of their times.
#include <sennit/multiprocessing.hpp>

#include "slow_server.hpp"

#include <numeric>
#include <tuple>
#include <vector>

namespace multiprocessing = sennit::multiprocessing;

int main() {
    SlowServer server;
    multiprocessing::Pool pool(5);
    pool.map([](int) {}, std::vector<int>(5), 1); // they have begun
    report("pool", [&] {
        std::vector<std::tuple<int, Download>> files;
        for (const Download& file : downloads) files.emplace_back(server.port(), file);
        const std::vector<std::size_t> bytes =
            pool.starmap([](int from, const Download& file) { return fetch_from(from, file); }, files, 1);
        return std::accumulate(bytes.begin(), bytes.end(), std::size_t{0});
    });
}
