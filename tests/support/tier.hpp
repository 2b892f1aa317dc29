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

/// Whether ThreadSanitizer is in, AddressSanitizer, or one of them.
constexpr bool thread_sanitized() noexcept {
#if defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
    return __has_feature(thread_sanitizer);
#else
    return false;
#endif
}
constexpr bool address_sanitized() noexcept {
#if defined(__SANITIZE_ADDRESS__)
    return true;
#elif defined(__has_feature)
    return __has_feature(address_sanitizer);
#else
    return false;
#endif
}
constexpr bool sanitized() noexcept { return thread_sanitized() || address_sanitized(); }

} // namespace sennit::testing
