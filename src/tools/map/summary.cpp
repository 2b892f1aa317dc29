#include "tools/map/summary.hpp"

#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace sennit::tools {
namespace {

double seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

std::string number(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

} // namespace

bool Summary::wants_command(const JobRecord& record) const noexcept {
    return slowest_.size() < slowest_shown || record.runtime_ns > slowest_.back().runtime_ns;
}

void Summary::add(const JobRecord& record) {
    cpu_ns_ += record.user_ns + record.system_ns;
    run_ns_ += record.runtime_ns;
    out_bytes_ += record.out_bytes + record.err_bytes;
    max_rss_bytes_ = std::max(max_rss_bytes_, record.max_rss_bytes);
    if (!record.last_attempt) {
        ++retries_;
        return;
    }
    ++jobs_;
    failed_ += record.failed() ? 1 : 0;
    timed_out_ += record.timed_out ? 1 : 0;
    if (!wants_command(record)) return;
    Slow slow{record.runtime_ns, record.sequence, record.failed() ? show_outcome(record) : "",
              std::string(record.command)};
    const auto at =
        std::find_if(slowest_.begin(), slowest_.end(), [&](const Slow& s) { return s.runtime_ns < slow.runtime_ns; });
    slowest_.insert(at, std::move(slow));
    if (slowest_.size() > slowest_shown) slowest_.pop_back();
}

std::string Summary::show(const Frame& f, bool bold) const {
    std::string text;
    const auto row = [&](std::string_view name, const std::string& value) {
        text += "  ";
        text += name;
        text.append(name.size() < 10 ? 10 - name.size() : 1, ' ');
        text += value;
        text += '\n';
    };
    const double wall = std::max(seconds(f.wall_ns), 1e-9);
    text += bold ? "\033[1m" : "";
    text += with_commas(jobs_) + (jobs_ == 1 ? " job in " : " jobs in ") + show_duration(f.wall_ns) + ", " +
            (failed_ == 0 ? "none failed" : with_commas(failed_) + " failed");
    text += bold ? "\033[0m\n" : "\n";
    if (!f.ended.empty()) row("ended", f.ended);
    if (skipped_ > 0) row("skipped", with_commas(skipped_) + " done by an earlier run");
    if (timed_out_ > 0) row("time-outs", with_commas(timed_out_));
    if (retries_ > 0) row("retries", with_commas(retries_));
    const double rate = static_cast<double>(jobs_) / wall;
    row("rate", (rate < 100 ? number(rate, 1) : with_commas(static_cast<std::uint64_t>(std::llround(rate)))) +
                    " jobs/s, up to " + with_commas(f.slots) + " at once, " + number(seconds(run_ns_) / wall, 1) +
                    " on average");
    row("CPU", show_duration(cpu_ns_ + f.own_cpu_ns) + " = " +
                   number(100 * seconds(cpu_ns_ + f.own_cpu_ns) / wall / f.cores, 0) + " % of " +
                   std::to_string(f.cores) + (f.cores == 1 ? " core" : " cores") + " (sennit itself " +
                   show_duration(f.own_cpu_ns) + ")");
    row("memory", "largest job " + show_bytes(max_rss_bytes_));
    row("output", show_bytes(out_bytes_));
    for (std::size_t i = 0; i < slowest_.size(); ++i) {
        const Slow& s = slowest_[i];
        std::string line =
            show_duration(s.runtime_ns) + "  #" + std::to_string(s.sequence) + "  " + for_terminal(s.command, 80);
        if (!s.outcome.empty()) line += "  [" + s.outcome + "]";
        row(i == 0 ? "slowest" : "", line);
    }
    if (!f.timeline.empty()) row("timeline", for_terminal(f.timeline));
    return text;
}

std::string Summary::json(const Frame& f) const {
    const double wall = std::max(seconds(f.wall_ns), 1e-9);
    std::string text =
        "{\"summary\": {\"jobs\": " + std::to_string(jobs_) + ", \"failed\": " + std::to_string(failed_) +
        ", \"timed_out\": " + std::to_string(timed_out_) + ", \"retries\": " + std::to_string(retries_) +
        ", \"skipped\": " + std::to_string(skipped_) + ", \"wall_seconds\": " + number(wall, 6) +
        ", \"jobs_per_second\": " + number(static_cast<double>(jobs_) / wall, 3) +
        ", \"cpu_seconds\": " + number(seconds(cpu_ns_ + f.own_cpu_ns), 6) +
        ", \"own_cpu_seconds\": " + number(seconds(f.own_cpu_ns), 6) + ", \"cores\": " + std::to_string(f.cores) +
        ", \"slots\": " + std::to_string(f.slots) + ", \"output_bytes\": " + std::to_string(out_bytes_) +
        ", \"max_rss_bytes\": " + std::to_string(max_rss_bytes_) + ", \"slowest\": [";
    for (std::size_t i = 0; i < slowest_.size(); ++i) {
        const Slow& s = slowest_[i];
        text += (i > 0 ? ", " : "") + ("{\"seq\": " + std::to_string(s.sequence)) +
                ", \"runtime\": " + number(seconds(s.runtime_ns), 6) + ", \"command\": ";
        append_json_bytes(text, s.command);
        text += '}';
    }
    text += "], \"timeline\": ";
    if (f.timeline.empty())
        text += "null";
    else
        append_json_bytes(text, f.timeline);
    text += ", \"ended\": ";
    if (f.ended.empty())
        text += "null";
    else
        append_json_bytes(text, f.ended);
    return text + "}}\n";
}

} // namespace sennit::tools
