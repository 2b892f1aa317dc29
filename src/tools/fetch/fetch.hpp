#pragma once

#include <string>
#include <vector>

namespace sennit::tools {

/// `sennit fetch` with these arguments. The exit status.
int run_fetch(std::vector<std::string> arguments);

} // namespace sennit::tools
