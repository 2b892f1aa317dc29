#include "tools/map/halt.hpp"

#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"

#include <sennit/base/errors.hpp>

namespace sennit::tools {

HaltRule HaltRule::parse(std::string_view text) {
    HaltRule rule;
    const std::size_t comma = text.find(',');
    const std::string_view when = text.substr(0, comma);
    const auto refuse = [&] {
        throw UsageError(
            "--halt: '" + for_terminal(text) +
            "' is none of never, soon, now, and these with a reason: soon,fail=3 now,success=1 now,done=10");
    };
    if (when == "soon" || text == "1")
        rule.when_ = When::soon;
    else if (when == "now" || text == "2")
        rule.when_ = When::now;
    else if (text != "never" && text != "0")
        refuse();
    if (comma == std::string_view::npos) return rule;
    const std::string_view why = text.substr(comma + 1);
    const std::size_t equals = why.find('=');
    const std::string_view reason = why.substr(0, equals);
    if (reason == "fail")
        rule.why_ = Why::fail;
    else if (reason == "success")
        rule.why_ = Why::success;
    else if (reason == "done")
        rule.why_ = Why::done;
    else
        refuse();
    if (equals == std::string_view::npos) refuse();
    rule.limit_ = static_cast<std::uint64_t>(parse_whole(why.substr(equals + 1), "--halt", 1, INT64_MAX));
    return rule;
}

HaltRule::When HaltRule::job_ended(bool failed) noexcept {
    if (when_ == When::never) return When::never;
    if (why_ == Why::done || (why_ == Why::fail) == failed) ++count_;
    return count_ >= limit_ ? when_ : When::never;
}

} // namespace sennit::tools
