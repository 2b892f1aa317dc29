#include "tools/fetch/resume_record.hpp"

#include "tools/fetch/content_range.hpp"

#include <algorithm>
#include <charconv>

namespace sennit::tools {
namespace {

constexpr std::string_view first_line = "sennit-fetch 1";

// The value of the line `name value`, which must come next.
bool take_line(std::string_view& text, std::string_view name, std::string_view& value) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    std::string_view line = text.substr(0, end);
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') return false;
    value = line.substr(name.size() + 1);
    text.remove_prefix(end + 1);
    return std::none_of(value.begin(), value.end(), [](char c) {
        const auto b = static_cast<unsigned char>(c);
        return b < 0x20 || b == 0x7f;
    });
}

bool take_number(std::string_view& text, std::string_view name, std::int64_t& number) {
    std::string_view value;
    if (!take_line(text, name, value)) return false;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    return error == std::errc() && end == value.data() + value.size() && number >= 0 && value == std::to_string(number);
}

} // namespace

std::string ResumeRecord::encode() const {
    std::string text(first_line);
    text += "\nurl " + url + "\nlength " + std::to_string(length);
    text += etag.empty() ? "\nmodified " + modified : "\netag " + etag;
    text += "\nsynced " + std::to_string(synced) + "\nboot " + boot + "\nend\n";
    return text;
}

std::optional<ResumeRecord> ResumeRecord::decode(std::string_view text) {
    if (text.size() > longest || !text.starts_with(first_line)) return std::nullopt;
    text.remove_prefix(first_line.size());
    if (!text.starts_with('\n')) return std::nullopt;
    text.remove_prefix(1);
    ResumeRecord record;
    std::string_view url, etag, modified, boot;
    if (!take_line(text, "url", url) || !take_number(text, "length", record.length)) return std::nullopt;
    if (text.starts_with("etag ")) {
        if (!take_line(text, "etag", etag) || !is_strong_etag(etag)) return std::nullopt;
    } else if (!take_line(text, "modified", modified) || modified.empty()) {
        return std::nullopt;
    }
    if (!take_number(text, "synced", record.synced) || !take_line(text, "boot", boot) || text != "end\n" || url.empty())
        return std::nullopt;
    record.url = url;
    record.etag = etag;
    record.modified = modified;
    record.boot = boot;
    return record;
}

} // namespace sennit::tools
