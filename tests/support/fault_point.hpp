// The table of fault points (sennit/base/fault_point.hpp) for the length of a scope.
#pragma once

#include "seed.hpp"

#include <sennit/base/fault_point.hpp>

#include <cstdint>
#include <gtest/gtest.h>
#include <string>
#include <vector>

/// For tests that mean nothing without fault points (preset release).
#if defined(SENNIT_FAULT_POINTS)
#define SENNIT_NEEDS_FAULT_POINTS() static_cast<void>(0)
#else
#define SENNIT_NEEDS_FAULT_POINTS() GTEST_SKIP() << "this build has no fault points"
#endif

namespace sennit::testing {

/// `Faults faults("lock.unlocked_before_wake=delay:1ms");` One at a time.
class Faults {
  public:
    explicit Faults(const std::string& table) {
#if defined(SENNIT_FAULT_POINTS)
        base::arm_faults(table.c_str(), seed());
#else
        static_cast<void>(table);
#endif
    }
    ~Faults() {
#if defined(SENNIT_FAULT_POINTS)
        base::disarm_faults();
#endif
    }
    Faults(const Faults&) = delete;
    Faults& operator=(const Faults&) = delete;

    [[nodiscard]] std::uint64_t injected() const noexcept {
#if defined(SENNIT_FAULT_POINTS)
        return base::faults_injected();
#else
        return 0;
#endif
    }
    /// How often a point that the table names was passed.
    [[nodiscard]] std::uint64_t passes(const char* point) const noexcept {
#if defined(SENNIT_FAULT_POINTS)
        return base::fault_point_passes(point);
#else
        static_cast<void>(point);
        return 0;
#endif
    }
};

} // namespace sennit::testing
