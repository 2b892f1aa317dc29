#pragma once

#include <string>
#include <string_view>

namespace sennit::tools {

/// A URL, taken apart as far as fetching it safely needs.
struct Address {
    std::string url;            // without user, password and fragment
    std::string scheme, host;   // in lower case
    std::string origin;         // scheme://host:port: who gets credentials
    std::string path;           // as written: percent-encoded
    std::string user, password; // decoded
    bool has_user = false;

    /// Throws UsageError, a sentence without the URL, for what is no http(s) URL with a host. `base` is what a relative one is
    /// relative to; empty: it must be absolute.
    static Address parse(const std::string& text, const std::string& base = {});
};

/// A URL to show to people: without user and password, even if it is none that can be parsed.
std::string shown_url(std::string_view text);

} // namespace sennit::tools
