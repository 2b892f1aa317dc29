#pragma once

#include <cstdint>
#include <string_view>

namespace sennit::tools {

/// When `map` stops early (--halt): never, or soon (what runs may end) or now (what runs is ended) after so many jobs have
/// failed, succeeded or been done.
class HaltRule {
  public:
    enum class When : std::uint8_t { never, soon, now };

    HaltRule() = default;
    /// "never", "soon", "now", "soon,fail=3", "now,success=1", "now,done=10"; 0, 1 and 2 are never, soon and now. Throws
    /// UsageError.
    static HaltRule parse(std::string_view text);

    [[nodiscard]] bool may_stop() const noexcept { return when_ != When::never; }
    /// Tells of a job that has ended for good. What is to be done from now on.
    When job_ended(bool failed) noexcept;

  private:
    enum class Why : std::uint8_t { fail, success, done };
    When when_ = When::never;
    Why why_ = Why::fail;
    std::uint64_t limit_ = 1, count_ = 0;
};

} // namespace sennit::tools
