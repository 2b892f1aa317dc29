// File names that others chose: by a URL, or by a header. What comes out is always one safe segment of a path.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sennit::tools {

/// What stands behind a file's name while it is fetched.
inline constexpr std::string_view part_suffix = ".part", record_suffix = ".part-info";
/// No name is longer than this, so that with a suffix it still is a name (255 bytes).
inline constexpr std::size_t longest_file_name = 230;

/// The name for what a URL's path leads to: its last segment, percent-decoded; index.html if that is empty.
std::string file_name_of_path(std::string_view url_path);

/// Any bytes as a name: never empty, never "." or "..", without '/', NUL, control characters and what is no UTF-8, not hidden
/// and not like an option: such bytes are written as %XX. A long one is cut, but keeps its extension. One that ends as
/// the files of unfinished downloads do gets a '_'.
std::string safe_file_name(std::string_view bytes);

/// The name in a Content-Disposition header's value (filename*= before filename=), made safe; none if there is none.
std::optional<std::string> disposition_file_name(std::string_view value);

/// Percent-decodes; a '%' without two hexadecimal digits stays.
std::string percent_decoded(std::string_view text);

/// The names given out in one run. One that was given out before gets a number: a.txt, a-2.txt, a-3.txt. The same list of
/// URLs so gives the same names each time.
class FileNames {
  public:
    std::string take(std::string name);

  private:
    std::unordered_map<std::string, std::size_t> taken_; // and which number the next of that name gets
};

} // namespace sennit::tools
