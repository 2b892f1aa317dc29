#include "tools/fetch/file_name.hpp"

#include "tools/common/quoting.hpp"

#include <algorithm>
#include <cctype>

namespace sennit::tools {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void append_percent(std::string& to, char byte) {
    static constexpr char digits[] = "0123456789ABCDEF";
    const auto b = static_cast<unsigned char>(byte);
    to += '%';
    to += digits[b >> 4];
    to += digits[b & 15];
}

// Where the extension begins; the size if there is none worth keeping.
std::size_t extension_at(std::string_view name) {
    constexpr std::size_t longest_extension = 20;
    std::size_t at = name.rfind('.');
    if (at == std::string_view::npos || at == 0) return name.size();
    // .tar.gz belongs together
    const std::size_t before = name.rfind('.', at - 1);
    if (before != std::string_view::npos && before > 0 && name.substr(before, at - before) == ".tar") at = before;
    return name.size() - at > longest_extension ? name.size() : at;
}

// Cuts at most `bytes` off the front, between two characters and not inside a %XX.
std::string_view front_of(std::string_view name, std::size_t bytes) {
    if (name.size() <= bytes) return name;
    std::size_t end = bytes;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
    for (std::size_t back = 1; back <= 2 && end >= back; ++back)
        if (name[end - back] == '%') return name.substr(0, end - back);
    return name.substr(0, end);
}

std::string with_stem_cut(std::string_view name, std::size_t limit, std::string_view between) {
    const std::size_t at = extension_at(name);
    const std::string_view extension = name.substr(at);
    std::string result(front_of(name.substr(0, at), limit - std::min(limit, extension.size() + between.size())));
    result += between;
    return result += extension;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

bool same_word(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
    });
}

// Takes one `; name=value` from the front; the value is unquoted. False at the end.
bool take_parameter(std::string_view& rest, std::string_view& name, std::string& value) {
    const std::size_t semicolon = rest.find(';');
    if (semicolon == std::string_view::npos) return false;
    rest.remove_prefix(semicolon + 1);
    const std::size_t equals = std::min(rest.find_first_of("=;"), rest.size());
    name = trimmed(rest.substr(0, equals));
    rest.remove_prefix(equals);
    value.clear();
    if (rest.empty() || rest.front() != '=') return true;
    rest = trimmed(rest.substr(1));
    if (rest.empty() || rest.front() != '"') {
        const std::size_t end = std::min(rest.find(';'), rest.size());
        value = trimmed(rest.substr(0, end));
        rest.remove_prefix(end);
        return true;
    }
    for (rest.remove_prefix(1); !rest.empty() && rest.front() != '"'; rest.remove_prefix(1)) {
        if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
        value += rest.front();
    }
    return true;
}

} // namespace

std::string percent_decoded(std::string_view text) {
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
            bytes += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        } else {
            bytes += text[i];
        }
    }
    return bytes;
}

std::string safe_file_name(std::string_view bytes) {
    if (bytes.empty()) return "index.html";
    std::string name;
    while (!bytes.empty()) {
        const std::size_t n = utf8_character(bytes);
        const char c = bytes.front();
        const bool first_of_trouble = name.empty() && (c == '.' || c == '-' || c == '~');
        if (n == 0 || c == '/' || c == '\\' || first_of_trouble) {
            append_percent(name, c);
            bytes.remove_prefix(1);
            continue;
        }
        if (is_control(bytes.substr(0, n)))
            for (const char b : bytes.substr(0, n)) append_percent(name, b);
        else
            name += bytes.substr(0, n);
        bytes.remove_prefix(n);
    }
    if (name.size() > longest_file_name) name = with_stem_cut(name, longest_file_name, "");
    if (name.ends_with(part_suffix) || name.ends_with(record_suffix)) name += '_';
    return name;
}

std::string file_name_of_path(std::string_view url_path) {
    url_path = url_path.substr(0, url_path.find_first_of("?#"));
    return safe_file_name(percent_decoded(url_path.substr(url_path.rfind('/') + 1)));
}

std::optional<std::string> disposition_file_name(std::string_view value) {
    std::optional<std::string> plain;
    std::string_view name;
    std::string text;
    while (take_parameter(value, name, text)) {
        if (same_word(name, "filename*")) {
            // charset'language'percent-encoded
            const std::size_t first = text.find('\'');
            const std::size_t second = first == std::string::npos ? first : text.find('\'', first + 1);
            if (second == std::string::npos || !same_word(std::string_view(text).substr(0, first), "UTF-8")) continue;
            const std::string decoded = percent_decoded(std::string_view(text).substr(second + 1));
            if (!decoded.empty()) return safe_file_name(decoded);
        } else if (same_word(name, "filename") && !text.empty() && !plain) {
            plain = safe_file_name(text);
        }
    }
    return plain;
}

std::string FileNames::take(std::string name) {
    const auto [at, is_new] = taken_.emplace(std::move(name), 2);
    if (is_new) return at->first;
    // What is at `at` stays where it is when others come: references of an unordered_map do.
    const std::string& wanted = at->first;
    std::size_t& next = at->second;
    for (;;) {
        std::string numbered = with_stem_cut(wanted, longest_file_name, "-" + std::to_string(next++));
        if (taken_.emplace(numbered, 2).second) return numbered;
    }
}

} // namespace sennit::tools
