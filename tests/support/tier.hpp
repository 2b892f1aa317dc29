// How much a stress or fault test does: SENNIT_FAULT_TIER = 1 (daily, the default), 2 (nightly), 3 (before a release).
#pragma once

#include <cstdint>

namespace sennit::testing {

/// 1, 2 or 3.
int fault_tier() noexcept;

/// The size for the present tier.
inline std::int64_t by_tier(std::int64_t t1, std::int64_t t2, std::int64_t t3) noexcept {
    return fault_tier() == 1 ? t1 : fault_tier() == 2 ? t2 : t3;
}

/// Whether AddressSanitizer or ThreadSanitizer is in.
constexpr bool sanitized() noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

} // namespace sennit::testing
