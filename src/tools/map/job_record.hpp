#pragma once

#include "tools/common/timeline.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sennit::tools {

/// How a job, or one attempt at it, went: what the log, the summary, the timeline and JSON are made of.
struct JobRecord {
    std::uint64_t sequence = 0;
    unsigned slot = 0;
    unsigned attempt = 1;
    bool last_attempt = true;
    std::int64_t start_wall_ms = 0; // since 1970
    std::int64_t start_ns = 0;      // since the start of `map`
    std::int64_t runtime_ns = 0;
    int exit_code = 0; // -1 when the job was ended for its time-out
    int signal = 0;
    bool timed_out = false;
    bool not_started = false;
    std::int64_t user_ns = 0, system_ns = 0, max_rss_bytes = 0;
    std::int64_t out_bytes = 0, err_bytes = 0;
    std::span<const std::string> inputs;
    std::string_view command; // as one line for a shell

    [[nodiscard]] bool failed() const noexcept { return exit_code != 0 || signal != 0; }
};

/// "exit 3", "signal 9 (KILL)", "time-out", ...
std::string show_outcome(const JobRecord& record);

/// The words of the page of --timeline, and a row of it.
inline constexpr Timeline::Words timeline_words{"map", "job", "jobs", "command", "output", true};
Timeline::Row timeline_row(const JobRecord& record);

} // namespace sennit::tools
