#include "tools/fetch/answer.hpp"

#include "tools/common/quoting.hpp"
#include "tools/fetch/content_range.hpp"

#include <algorithm>
#include <charconv>
#include <curl/curl.h>

namespace sennit::tools {
namespace {

constexpr std::int64_t date_is_strong_after_s = 60;

bool equal_in_lower_case(std::string_view text, std::string_view lower) {
    return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                      [](char c, char wanted) { return (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) == wanted; });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n'))
        text.remove_suffix(1);
    return text;
}

bool whole_number(std::string_view text, std::int64_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size() && text.front() != '-';
}

} // namespace

void Answer::begin(std::string_view text) {
    const std::size_t bytes = bytes_;
    *this = Answer();
    bytes_ = bytes;
    const std::size_t space = std::min(text.find(' '), text.size());
    text = trimmed(text.substr(space));
    std::from_chars(text.data(), text.data() + text.size(), status_);
    reason_ = trimmed(text.substr(std::min<std::size_t>(3, text.size())));
}

bool Answer::line(std::string_view text) {
    bytes_ += text.size();
    if (bytes_ > most_bytes) {
        problem_ = "the head of the answer is longer than 256 KiB";
        return false;
    }
    if (text.starts_with("HTTP/")) {
        begin(text);
        return true;
    }
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return true;
    const auto is = [name = text.substr(0, colon)](std::string_view wanted) {
        return equal_in_lower_case(name, wanted);
    };
    const std::string_view value = trimmed(text.substr(colon + 1));
    if (is("content-length")) {
        std::int64_t length = -1;
        if (!whole_number(value, length) || (content_length_ >= 0 && content_length_ != length)) {
            problem_ = "the answer contradicts itself about its length";
            return false;
        }
        content_length_ = length;
    } else if (is("transfer-encoding")) {
        chunked_ = true;
    } else if (is("content-encoding")) {
        plain_ = equal_in_lower_case(value, "identity");
    } else if (is("content-range")) {
        content_range_ = value;
    } else if (is("etag")) {
        etag_ = value;
    } else if (is("last-modified")) {
        modified_ = value;
    } else if (is("date")) {
        date_ = value;
    } else if (is("content-disposition")) {
        disposition_ = value;
    } else if (is("location")) {
        location_ = value;
    } else if (is("retry-after")) {
        retry_after_ = value;
    }
    return true;
}

std::string Answer::shown_status() const {
    std::string text = std::to_string(status_);
    if (!reason_.empty()) return text + " " + for_terminal(reason_, 60);
    struct Known {
        int status;
        const char* reason;
    };
    // HTTP/2 has no words.
    static constexpr Known known[] = {{400, "Bad Request"},
                                      {401, "Unauthorized"},
                                      {403, "Forbidden"},
                                      {404, "Not Found"},
                                      {410, "Gone"},
                                      {416, "Range Not Satisfiable"},
                                      {429, "Too Many Requests"},
                                      {500, "Internal Server Error"},
                                      {502, "Bad Gateway"},
                                      {503, "Service Unavailable"},
                                      {504, "Gateway Timeout"}};
    for (const Known& k : known)
        if (k.status == status_) return text + " " + k.reason;
    return text;
}

std::string Answer::strong_etag() const { return is_strong_etag(etag_) ? etag_ : std::string(); }

std::string Answer::strong_date() const {
    if (modified_.empty() || date_.empty()) return {};
    const std::int64_t modified = ::curl_getdate(modified_.c_str(), nullptr);
    const std::int64_t date = ::curl_getdate(date_.c_str(), nullptr);
    if (modified < 0 || date < 0 || modified > date - date_is_strong_after_s) return {};
    const bool clean = std::none_of(modified_.begin(), modified_.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    return clean ? modified_ : std::string();
}

std::int64_t Answer::retry_after(std::int64_t now) const {
    if (retry_after_.empty()) return -1;
    std::int64_t seconds = 0;
    if (whole_number(retry_after_, seconds)) return seconds;
    const std::int64_t when = ::curl_getdate(retry_after_.c_str(), nullptr);
    return when < 0 ? -1 : std::max<std::int64_t>(0, when - now);
}

} // namespace sennit::tools
