// One line of the table of faults: what was tried, what was injected, what went wrong, how long it took to settle.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace sennit::testing {

/// Lives as long as one fault's trials, in a test; its line is printed at the end, for tests/faults/run.sh to collect:
///
///     [  FAULT   ] F18|seed 5|trials 812|injected 790|violations 0|worst 3.1 ms|rate < 0.0037
class FaultRow {
  public:
    /// `fault` as in the specification: "F18".
    /// `must_inject` is false where it is up to chance whether anything is; else a row without any is a failure.
    explicit FaultRow(std::string fault, bool must_inject = true);
    ~FaultRow();
    FaultRow(const FaultRow&) = delete;
    FaultRow& operator=(const FaultRow&) = delete;

    /// One attempt more, with so many injected faults; it took so long from the first of them till all was well again.
    void trial(std::int64_t injected, std::chrono::nanoseconds settled_after = {});
    /// So many attempts more at once.
    void trials(std::int64_t n, std::int64_t injected, std::chrono::nanoseconds settled_after = {});
    [[nodiscard]] std::int64_t injected() const noexcept { return injected_; }

    /// Measures a trial from here on.
    class Trial {
      public:
        explicit Trial(FaultRow& row) : row_(row), began_(std::chrono::steady_clock::now()) {}
        ~Trial() { row_.trial(injected, std::chrono::steady_clock::now() - began_); }
        Trial(const Trial&) = delete;
        Trial& operator=(const Trial&) = delete;
        std::int64_t injected = 0;

      private:
        FaultRow& row_;
        std::chrono::steady_clock::time_point began_;
    };

  private:
    std::string fault_;
    bool must_inject_;
    std::int64_t trials_ = 0, injected_ = 0, failures_before_ = 0;
    std::chrono::nanoseconds worst_{};
};

} // namespace sennit::testing
