// Showing bytes that others chose: as a shell's word, as JSON, on a terminal. What comes out never controls anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sennit::tools {

/// True for well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view bytes) noexcept;
/// How many bytes at the beginning of `bytes` are one well-formed character of UTF-8; 0 when none is.
std::size_t utf8_character(std::string_view bytes) noexcept;
/// True for a character (one, well-formed) that does something to a terminal instead of showing: control characters, and
/// those that change the direction of text.
bool is_control(std::string_view character) noexcept;

/// Appends a word that a POSIX shell reads back as `bytes`. Plain where that is safe, 'quoted' where not, and $'\n' as bash, zsh
/// and ksh have it where there are control characters or no UTF-8: so the result is always one line of clean UTF-8.
/// The first two forms are those of GNU parallel's joblog.
void append_shell_word(std::string& to, std::string_view bytes);
std::string shell_word(std::string_view bytes);

/// Appends a JSON string, quotes included. `bytes` must be UTF-8.
void append_json_string(std::string& to, std::string_view bytes);
/// The inside of a JSON string alone; any piece of UTF-8 will do, also one that begins or ends within a character.
void append_json_escaped(std::string& to, std::string_view bytes);
/// Appends any bytes: a JSON string where they are UTF-8, else {"base64": "..."}.
void append_json_bytes(std::string& to, std::string_view bytes);
void append_base64(std::string& to, std::string_view bytes);

/// `bytes` for people: control characters and what is no UTF-8 as \xHH; at most `columns` characters, the last then "…".
std::string for_terminal(std::string_view bytes, std::size_t columns = static_cast<std::size_t>(-1));

/// Escapes & < > " ' for HTML.
std::string for_html(std::string_view bytes);

} // namespace sennit::tools
