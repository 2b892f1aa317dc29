// Pieces of progress lines.
#pragma once

#include <cstddef>
#include <string>

namespace sennit::tools {

/// Appends a bar `width` columns wide (5 or more), of which `part` (0 to 1) is filled.
void append_bar(std::string& to, double part, std::size_t width, bool unicode);

/// "0:04", "12:30", "2:03:05": time to go, rounded up.
std::string clock_time(double seconds);

/// True when the environment says that the terminal shows UTF-8.
bool environment_is_utf8();

} // namespace sennit::tools
