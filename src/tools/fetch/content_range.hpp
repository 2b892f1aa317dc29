#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sennit::tools {

/// What a Content-Range header says: bytes `first` to `last` of `length` (-1: it does not say).   RFC 9110, 14.4
struct ContentRange {
    std::int64_t first = 0, last = -1, length = -1;
};

/// "bytes 5-9/10"; nothing for what is not exactly that, contradicts itself, or is the answer 416 ("bytes */10").
std::optional<ContentRange> parse_content_range(std::string_view value) noexcept;

/// True for an entity tag that two byte-identical answers share and others do not: quoted, and not W/"...".
bool is_strong_etag(std::string_view value) noexcept;

} // namespace sennit::tools
