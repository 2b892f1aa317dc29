#pragma once

#include "tools/map/options.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::tools {

/// Reads the arguments behind `sennit map`. Nothing when --help was asked for. Throws UsageError.
std::optional<MapOptions> parse_map(std::vector<std::string> arguments);

/// What --help prints.
extern const std::string_view map_help;

/// The names of all options ("--retries", "-j"), as the parser knows them; a test holds the help to them.
std::vector<std::string> map_option_names();

} // namespace sennit::tools
