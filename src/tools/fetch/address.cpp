#include "tools/fetch/address.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <curl/curl.h>
#include <memory>

namespace sennit::tools {
namespace {

using Handle = std::unique_ptr<CURLU, void (*)(CURLU*)>;

bool get(const Handle& url, CURLUPart part, std::string& to, unsigned flags = 0) {
    char* text = nullptr;
    if (::curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return false;
    to = text;
    ::curl_free(text);
    return true;
}

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

// A path that stays as it is written: nothing in it is decoded, encoded or taken away.
bool is_plain_path(std::string_view path) {
    if (!path.starts_with('/')) return false;
    char before = 'x';
    for (const char c : path) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '_' && c != '-' && c != '.' && c != '/') return false;
        if (before == '/' && (c == '/' || c == '.')) return false;
        before = c;
    }
    return true;
}

// Most lists are of many files of one server: what comes before such a path is taken apart once.
struct LastServer {
    std::string written;   // scheme://host:port as it was written; empty: none yet
    std::size_t in_url{0}; // that many bytes of address.url are before the path
    Address address;
};

LastServer& last_server() {
    static thread_local LastServer it;
    return it;
}

} // namespace

Address Address::parse(const std::string& text, const std::string& base) {
    constexpr std::size_t longest = 64 * 1024;
    if (text.size() > longest) throw UsageError("the URL is longer than 64 KiB");
    LastServer& last = last_server();
    if (base.empty() && !last.written.empty() && text.starts_with(last.written)) {
        const std::string_view path = std::string_view(text).substr(last.written.size());
        if (is_plain_path(path)) {
            Address a = last.address;
            a.url.replace(last.in_url, std::string::npos, path);
            a.path = path;
            return a;
        }
    }
    if (text.find('\0') != std::string::npos) throw UsageError("there is a NUL in the URL");
    for (const char c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            throw UsageError("there is a control character in the URL");
    const Handle url(::curl_url(), &::curl_url_cleanup);
    if (!url) throw Error("out of memory");
    if (base.empty() && text.find("://") == std::string::npos)
        throw UsageError("that is no URL: it must begin with https:// or http://");
    constexpr unsigned flags = CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME;
    if (!base.empty()) ::curl_url_set(url.get(), CURLUPART_URL, base.c_str(), flags);
    if (const CURLUcode code = ::curl_url_set(url.get(), CURLUPART_URL, text.c_str(), flags); code != CURLUE_OK)
        throw UsageError(std::string("that is no valid URL: ") + ::curl_url_strerror(code));
    Address a;
    std::string port;
    if (!get(url, CURLUPART_SCHEME, a.scheme) ||
        (a.scheme = lower(a.scheme), a.scheme != "http" && a.scheme != "https"))
        throw UsageError("only https:// and http:// can be fetched, not " + for_terminal(a.scheme, 20) + "://");
    if (!get(url, CURLUPART_HOST, a.host) || a.host.empty()) throw UsageError("the URL names no host");
    a.host = lower(a.host);
    if (!get(url, CURLUPART_PORT, port, CURLU_DEFAULT_PORT)) port = "0";
    a.origin = a.scheme + "://" + a.host + ":" + port;
    a.has_user = get(url, CURLUPART_USER, a.user, CURLU_URLDECODE);
    const bool has_password = get(url, CURLUPART_PASSWORD, a.password, CURLU_URLDECODE);
    std::string raw;
    if ((!a.has_user && get(url, CURLUPART_USER, raw)) || (!has_password && get(url, CURLUPART_PASSWORD, raw)))
        throw UsageError("the user or password in the URL has control characters"); // libcurl does not decode those
    a.has_user |= has_password;
    get(url, CURLUPART_PATH, a.path);
    ::curl_url_set(url.get(), CURLUPART_USER, nullptr, 0);
    ::curl_url_set(url.get(), CURLUPART_PASSWORD, nullptr, 0);
    ::curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
    if (!get(url, CURLUPART_URL, a.url)) throw UsageError("that is no valid URL");
    const std::size_t path_at = base.empty() ? text.find('/', text.find("://") + 3) : std::string::npos;
    if (path_at != std::string::npos && !a.has_user) {
        const std::string_view path = std::string_view(text).substr(path_at);
        if (is_plain_path(path) && a.path == path && a.url.ends_with(path)) {
            last.written = text.substr(0, path_at);
            last.in_url = a.url.size() - path.size();
            last.address = a;
        }
    }
    return a;
}

std::string shown_url(std::string_view text) {
    const std::size_t begin = text.find("//");
    std::string result(text);
    if (begin != std::string_view::npos) {
        const std::size_t end = std::min(text.find_first_of("/?#", begin + 2), text.size());
        const std::size_t at = text.substr(0, end).rfind('@');
        if (at != std::string_view::npos && at > begin) result.erase(begin + 2, at + 1 - (begin + 2));
    }
    return for_terminal(result, 300);
}

} // namespace sennit::tools
