#include "tools/fetch/report.hpp"

#include "tools/common/bar.hpp"
#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"
#include "tools/fetch/address.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/system_state.hpp>

#include <algorithm>
#include <cstdio>

namespace sennit::tools {
namespace {

constexpr std::int64_t window_ns = 5'000'000'000; // the rate is that of the last seconds

void write_out(int fd, std::string_view text) {
    if (const int error = os::write_all(fd, text.data(), text.size()); error != 0)
        throw OSError(-error, fd == 1 ? "cannot write to standard output" : "cannot write to standard error");
}

std::string json_number(double value) {
    char text[48];
    std::snprintf(text, sizeof text, "%.6f", value);
    return text;
}

// `text` cut or filled up to so many characters; multi-byte characters count as one.
std::string fitted(std::string_view text, std::size_t columns) {
    std::string shown = for_terminal(text, columns);
    const auto width = static_cast<std::size_t>(std::count_if(
        shown.begin(), shown.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
    shown.append(columns > width ? columns - width : 0, ' ');
    return shown;
}

std::string percent(double part) {
    const auto whole = static_cast<int>(part * 100);
    return std::string(whole < 10 ? "  " : whole < 100 ? " " : "") + std::to_string(whole) + "% ";
}

} // namespace

FetchReport::FetchReport(const FetchOptions& o)
    : json_(o.json),
      summary_(o.summary || (!o.quiet && !o.json && os::is_terminal(2))),
      unicode_(environment_is_utf8()) {
    const bool wanted =
        o.progress == FetchOptions::Show::always || (o.progress == FetchOptions::Show::automatic && os::is_terminal(2));
    if (wanted && !o.dry_run) progress_.emplace(2);
    if (!o.timeline.empty() && !o.dry_run) {
        const std::string title = !o.lists.empty()     ? "-i " + o.lists.front()
                                  : o.urls.size() == 1 ? shown_url(o.urls.front())
                                                       : std::to_string(o.urls.size()) + " URLs";
        timeline_.emplace(o.timeline, timeline_words, title);
    }
}

void FetchReport::say(std::string_view text) {
    erase();
    write_out(2, "sennit fetch: " + std::string(text) + "\n");
}

void FetchReport::attempt(const Timeline::Row& row) {
    if (timeline_) timeline_->add(row);
}

void FetchReport::ended(const FetchRecord& r) {
    ++done_;
    failed_ += r.ok ? 0 : 1;
    skipped_ += r.skipped ? 1 : 0;
    if (r.ok && !r.skipped) bytes_ += r.bytes;
    if (!r.ok && !json_) {
        std::string text = for_terminal(r.url, 300) + ": " + std::string(r.error);
        if (r.attempts > 1) text += " (" + std::to_string(r.attempts) + " attempts)";
        say(text);
    }
    if (!json_) return;
    std::string line = "{\"seq\": " + std::to_string(r.number) + ", \"url\": ";
    append_json_bytes(line, r.url);
    line += ", \"file\": ";
    if (r.path.empty())
        line += "null";
    else
        append_json_bytes(line, r.path);
    line += r.ok ? ", \"ok\": true" : ", \"ok\": false";
    line += r.skipped ? ", \"skipped\": true" : ", \"skipped\": false";
    line += ", \"status\": " + (r.status == 0 ? std::string("null") : std::to_string(r.status));
    line += ", \"bytes\": " + std::to_string(r.bytes) + ", \"fetched\": " + std::to_string(r.fetched) +
            ", \"resumed_from\": " + std::to_string(r.resumed_from) + ", \"attempts\": " + std::to_string(r.attempts);
    line += ", \"start\": " + json_number(static_cast<double>(r.start_wall_ms) / 1e3) +
            ", \"seconds\": " + json_number(static_cast<double>(r.runtime_ns) / 1e9) + ", \"sha256\": ";
    line += r.sha256.empty() ? "null" : "\"" + std::string(r.sha256) + "\"";
    line += ", \"error\": ";
    if (r.error.empty())
        line += "null";
    else
        append_json_bytes(line, r.error);
    line += "}\n";
    erase();
    write_out(1, line);
}

double FetchReport::part_done(const State& s) const {
    const double total = static_cast<double>(*s.total), done = static_cast<double>(done_);
    if (*s.total == 0) return 1;
    const double fetched = static_cast<double>(done_ - failed_ - skipped_) + static_cast<double>(s.running);
    const double known = static_cast<double>(bytes_ + s.active_length);
    if (fetched == 0 || known == 0) return std::min(1.0, done / total);
    const double to_come = std::max(0.0, total - done - static_cast<double>(s.running)) * known / fetched;
    return std::min(1.0, static_cast<double>(bytes_ + s.active_have) / (known + to_come));
}

std::vector<std::string> FetchReport::lines(const State& s, const std::vector<FetchGlance>& active, std::size_t columns,
                                            bool unicode) {
    std::vector<std::string> result;
    const std::size_t room = columns > 1 ? columns - 1 : 0; // many terminals wrap when the last one is written
    for (const FetchGlance& a : active) {
        const bool known = a.length > 0;
        const double part = known ? std::min(1.0, static_cast<double>(a.have) / static_cast<double>(a.length)) : 0;
        std::string right = known ? percent(part) : "     ";
        const std::size_t bar = room >= 60 ? 16 : 0;
        if (bar > 0 && known)
            append_bar(right, part, bar, unicode);
        else
            right.append(bar, ' ');
        const std::string bytes = "  " + show_bytes(a.have) + (known ? " / " + show_bytes(a.length) : std::string());
        const std::size_t taken = 5 + bar + 26;
        if (room < taken + 8) continue;
        result.push_back(fitted(a.name, room - taken) + right + fitted(bytes, 26));
    }

    history_.emplace_back(s.now, s.fetched);
    while (history_.size() > 2 && history_[1].first < s.now - window_ns) history_.pop_front();
    const auto [then, before] = history_.front();
    const double rate =
        s.now > then ? static_cast<double>(s.fetched - before) * 1e9 / static_cast<double>(s.now - then) : 0;
    const double elapsed = static_cast<double>(s.now - s.start) / 1e9;
    std::string left, right = with_commas(done_);
    double part = -1;
    if (s.total) {
        part = part_done(s);
        left = percent(part);
        right += "/" + with_commas(*s.total);
    }
    right += s.total && *s.total == 1 ? " file  " : " files  ";
    right += show_bytes(s.fetched) + "  " + show_bytes(static_cast<std::int64_t>(rate)) + "/s";
    if (part > 0)
        right += "  ETA " + clock_time(elapsed * (1 - part) / part);
    else
        right += "  " + clock_time(elapsed);
    right += "  " + std::to_string(s.running) + " running";
    if (failed_ > 0) right += "  " + with_commas(failed_) + " failed";
    const std::size_t bar =
        std::min<std::size_t>(30, room > left.size() + right.size() + 2 ? room - left.size() - right.size() - 2 : 0);
    if (part >= 0 && bar >= 5) {
        append_bar(left, part, bar, unicode);
        left += "  ";
    } else if (left.size() + right.size() > room) {
        right.resize(room > left.size() ? room - left.size() : 0);
    }
    result.push_back(left + right);
    return result;
}

void FetchReport::progress(const State& state, const std::vector<FetchGlance>& active) {
    if (!progress_) return;
    const int columns = os::terminal_columns(2);
    const std::vector<std::string> now =
        lines(state, active, columns > 0 ? static_cast<std::size_t>(columns) : 80, unicode_);
    // Up to where the last ones began, each line anew, and away with what is left of them.
    std::string text = "\r";
    if (lines_shown_ > 1) text += "\033[" + std::to_string(lines_shown_ - 1) + "A";
    for (std::size_t i = 0; i < now.size(); ++i) text += (i > 0 ? "\n" : "") + now[i] + "\033[K";
    text += "\033[J";
    progress_->write(text.data(), text.size()); // a stopped terminal must not stop the downloads: then lines are lost
    lines_shown_ = now.size();
}

void FetchReport::erase() {
    if (lines_shown_ == 0) return;
    std::string text = "\r";
    if (lines_shown_ > 1) text += "\033[" + std::to_string(lines_shown_ - 1) + "A";
    text += "\033[J";
    progress_->write(text.data(), text.size());
    lines_shown_ = 0;
}

void FetchReport::finish(const End& e) {
    erase();
    std::string timeline;
    if (timeline_) {
        timeline_->finish({e.wall_ns, e.started_wall_ms, e.slots, e.cores, os::own_cpu_ns(), e.ended});
        timeline = timeline_->path();
    }
    const double wall = std::max(static_cast<double>(e.wall_ns) / 1e9, 1e-9);
    const auto rate = static_cast<std::int64_t>(static_cast<double>(e.fetched) / wall);
    if (json_) {
        std::string line = "{\"summary\": {\"files\": " + std::to_string(done_) +
                           ", \"failed\": " + std::to_string(failed_) + ", \"skipped\": " + std::to_string(skipped_) +
                           ", \"bytes\": " + std::to_string(bytes_) + ", \"fetched\": " + std::to_string(e.fetched) +
                           ", \"kept\": " + std::to_string(e.kept) + ", \"wall_seconds\": " + json_number(wall) +
                           ", \"own_cpu_seconds\": " + json_number(static_cast<double>(os::own_cpu_ns()) / 1e9) +
                           ", \"timeline\": ";
        if (timeline.empty())
            line += "null";
        else
            append_json_bytes(line, timeline);
        line += ", \"ended\": ";
        if (e.ended.empty())
            line += "null";
        else
            append_json_bytes(line, e.ended);
        write_out(1, line + "}}\n");
    }
    if (!summary_) {
        if (!e.ended.empty() && !json_)
            say(e.ended + (e.kept > 0 ? "; " + with_commas(e.kept) + " unfinished kept: --resume goes on from there"
                                      : std::string()));
        return;
    }
    std::string text = with_commas(done_) + (done_ == 1 ? " file in " : " files in ") + show_duration(e.wall_ns) +
                       ", " + (failed_ == 0 ? "none failed" : with_commas(failed_) + " failed");
    if (skipped_ > 0) text += ", " + with_commas(skipped_) + " there before";
    text += "; " + show_bytes(e.fetched) + " fetched, " + show_bytes(rate) + "/s\n";
    if (!e.ended.empty()) text += "  ended: " + e.ended + "\n";
    if (e.kept > 0) text += "  " + with_commas(e.kept) + " unfinished kept: --resume goes on from there\n";
    if (!timeline.empty()) text += "  timeline: " + for_terminal(timeline) + "\n";
    write_out(2, text);
}

} // namespace sennit::tools
