#include "tools/fetch/checksums.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>

#include <algorithm>

namespace sennit::tools {
namespace {

constexpr std::size_t hash_digits = 64;

bool take_hash(std::string_view& text, std::string& hash) {
    if (text.size() < hash_digits) return false;
    hash.clear();
    for (const char c : text.substr(0, hash_digits)) {
        if (c >= 'A' && c <= 'F')
            hash += static_cast<char>(c - 'A' + 'a');
        else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
            hash += c;
        else
            return false;
    }
    text.remove_prefix(hash_digits);
    return true;
}

bool unescape(std::string_view escaped, std::string& name) {
    name.clear();
    for (std::size_t i = 0; i < escaped.size(); ++i) {
        if (escaped[i] != '\\') {
            name += escaped[i];
            continue;
        }
        if (++i == escaped.size()) return false;
        if (escaped[i] == 'n')
            name += '\n';
        else if (escaped[i] == 'r')
            name += '\r';
        else if (escaped[i] == '\\')
            name += '\\';
        else
            return false;
    }
    return true;
}

bool parse_line(std::string_view line, std::string& hash, std::string& name) {
    const bool escaped = line.starts_with('\\');
    if (escaped) line.remove_prefix(1);
    static constexpr std::string_view tag = "SHA256 (", equals = ") = ";
    if (line.starts_with(tag)) {
        const std::size_t at = line.rfind(equals);
        if (at == std::string_view::npos) return false;
        std::string_view tail = line.substr(at + equals.size());
        if (!take_hash(tail, hash) || !tail.empty()) return false;
        line = line.substr(tag.size(), at - tag.size());
    } else {
        if (!take_hash(line, hash) || line.size() < 3 || line[0] != ' ' || (line[1] != ' ' && line[1] != '*'))
            return false;
        line.remove_prefix(2);
    }
    if (!escaped) name = line;
    return (!escaped || unescape(line, name)) && !name.empty();
}

} // namespace

Checksums Checksums::parse(std::string_view text, std::string_view where) {
    Checksums list;
    std::string hash, name;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty() || line.front() == '#') continue;
        const auto here = [&] { return for_terminal(where) + ", line " + std::to_string(number) + ": "; };
        if (!parse_line(line, hash, name))
            throw UsageError(here() + "'" + for_terminal(line, 60) +
                             "' is not what sha256sum writes: 64 hexadecimal digits, two spaces, a name");
        name.erase(0, name.rfind('/') + 1);
        const auto [at, added] = list.hashes_.emplace(name, hash);
        if (!added && at->second != hash)
            throw UsageError(here() + "another hash for " + shell_word(name) + ", which the list had before");
    }
    return list;
}

const std::string* Checksums::find(const std::string& name) const {
    const auto at = hashes_.find(name);
    return at == hashes_.end() ? nullptr : &at->second;
}

} // namespace sennit::tools
