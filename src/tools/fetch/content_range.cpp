#include "tools/fetch/content_range.hpp"

#include <algorithm>
#include <charconv>

namespace sennit::tools {
namespace {

bool take_number(std::string_view& text, std::int64_t& number) noexcept {
    if (text.empty() || text.front() < '0' || text.front() > '9') return false; // from_chars would take a sign
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

bool take_character(std::string_view& text, char wanted) noexcept {
    if (text.empty() || text.front() != wanted) return false;
    text.remove_prefix(1);
    return true;
}

} // namespace

std::optional<ContentRange> parse_content_range(std::string_view text) noexcept {
    static constexpr std::string_view unit = "bytes ";
    if (text.size() < unit.size() || !std::equal(unit.begin(), unit.end(), text.begin(), [](char a, char b) {
            return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
        }))
        return std::nullopt;
    text.remove_prefix(unit.size());
    ContentRange range;
    if (!take_number(text, range.first) || !take_character(text, '-') || !take_number(text, range.last) ||
        !take_character(text, '/'))
        return std::nullopt;
    if (text == "*")
        range.length = -1;
    else if (!take_number(text, range.length) || !text.empty())
        return std::nullopt;
    if (range.first > range.last || (range.length >= 0 && range.last >= range.length)) return std::nullopt;
    return range;
}

bool is_strong_etag(std::string_view value) noexcept {
    if (value.size() < 3 || value.front() != '"' || value.back() != '"') return false;
    return std::all_of(value.begin() + 1, value.end() - 1, [](char c) {
        const auto b = static_cast<unsigned char>(c);
        return b > 0x20 && b != '"' && b != 0x7f;
    });
}

} // namespace sennit::tools
