#include "fault_row.hpp"

#include "seed.hpp"

#include <algorithm>
#include <cstdio>
#include <gtest/gtest.h>

namespace sennit::testing {
namespace {

// Failed assertions of the running test.
std::int64_t failures() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    if (!test) return 0;
    std::int64_t n = 0;
    for (int i = 0; i < test->result()->total_part_count(); ++i)
        n += test->result()->GetTestPartResult(i).failed() ? 1 : 0;
    return n;
}

} // namespace

FaultRow::FaultRow(std::string fault, bool must_inject)
    : fault_(std::move(fault)), must_inject_(must_inject), failures_before_(failures()) {}

FaultRow::~FaultRow() {
    seed(); // prints it
    std::printf("[  FAULT   ] %s|seed %llu|trials %lld|injected %lld|violations %lld|worst %.1f ms|rate < %.2g\n",
                fault_.c_str(), static_cast<unsigned long long>(base_seed()), static_cast<long long>(trials_),
                static_cast<long long>(injected_), static_cast<long long>(failures() - failures_before_),
                static_cast<double>(worst_.count()) / 1e6, trials_ ? 3.0 / static_cast<double>(trials_) : 1.0);
    if (must_inject_ && injected_ == 0) ADD_FAILURE() << fault_ << ": nothing was injected, so nothing was tested";
}

void FaultRow::trial(std::int64_t injected, std::chrono::nanoseconds settled_after) {
    trials(1, injected, settled_after);
}

void FaultRow::trials(std::int64_t n, std::int64_t injected, std::chrono::nanoseconds settled_after) {
    trials_ += n;
    injected_ += injected;
    worst_ = std::max(worst_, settled_after);
}

} // namespace sennit::testing
