#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sennit::tools {

/// The head of a server's answer: what of it matters to who wants a file.
///
/// Fed line by line, as they come; a status line begins anew, so of several heads (100, then 200) the last one counts.
class Answer {
  public:
    static constexpr std::size_t most_bytes = 256 * 1024;

    /// One line, with or without its end. False when it makes the answer unusable: problem() says why.
    bool line(std::string_view text);

    [[nodiscard]] int status() const noexcept { return status_; }
    /// "404 Not Found"
    [[nodiscard]] std::string shown_status() const;
    /// How long the body is to be; -1 when that is not said.
    [[nodiscard]] std::int64_t content_length() const noexcept { return chunked_ ? -1 : content_length_; }
    [[nodiscard]] const std::string& content_range() const noexcept { return content_range_; }
    /// False when the body is packed (gzip, ...).
    [[nodiscard]] bool is_plain() const noexcept { return plain_; }
    /// The entity tag, if it is a strong one; else empty.
    [[nodiscard]] std::string strong_etag() const;
    /// Last-Modified, if it is strong: a minute older than the answer, so that no change since can hide in the same second.
    [[nodiscard]] std::string strong_date() const;
    [[nodiscard]] const std::string& etag() const noexcept { return etag_; }
    [[nodiscard]] const std::string& last_modified() const noexcept { return modified_; }
    [[nodiscard]] const std::string& location() const noexcept { return location_; }
    [[nodiscard]] const std::string& disposition() const noexcept { return disposition_; }
    /// After how many seconds to come back; -1 when that is not said.
    [[nodiscard]] std::int64_t retry_after(std::int64_t now_seconds_since_1970) const;
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  private:
    void begin(std::string_view text);

    int status_ = 0;
    std::string reason_, content_range_, etag_, modified_, date_, disposition_, location_, retry_after_, problem_;
    std::int64_t content_length_ = -1;
    std::size_t bytes_ = 0; // of all heads
    bool chunked_ = false, plain_ = true;
};

} // namespace sennit::tools
