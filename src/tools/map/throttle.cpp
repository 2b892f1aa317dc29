#include "tools/map/throttle.hpp"

#include <sennit/os/system_state.hpp>

namespace sennit::tools {
namespace {

constexpr std::int64_t look_again_ns = 100'000'000;

} // namespace

Throttle::Throttle() : runnable(os::runnable_count), memory(os::available_memory_bytes) {}

std::int64_t Throttle::ask(std::int64_t now) {
    reason_ = nullptr;
    if (delay_ns > 0 && last_start_ != INT64_MIN) {
        const std::int64_t next = last_start_ > INT64_MAX - delay_ns ? INT64_MAX : last_start_ + delay_ns;
        if (now < next) return next;
    }
    if (load > 0) {
        const int running = runnable();
        if (running >= 0 && running >= load) {
            reason_ = "load";
            return now + look_again_ns;
        }
    }
    if (memory_bytes > 0) {
        const std::int64_t free = memory();
        if (free >= 0 && free < memory_bytes) {
            reason_ = "memory";
            return now + look_again_ns;
        }
    }
    return 0;
}

} // namespace sennit::tools
