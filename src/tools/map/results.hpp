#pragma once

#include "tools/map/capture.hpp"
#include "tools/map/job_record.hpp"

#include <string>
#include <string_view>

namespace sennit::tools {

/// --results DIR: what each job wrote, in files laid out as GNU parallel does: DIR/1/INPUT/2/INPUT/stdout, stderr and seq.
///
/// In a name '/' is written \_, a backslash \\, a tab \t; besides, "." and ".." get a backslash in front, an empty input is
/// \empty, and what is longer than 240 bytes is cut and ends in ~ and a hash of the whole.
class Results {
  public:
    /// Makes the folder. Throws OSError.
    explicit Results(std::string folder);

    /// Each file appears when it is whole. Of two jobs with the same inputs the later one's stay. Throws OSError.
    void store(const JobRecord& record, const Capture& out, const Capture& err) const;

    /// The folder's name for one input.
    static std::string name_of(std::string_view input);

  private:
    std::string folder_;
};

} // namespace sennit::tools
