// Where this build lies. Not as macros of every source: so one compilation serves every folder the repository is cloned to.
#pragma once

#include <string>

namespace sennit::testing {

/// The repository.
std::string source_dir();
/// Where the programs are: sennit, examples/, programs/, tests/.
std::string bin_dir();

} // namespace sennit::testing
