#include "tools/map/template.hpp"

#include "tools/common/quoting.hpp"

#include <sennit/base/errors.hpp>

#include <algorithm>
#include <charconv>

namespace sennit::tools {
namespace {

constexpr std::string_view shell_program = "/bin/sh";

std::string_view number_text(std::uint64_t number, char (&buffer)[24]) {
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
    return {buffer, static_cast<std::size_t>(end - buffer)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

} // namespace

std::string_view without_extension(std::string_view path) noexcept {
    // A dot with at least one character behind it and no slash: "a.b/c" has no extension, nor has "a.".
    const std::size_t slash = path.rfind('/');
    const std::size_t dot = path.rfind('.');
    if (dot == std::string_view::npos || dot + 1 == path.size()) return path;
    return slash != std::string_view::npos && dot < slash ? path : path.substr(0, dot);
}

std::string_view base_name(std::string_view path) noexcept {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view folder_name(std::string_view path) noexcept {
    // As dirname(1): slashes at the end do not count.
    const std::size_t last = path.find_last_not_of('/');
    if (last == std::string_view::npos) return path.empty() ? "." : "/";
    const std::size_t slash = path.substr(0, last + 1).rfind('/');
    if (slash == std::string_view::npos) return ".";
    const std::size_t end = path.substr(0, slash).find_last_not_of('/');
    return end == std::string_view::npos ? "/" : path.substr(0, end + 1);
}

namespace {

// Calls each(value) for what a placeholder stands for: one value, or for "all inputs" one each.
template <class Part, class Each>
void for_each_value(Part part, std::size_t input, const Filling& filling, Each each) {
    char buffer[24];
    if (part == Part::sequence) return each(number_text(filling.sequence, buffer));
    if (part == Part::slot) return each(number_text(filling.slot, buffer));
    const auto value = [&](std::string_view text) {
        switch (part) {
        case Part::no_extension:
            return without_extension(text);
        case Part::base:
            return base_name(text);
        case Part::folder:
            return folder_name(text);
        case Part::base_no_extension:
            return without_extension(base_name(text));
        default:
            return text;
        }
    };
    if (input != 0) return each(value(filling.inputs[input - 1]));
    for (const std::string& text : filling.inputs) each(value(text));
}

} // namespace

// ---- parsing

bool Template::parse_placeholder(std::string_view text, std::string_view replace, Piece& piece,
                                 std::size_t& length) const {
    piece.part = Part::whole;
    piece.input = 0;
    if (text.starts_with(replace)) {
        length = replace.size();
        return true;
    }
    if (text.size() < 3 || text.front() != '{') return false;
    const std::size_t close = text.find('}');
    if (close == std::string_view::npos || close == 1 || close > 24) return false;
    std::string_view inside = text.substr(1, close - 1);
    length = close + 1;
    if (inside == "#" || inside == "%") {
        piece.part = inside == "#" ? Part::sequence : Part::slot;
        return true;
    }
    if (is_digit(inside.front())) {
        std::size_t number = 0;
        const auto [end, error] = std::from_chars(inside.data(), inside.data() + inside.size(), number);
        if (error != std::errc() || number == 0) return false;
        piece.input = number;
        inside.remove_prefix(static_cast<std::size_t>(end - inside.data()));
        if (inside.empty()) return true;
    }
    if (inside == ".")
        piece.part = Part::no_extension;
    else if (inside == "/")
        piece.part = Part::base;
    else if (inside == "//")
        piece.part = Part::folder;
    else if (inside == "/.")
        piece.part = Part::base_no_extension;
    else
        return false;
    return true;
}

Template::Word Template::parse(std::string_view text, std::string_view replace) {
    Word word;
    Piece piece;
    std::size_t length = 0;
    bool dollar = false; // in a script ${1} is the shell's own, not a placeholder
    while (!text.empty()) {
        if (!(shell_ && dollar) && parse_placeholder(text, replace, piece, length)) {
            piece.placeholder = true;
            highest_ = std::max(highest_, piece.input);
            uses_any_ = true;
            uses_slot_ |= piece.part == Part::slot;
            word.push_back(std::move(piece));
            piece = Piece{};
            text.remove_prefix(length);
            dollar = false;
            continue;
        }
        dollar = text.front() == '$' && !dollar;
        piece.text += text.front();
        text.remove_prefix(1);
    }
    if (!piece.text.empty() || word.empty()) {
        piece.placeholder = false;
        word.push_back(std::move(piece));
    }
    return word;
}

Template Template::command(std::span<const std::string> words, std::string_view replace) {
    if (words.empty()) throw UsageError("no command: write one, as in: sennit map gzip -9 {} ::: *.txt");
    if (replace.empty()) throw UsageError("-I wants the text that stands for the input, not an empty one");
    Template result;
    for (const std::string& word : words) result.words_.push_back(result.parse(word, replace));
    const Word& program = result.words_.front();
    if (program.size() == 1 && !program.front().placeholder) result.fixed_program_ = program.front().text;
    return result;
}

Template Template::shell(std::string_view text, std::string_view replace) {
    if (replace.empty()) throw UsageError("-I wants the text that stands for the input, not an empty one");
    if (text.find('\0') != std::string_view::npos) throw UsageError("the text of --shell contains a NUL byte");
    Template result;
    result.shell_ = true;
    result.fixed_program_ = shell_program;
    result.words_.push_back(result.parse(text, replace));
    return result;
}

// ---- binding

void Template::bind(std::size_t inputs_per_job, bool insert) {
    if (highest_ > inputs_per_job)
        throw UsageError("the placeholder {" + std::to_string(highest_) +
                         "} asks for more inputs than a job has, which is " + std::to_string(inputs_per_job) +
                         ": every ':::', '::::' and -a adds one");
    if (!uses_any_ && insert) {
        const Piece input{"", true, Part::whole, 0, Quotes::none};
        if (shell_) {
            words_.front().back().text += ' ';
            words_.front().back().placeholder = true;
        } else {
            words_.push_back({input});
        }
        uses_any_ = true;
    }
    if (shell_) build_script(inputs_per_job);
}

[[noreturn]] void throw_arithmetic() {
    throw UsageError(
        "--shell: a placeholder stands inside $((...)), where the shell would read the input as an expression, not as "
        "data: write $(expr {} % 7) for $(({} % 7)); or, if it is a subshell, a space between the parentheses");
}

// Follows the script's quotes, so that each placeholder knows in which kind it stands. A wrong guess (a here-document, a comment
// with one quote) costs quotes too many or too few around "${1}", never a value that is read as syntax.
void Template::track_quotes(Word& text) const {
    // n: none, s: single, d: double, p: inside $( ), b: inside ` `; a: inside what may be $(( )), A: with an input, g: a group in that
    std::string nesting = "n";
    for (Piece& piece : text) {
        for (std::size_t i = 0; i < piece.text.size(); ++i) {
            const char c = piece.text[i];
            const char now = nesting.back();
            const bool more = i + 1 < piece.text.size();
            if (now == 's') {
                if (c == '\'') nesting.pop_back();
            } else if (c == '\\') {
                ++i;
            } else if (c == '$' && more && piece.text[i + 1] == '(') {
                nesting += 'p';
                ++i;
                if (i + 1 < piece.text.size() && piece.text[i + 1] == '(') {
                    nesting += 'a';
                    ++i;
                }
            } else if (c == '"') {
                if (now == 'd')
                    nesting.pop_back();
                else
                    nesting += 'd';
            } else if (c == '`') {
                if (nesting.find('b') == std::string::npos)
                    nesting += 'b';
                else {
                    while (nesting.back() != 'b') nesting.pop_back();
                    nesting.pop_back();
                }
            } else if (now != 'd') {
                if (c == '\'')
                    nesting += 's';
                else if (c == '(' && now == 'p')
                    nesting += 'p';
                else if (c == '(' && (now == 'a' || now == 'A' || now == 'g'))
                    nesting += 'g';
                else if (c == ')' && now != 'b' && now != 'n')
                    nesting.pop_back();
                // A subshell that begins a $( ) looks the same, but ends apart from it.
                if (c == ')' && now == 'A' && more && piece.text[i + 1] == ')') throw_arithmetic();
            }
        }
        piece.quotes = nesting.back() == 's' ? Quotes::single : nesting.back() == 'd' ? Quotes::twofold : Quotes::none;
        if (!piece.placeholder || piece.quotes == Quotes::single) continue;
        char& around = nesting[nesting.find_last_not_of("dg")];
        if (around != 'a' && around != 'A') continue;
        if (piece.part == Part::sequence || piece.part == Part::slot)
            piece.quotes = Quotes::number; // they are ours
        else
            around = 'A';
    }
}

std::size_t Template::parameter(Part part, std::size_t input) {
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (parameters_[i].part == part && parameters_[i].input == input) return i + 1;
    parameters_.push_back({"", true, part, input, Quotes::none});
    return parameters_.size();
}

void Template::build_script(std::size_t inputs_per_job) {
    Word& text = words_.front();
    track_quotes(text);
    script_.clear();
    for (const Piece& piece : text) {
        script_ += piece.text;
        if (!piece.placeholder) continue;
        const bool numbered = piece.input != 0 || piece.part == Part::sequence || piece.part == Part::slot;
        const std::size_t first = numbered ? piece.input : 1;
        const std::size_t last = numbered ? piece.input : inputs_per_job;
        if (piece.quotes == Quotes::single) script_ += "'\"";
        for (std::size_t input = first; input <= last; ++input) {
            const std::string number = std::to_string(parameter(piece.part, input));
            if (input != first) script_ += ' ';
            const bool quote = piece.quotes == Quotes::none;
            script_ += (quote ? "\"${" : "${") + number + (quote ? "}\"" : "}");
        }
        if (piece.quotes == Quotes::single) script_ += "\"'";
    }
}

// ---- rendering

void Template::render(const Filling& filling, Arguments& arguments) const {
    arguments.clear();
    if (shell_) {
        arguments.add(shell_program);
        arguments.add("-c");
        arguments.add(script_);
        arguments.add("sh"); // $0
        for (const Piece& piece : parameters_)
            for_each_value(piece.part, piece.input, filling, [&](std::string_view v) { arguments.add(v); });
        return;
    }
    for (const Word& word : words_) {
        if (word.size() == 1 && word.front().placeholder && word.front().text.empty()) {
            const Piece& piece = word.front();
            for_each_value(piece.part, piece.input, filling, [&](std::string_view v) { arguments.add(v); });
            continue;
        }
        for (const Piece& piece : word) {
            arguments.append(piece.text);
            if (!piece.placeholder) continue;
            bool first = true;
            for_each_value(piece.part, piece.input, filling, [&](std::string_view v) {
                if (!first) arguments.append(' ');
                first = false;
                arguments.append(v);
            });
        }
        arguments.finish();
    }
}

void Template::show(const Filling& filling, std::string& line) const {
    line.clear();
    if (!shell_) {
        Arguments arguments;
        render(filling, arguments);
        for (std::size_t i = 0; i < arguments.size(); ++i) {
            if (i > 0) line += ' ';
            append_shell_word(line, arguments[i]);
        }
        return;
    }
    // The script with its values in place, each quoted where it stands.
    for (const Piece& piece : words_.front()) {
        line += for_terminal(piece.text); // one line, whatever the script has
        if (!piece.placeholder) continue;
        if (piece.quotes == Quotes::single) line += '\'';
        if (piece.quotes == Quotes::twofold) line += '"';
        bool first = true;
        for_each_value(piece.part, piece.input, filling, [&](std::string_view v) {
            if (!first) line += ' ';
            first = false;
            piece.quotes == Quotes::number ? void(line += v) : append_shell_word(line, v);
        });
        if (piece.quotes == Quotes::single) line += '\'';
        if (piece.quotes == Quotes::twofold) line += '"';
    }
}

} // namespace sennit::tools
