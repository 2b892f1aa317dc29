#include "support/paths.hpp"

namespace sennit::testing {

std::string source_dir() { return SENNIT_SOURCE_DIR; }
std::string bin_dir() { return SENNIT_BIN_DIR; }

} // namespace sennit::testing
