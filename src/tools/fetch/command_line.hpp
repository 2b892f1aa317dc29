#pragma once

#include "tools/fetch/options.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::tools {

extern const std::string_view fetch_help;

/// What the words after `sennit fetch` ask for; nothing for --help. Throws UsageError.
std::optional<FetchOptions> parse_fetch(std::vector<std::string> arguments);

/// Every option's names, for the test that the help has them all.
std::vector<std::string> fetch_option_names();

} // namespace sennit::tools
