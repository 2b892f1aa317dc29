#include "tools/common/bar.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace sennit::tools {

void append_bar(std::string& text, double part, std::size_t width, bool unicode) {
    if (unicode) {
        static constexpr const char* eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
        const auto filled = static_cast<std::size_t>(part * static_cast<double>(width) * 8);
        for (std::size_t i = 0; i < filled / 8; ++i) text += "█";
        if (filled % 8 > 0) text += eighths[filled % 8];
        text += "\033[2m";
        for (std::size_t i = (filled + 7) / 8; i < width; ++i) text += "░";
        text += "\033[0m";
    } else {
        const auto filled = static_cast<std::size_t>(part * static_cast<double>(width - 2));
        text += '[' + std::string(filled, '#') + std::string(width - 2 - filled, '.') + ']';
    }
}

std::string clock_time(double seconds) {
    if (seconds > 359'999) return "more than 99 h";
    const auto whole = static_cast<std::uint64_t>(std::ceil(seconds));
    const auto two = [](std::uint64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
    if (whole < 3600) return std::to_string(whole / 60) + ":" + two(whole % 60);
    return std::to_string(whole / 3600) + ":" + two(whole / 60 % 60) + ":" + two(whole % 60);
}

bool environment_is_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        const char* value = std::getenv(name);
        if (value == nullptr || *value == '\0') continue;
        const std::string_view text(value);
        return text.find("UTF-8") != std::string_view::npos || text.find("utf8") != std::string_view::npos ||
               text.find("UTF8") != std::string_view::npos || text.find("utf-8") != std::string_view::npos;
    }
    return false;
}

} // namespace sennit::tools
