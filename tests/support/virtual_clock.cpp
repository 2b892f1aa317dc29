#include "virtual_clock.hpp"

#include <sennit/base/deadline.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/wait/registry.hpp>

#include <atomic>

namespace sennit::testing {
namespace {

std::atomic<std::int64_t> time_ns{0};

} // namespace

VirtualClock::VirtualClock(std::chrono::nanoseconds start) noexcept {
    time_ns = start.count();
    base::set_clock_for_test([]() noexcept { return time_ns.load(); });
    os::futex_recheck_for_test();
}

VirtualClock::~VirtualClock() {
    base::set_clock_for_test(nullptr);
    os::futex_recheck_for_test();
}

void VirtualClock::advance(std::chrono::nanoseconds by) noexcept {
    time_ns.fetch_add(by.count());
    os::futex_recheck_for_test();
}

std::chrono::nanoseconds VirtualClock::now() const noexcept { return std::chrono::nanoseconds(time_ns.load()); }

bool VirtualClock::advance_to_next_deadline() {
    std::int64_t first = forever.monotonic_ns();
    for (const auto& a : wait::Registry::snapshot())
        if (a.site && !a.settled && a.deadline_ns < first) first = a.deadline_ns;
    if (first == forever.monotonic_ns()) return false;
    if (first > time_ns) advance(std::chrono::nanoseconds(first - time_ns));
    return true;
}

} // namespace sennit::testing
