#include <sennit/sync/future.hpp>

#include <sennit/sync/map_results.hpp>

#include <algorithm>
#include <functional> // std::less of pointers
#include <string>

namespace sennit::sync::detail {

void throw_not_done() { throw TimeoutError("Future.result: the future is not done at the deadline"); }

void throw_set_twice() {
    throw InvalidStateError(
        "Future: its result was set already, it was cancelled, or an executor runs it; a future is set once, "
        "by whoever made it");
}

void throw_cancelled() { throw CancelledError("Future.result: the future was cancelled"); }

void throw_bad_map_option(const char* option) {
    throw UsageError(std::string("Executor.map: .") + option + " must be at least 1, got 0");
}

void throw_map_timeout(std::size_t given) {
    throw TimeoutError("Executor.map: not all results are there at the deadline; " + std::to_string(given) +
                       " were given, the rest is cancelled");
}

std::vector<bool> first_of_their_kind(const std::vector<const FutureCore*>& cores) {
    std::vector<std::size_t> order(cores.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return cores[a] != cores[b] ? std::less<>()(cores[a], cores[b]) : a < b;
    });
    std::vector<bool> first(cores.size(), true);
    for (std::size_t i = 1; i < order.size(); ++i)
        if (cores[order[i]] == cores[order[i - 1]]) first[order[i]] = false;
    return first;
}

} // namespace sennit::sync::detail
