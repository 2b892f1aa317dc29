#include "os/patience.hpp"

#include <sennit/os/thread.hpp>

#include <sched.h>

namespace sennit::os {
namespace {

// relaxed: a hint.
constinit atomic<int> running{0};

} // namespace

void Patience::Running::begin() noexcept { running.fetch_add(1, memory_order_relaxed); }

void Patience::Running::end() noexcept { running.fetch_sub(1, memory_order_relaxed); }

bool Patience::has_cores(bool elsewhere) noexcept {
    static const int cores = process_cpus();
    return (cores > 1 || elsewhere) && running.load(memory_order_relaxed) <= cores;
}

std::uint32_t Patience::core_here() noexcept {
    const int core = ::sched_getcpu(); // -1 without one
    return static_cast<std::uint32_t>(core + 1);
}

} // namespace sennit::os
