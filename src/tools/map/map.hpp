#pragma once

#include <string>
#include <vector>

namespace sennit::tools {

/// `sennit map`: the arguments behind the word map. The exit status.
int run_map(std::vector<std::string> arguments);

} // namespace sennit::tools
