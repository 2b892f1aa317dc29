#include "tools/common/quoting.hpp"

namespace sennit::tools {
namespace {

constexpr char hex_digits[] = "0123456789abcdef";

unsigned char byte_at(std::string_view s, std::size_t i) noexcept { return static_cast<unsigned char>(s[i]); }

void append_hex(std::string& to, char byte) {
    const auto b = static_cast<unsigned char>(byte);
    to += "\\x";
    to += hex_digits[b >> 4];
    to += hex_digits[b & 15];
}

bool is_plain(char c) noexcept { // the set of GNU parallel
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == '+' || c == '/';
}

} // namespace

std::size_t utf8_character(std::string_view s) noexcept {
    if (s.empty()) return 0;
    const unsigned char lead = byte_at(s, 0);
    if (lead < 0x80) return 1;
    const std::size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                               : (lead & 0xf0) == 0xe0        ? 3
                               : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                              : 0;
    if (length == 0 || s.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byte_at(s, i) & 0xc0) != 0x80) return 0;
    const unsigned char second = byte_at(s, 1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f))
        return 0;
    return length;
}

bool is_utf8(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const std::size_t n = utf8_character(bytes);
        if (n == 0) return false;
        bytes.remove_prefix(n);
    }
    return true;
}

bool is_control(std::string_view c) noexcept {
    if (c.size() == 1) return byte_at(c, 0) < 0x20 || byte_at(c, 0) == 0x7f;
    if (c.size() == 2) return byte_at(c, 0) == 0xc2 && byte_at(c, 1) < 0xa0; // C1
    if (c.size() == 3 && byte_at(c, 0) == 0xe2) {
        const unsigned char b = byte_at(c, 1), d = byte_at(c, 2);
        return (b == 0x80 && ((d >= 0x8e && d <= 0x8f) || (d >= 0xa8 && d <= 0xae))) || // marks, separators, overrides
               (b == 0x81 && d >= 0xa6 && d <= 0xa9);                                   // isolates
    }
    return false;
}

void append_shell_word(std::string& to, std::string_view bytes) {
    bool plain = !bytes.empty(), clean = true;
    for (std::size_t i = 0; i < bytes.size();) {
        if (is_plain(bytes[i])) {
            ++i;
            continue;
        }
        plain = false;
        const std::size_t n = utf8_character(bytes.substr(i));
        if (n == 0 || is_control(bytes.substr(i, n))) {
            clean = false;
            break;
        }
        i += n;
    }
    if (plain) {
        to += bytes;
        return;
    }
    if (clean) {
        // 'a' and '"'"' for a quote in it; empty quotes at either end are left out, but for the empty word.
        const std::size_t begin = to.size();
        bool open = false;
        for (std::size_t i = 0; i < bytes.size();) {
            const bool quote = bytes[i] == '\'';
            std::size_t end = i;
            while (end < bytes.size() && (bytes[end] == '\'') == quote) ++end;
            if (quote) {
                if (open) to += '\'';
                open = false;
                to += '"';
                to += bytes.substr(i, end - i);
                to += '"';
            } else {
                to += '\'';
                open = true;
                to += bytes.substr(i, end - i);
            }
            i = end;
        }
        if (open) to += '\'';
        if (to.size() == begin) to += "''";
        return;
    }
    to += "$'";
    while (!bytes.empty()) {
        const std::size_t n = utf8_character(bytes);
        const char c = bytes.front();
        if (n == 0) {
            append_hex(to, c);
            bytes.remove_prefix(1);
            continue;
        }
        if (c == '\n')
            to += "\\n";
        else if (c == '\t')
            to += "\\t";
        else if (c == '\r')
            to += "\\r";
        else if (c == '\'' || c == '\\')
            (to += '\\') += c;
        else if (is_control(bytes.substr(0, n)))
            for (const char b : bytes.substr(0, n)) append_hex(to, b);
        else
            to += bytes.substr(0, n);
        bytes.remove_prefix(n);
    }
    to += '\'';
}

std::string shell_word(std::string_view bytes) {
    std::string word;
    append_shell_word(word, bytes);
    return word;
}

void append_json_escaped(std::string& to, std::string_view bytes) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const char c = bytes[i];
        const unsigned char b = byte_at(bytes, i);
        if (b >= 0x20 && c != '"' && c != '\\' && b != 0x7f) continue;
        to += bytes.substr(begin, i - begin);
        begin = i + 1;
        if (c == '"' || c == '\\')
            (to += '\\') += c;
        else if (c == '\n')
            to += "\\n";
        else if (c == '\t')
            to += "\\t";
        else if (c == '\r')
            to += "\\r";
        else {
            to += "\\u00";
            to += hex_digits[b >> 4];
            to += hex_digits[b & 15];
        }
    }
    to += bytes.substr(begin);
}

void append_json_string(std::string& to, std::string_view bytes) {
    to += '"';
    append_json_escaped(to, bytes);
    to += '"';
}

void append_json_bytes(std::string& to, std::string_view bytes) {
    if (is_utf8(bytes)) return append_json_string(to, bytes);
    to += "{\"base64\": \"";
    append_base64(to, bytes);
    to += "\"}";
}

void append_base64(std::string& to, std::string_view bytes) {
    static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t n = bytes.size() - i < 3 ? bytes.size() - i : 3;
        unsigned group = static_cast<unsigned>(byte_at(bytes, i)) << 16;
        if (n > 1) group |= static_cast<unsigned>(byte_at(bytes, i + 1)) << 8;
        if (n > 2) group |= byte_at(bytes, i + 2);
        to += digits[group >> 18];
        to += digits[group >> 12 & 63];
        to += n > 1 ? digits[group >> 6 & 63] : '=';
        to += n > 2 ? digits[group & 63] : '=';
    }
}

std::string for_terminal(std::string_view bytes, std::size_t columns) {
    std::string shown;
    std::size_t used = 0;
    std::size_t last_fitting = 0; // where "…" would go
    while (!bytes.empty()) {
        const std::size_t n = utf8_character(bytes);
        std::string piece;
        if (n == 0)
            append_hex(piece, bytes.front());
        else if (is_control(bytes.substr(0, n)))
            for (const char b : bytes.substr(0, n)) append_hex(piece, b);
        else
            piece = bytes.substr(0, n);
        const std::size_t width = n > 1 && piece.size() == n ? 1 : piece.size();
        if (used + width > columns) {
            shown.resize(last_fitting);
            if (columns > 0) shown += "…";
            return shown;
        }
        shown += piece;
        used += width;
        if (used + 1 <= columns) last_fitting = shown.size();
        bytes.remove_prefix(n == 0 ? 1 : n);
    }
    return shown;
}

std::string for_html(std::string_view bytes) {
    std::string to;
    for (const char c : bytes) {
        if (c == '&')
            to += "&amp;";
        else if (c == '<')
            to += "&lt;";
        else if (c == '>')
            to += "&gt;";
        else if (c == '"')
            to += "&quot;";
        else if (c == '\'')
            to += "&#39;";
        else
            to += c;
    }
    return to;
}

} // namespace sennit::tools
