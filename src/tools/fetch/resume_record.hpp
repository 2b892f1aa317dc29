#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sennit::tools {

/// What stands beside an unfinished file, in NAME.part-info: enough to ask for the rest of the very same bytes, and no more
/// than the server said.
///
///     sennit-fetch 1
///     url https://example.org/a.iso
///     length 73400320
///     etag "5f2a-17"                     or: modified Sat, 01 Aug 2026 10:00:00 GMT
///     synced 41943040                    bytes that are on the disk, whatever happens to the machine
///     boot 6a4e...                       while this boot lasts, all bytes of NAME.part are good
///     end
struct ResumeRecord {
    std::string url;            // without user and password
    std::int64_t length = 0;    // of the whole file
    std::string etag, modified; // the strong validator: one of them
    std::int64_t synced = 0;
    std::string boot;

    [[nodiscard]] std::string encode() const;
    /// Nothing for what encode() did not write in full.
    static std::optional<ResumeRecord> decode(std::string_view text);
    static constexpr std::size_t longest = 64 * 1024;

    /// What to send as If-Range.
    [[nodiscard]] const std::string& validator() const noexcept { return etag.empty() ? modified : etag; }
    friend bool operator==(const ResumeRecord&, const ResumeRecord&) = default;
};

} // namespace sennit::tools
