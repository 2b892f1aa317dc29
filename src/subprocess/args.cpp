#include <sennit/subprocess/args.hpp>

#include <algorithm>

namespace sennit::subprocess {
namespace {

bool is_plain(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("@%+=:,./-_").find(c) != std::string_view::npos;
}

void append_quoted(std::string& line, const std::string& word) {
    if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) {
        line += word;
        return;
    }
    line += '\'';
    for (const char c : word) {
        if (c == '\'')
            line += "'\"'\"'";
        else
            line += c;
    }
    line += '\'';
}

} // namespace

Args::Args(std::initializer_list<Arg> list) {
    list_.reserve(list.size());
    for (const Arg& arg : list) list_.push_back(arg.text());
}

Args::Args(std::string text) : is_string_(true) { list_.push_back(std::move(text)); }

std::string Args::to_string() const {
    if (is_string_) return list_.front();
    std::string line;
    for (const std::string& word : list_) {
        if (!line.empty()) line += ' ';
        append_quoted(line, word);
    }
    return line;
}

} // namespace sennit::subprocess
