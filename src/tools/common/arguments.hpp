#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sennit::tools {

/// What `app` takes: "-j", "--jobs", …
std::vector<std::string> option_names(const CLI::App& app);
/// Gives them to `app`. Throws UsageError in words for the terminal.
void parse_arguments(CLI::App& app, std::vector<std::string> arguments);

} // namespace sennit::tools
