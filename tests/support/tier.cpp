#include "tier.hpp"

#include <cstdlib>

namespace sennit::testing {

int fault_tier() noexcept {
    const char* text = std::getenv("SENNIT_FAULT_TIER");
    const int tier = text ? std::atoi(text) : 1;
    return tier < 1 ? 1 : tier > 3 ? 3 : tier;
}

} // namespace sennit::testing
