#include "support/paths.hpp"

#include <cstdlib>

namespace sennit::testing {

std::string source_dir() { return SENNIT_SOURCE_DIR; }
std::string bin_dir() {
    const char* const other = std::getenv("SENNIT_TEST_BIN"); // of a mutant's programs: mutants/run.sh
    return other ? other : SENNIT_BIN_DIR;
}

} // namespace sennit::testing
