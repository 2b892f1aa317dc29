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

} // namespace sennit::tools
