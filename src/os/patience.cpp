#include "os/patience.hpp"

#include <sennit/os/thread.hpp>

namespace sennit::os {
namespace {

// relaxed: a hint.
constinit atomic<int> running{0};

} // namespace

void Patience::Running::begin() noexcept { running.fetch_add(1, memory_order_relaxed); }

void Patience::Running::end() noexcept { running.fetch_sub(1, memory_order_relaxed); }

bool Patience::has_cores() noexcept {
    static const int cores = process_cpus();
    return cores > 1 && running.load(memory_order_relaxed) <= cores;
}

} // namespace sennit::os
