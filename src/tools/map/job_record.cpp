#include "tools/map/job_record.hpp"

#include <csignal>
#include <cstring>

namespace sennit::tools {

std::string show_outcome(const JobRecord& record) {
    if (record.timed_out) return "time-out";
    if (record.not_started) return "not started (" + std::to_string(record.exit_code) + ")";
    if (record.signal != 0) {
        const char* const name = ::sigabbrev_np(record.signal);
        return "signal " + std::to_string(record.signal) + (name != nullptr ? " (" + std::string(name) + ")" : "");
    }
    return "exit " + std::to_string(record.exit_code);
}

Timeline::Row timeline_row(const JobRecord& r) {
    Timeline::Row row;
    row.number = r.sequence;
    row.slot = r.slot;
    row.retried = r.last_attempt ? 0 : r.attempt;
    row.start_ns = r.start_ns;
    row.runtime_ns = r.runtime_ns;
    row.outcome = r.signal != 0 ? -r.signal : r.exit_code;
    if (r.timed_out)
        row.outcome_word = "time-out";
    else if (r.not_started)
        row.outcome_word = "not started";
    row.cpu_ns = r.user_ns + r.system_ns;
    row.memory_bytes = r.max_rss_bytes;
    row.bytes = r.out_bytes + r.err_bytes;
    row.label = r.command;
    return row;
}

} // namespace sennit::tools
