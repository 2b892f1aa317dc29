#include "tools/common/units.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace sennit::tools {
namespace {

[[noreturn]] void refuse(std::string_view option, std::string_view text, std::string_view wish) {
    throw UsageError(std::string(option) + ": '" + for_terminal(text) + "' is not " + std::string(wish));
}

// A decimal number without sign and exponent, from the front of `text`.
bool take_number(std::string_view& text, double& number) {
    const std::size_t length = std::min(text.find_first_not_of("0123456789."), text.size());
    if (length == 0) return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + length, number, std::chars_format::fixed);
    if (error != std::errc() || end != text.data() + length) return false;
    text.remove_prefix(length);
    return true;
}

} // namespace

std::int64_t parse_duration(std::string_view text, std::string_view option) {
    static constexpr std::string_view wish =
        "a duration: write 90, 1.5s, 200ms, 2m, 1h30m or 1d (a number alone is seconds)";
    std::string_view rest = text;
    double seconds = 0;
    do {
        double number = 0;
        if (!take_number(rest, number)) refuse(option, text, wish);
        const std::string_view unit = rest.substr(0, std::min(rest.find_first_of("0123456789."), rest.size()));
        if (unit.empty() || unit == "s")
            seconds += number;
        else if (unit == "ms")
            seconds += number / 1000;
        else if (unit == "m")
            seconds += number * 60;
        else if (unit == "h")
            seconds += number * 3600;
        else if (unit == "d")
            seconds += number * 86400;
        else
            refuse(option, text, wish);
        rest.remove_prefix(unit.size());
    } while (!rest.empty());
    return seconds >= 9e9 ? INT64_MAX : static_cast<std::int64_t>(std::ceil(seconds * 1e9));
}

std::int64_t parse_bytes(std::string_view text, std::string_view option) {
    static constexpr std::string_view wish = "a size: write 512, 64K, 200M or 1.5G";
    std::string_view rest = text;
    double number = 0;
    if (!take_number(rest, number)) refuse(option, text, wish);
    if (rest.size() > 1 && rest.ends_with("iB"))
        rest.remove_suffix(2);
    else if (rest.ends_with("B"))
        rest.remove_suffix(1);
    if (rest.size() > 1) refuse(option, text, wish);
    if (!rest.empty()) {
        static constexpr std::string_view binary = "KMGT", decimal = "kmgt";
        const std::size_t b = binary.find(rest.front()), d = decimal.find(rest.front());
        if (b != std::string_view::npos)
            number *= std::pow(1024.0, static_cast<double>(b + 1));
        else if (d != std::string_view::npos)
            number *= std::pow(1000.0, static_cast<double>(d + 1));
        else
            refuse(option, text, wish);
    }
    return number >= 9.2e18 ? INT64_MAX : static_cast<std::int64_t>(number);
}

std::int64_t parse_whole(std::string_view text, std::string_view option, std::int64_t low, std::int64_t high) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < low || number > high)
        refuse(option, text, "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return number;
}

unsigned parse_jobs(std::string_view text, unsigned cores) {
    constexpr std::int64_t most = 65'536;
    static constexpr std::string_view wish = "a number of jobs: write 4, 0 (as many as possible), 150% (of the cores), "
                                             "+2 or -1 (more or fewer than the cores)";
    std::string_view rest = text;
    const char sign = rest.empty() ? '\0' : rest.front();
    if (sign == '+' || sign == '-') rest.remove_prefix(1);
    const bool percent = rest.ends_with('%');
    if (percent) rest.remove_suffix(1);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc() || end != rest.data() + rest.size() || number < 0 || number > 1'000'000)
        refuse("-j", text, wish);
    if (percent) number = number * cores / 100;
    if (sign == '+')
        number = cores + number;
    else if (sign == '-')
        number = std::int64_t{cores} - number;
    else if (number == 0 && !percent)
        number = most;
    return static_cast<unsigned>(std::clamp<std::int64_t>(number, 1, most));
}

std::string with_commas(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t i = digits.size(); i > 3;) digits.insert(i -= 3, 1, ',');
    return digits;
}

std::string show_duration(std::int64_t ns) {
    char text[48];
    const double seconds = static_cast<double>(ns) / 1e9;
    if (seconds < 10)
        std::snprintf(text, sizeof text, "%.3f s", seconds);
    else if (seconds < 60)
        std::snprintf(text, sizeof text, "%.1f s", seconds);
    else {
        const std::int64_t whole = ns / 1'000'000'000;
        if (whole < 3600)
            std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(whole / 60), static_cast<int>(whole % 60));
        else
            std::snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(whole / 3600),
                          static_cast<int>(whole / 60 % 60), static_cast<int>(whole % 60));
    }
    return text;
}

std::string show_bytes(std::int64_t bytes) {
    static constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double number = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (number >= 1024 && unit + 1 < units.size()) number /= 1024, ++unit;
    char text[48];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", number, units[unit]);
    return text;
}

} // namespace sennit::tools
