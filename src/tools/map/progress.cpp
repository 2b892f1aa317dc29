#include "tools/map/progress.hpp"

#include "tools/common/bar.hpp"
#include "tools/common/units.hpp"

#include <sennit/os/system_state.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace sennit::tools {
namespace {

constexpr std::int64_t window_ns = 5'000'000'000; // the rate is that of the last seconds

std::string rounded(double rate) {
    if (rate >= 100) return with_commas(static_cast<std::uint64_t>(std::llround(rate)));
    const auto tenths = static_cast<std::uint64_t>(std::llround(rate * 10));
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

} // namespace

double Progress::rate(const State& s) {
    if (history_.empty()) history_.emplace_back(s.start, 0);
    history_.emplace_back(s.now, s.done);
    while (history_.size() > 2 && history_[1].first < s.now - window_ns) history_.pop_front();
    const auto [then, before] = history_.front();
    return s.now > then ? static_cast<double>(s.done - before) * 1e9 / static_cast<double>(s.now - then) : 0;
}

std::string Progress::line(const State& s, std::size_t columns) {
    const double per_second = rate(s);
    const std::uint64_t done = s.done + s.skipped;
    std::string left, right = rounded(per_second) + "/s";
    double part = -1;
    if (s.total) {
        part = *s.total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(*s.total));
        const auto percent = static_cast<int>(part * 100);
        left = std::string(percent < 10 ? "  " : percent < 100 ? " " : "") + std::to_string(percent) + "% ";
        right = with_commas(done) + "/" + with_commas(*s.total) + "  " + right;
        const std::uint64_t to_go = *s.total > done ? *s.total - done : 0;
        right +=
            "  ETA " + (per_second > 0 ? clock_time(static_cast<double>(to_go) / per_second) : std::string("-:--"));
    } else {
        right = with_commas(done) + " done  " + right + "  " + clock_time(static_cast<double>(s.now - s.start) / 1e9);
    }
    right += "  " + std::to_string(s.running) + " running";
    if (s.failed > 0) right += "  " + with_commas(s.failed) + " failed";
    if (s.waits_for != nullptr) right += std::string("  (waiting: ") + s.waits_for + ")";

    // One column stays free: many terminals wrap when the last one is written.
    const std::size_t room = columns > 1 ? columns - 1 : 0;
    std::size_t bar = room > left.size() + right.size() + 2 ? room - left.size() - right.size() - 2 : 0;
    bar = std::min<std::size_t>(bar, 40);
    std::string text = left;
    if (part >= 0 && bar >= 5) {
        append_bar(text, part, bar, unicode_);
        text += "  ";
    }
    if (left.size() + right.size() > room) right.resize(room > left.size() ? room - left.size() : 0);
    return text + right;
}

void Progress::update(const State& state) {
    if (state.now < next_) return;
    next_ = state.now + interval_ns;
    const int columns = os::terminal_columns(fd_);
    // Back to the left, the line, and away with what is left of a longer one.
    const std::string text = "\r" + line(state, columns > 0 ? static_cast<std::size_t>(columns) : 80) + "\033[K";
    stream_.write(text.data(), text.size());
    shown_ = true;
}

void Progress::erase() {
    if (!shown_) return;
    static constexpr std::string_view clear = "\r\033[K";
    stream_.write(clear.data(), clear.size());
    shown_ = false;
    next_ = 0;
}

} // namespace sennit::tools
