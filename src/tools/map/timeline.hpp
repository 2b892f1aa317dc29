#pragma once

#include "tools/map/job_record.hpp"
#include "tools/map/whole_file.hpp"

#include <cstdint>
#include <string>

namespace sennit::tools {

/// --timeline FILE.html: one page that shows who ran what when, a lane for each slot. It needs nothing but a browser.
///
/// Rows are written as jobs end, so memory does not grow with them; the page appears when it is whole.
class Timeline {
  public:
    /// More than these are counted, but not drawn.
    static constexpr std::uint64_t most_rows = 1'000'000;
    static constexpr std::size_t longest_label = 200; // characters of the command

    /// `title` is the command with its placeholders. Throws OSError.
    Timeline(std::string path, std::string_view title);

    /// Tells of one attempt. Throws OSError.
    void add(const JobRecord& record);

    struct Frame { // of the whole run
        std::int64_t wall_ns = 0, started_wall_ms = 0;
        unsigned slots = 1, cores = 1;
        std::int64_t own_cpu_ns = 0;
        std::string ended; // why it ended early; empty: it did not
    };
    /// Writes the rest and gives the file its name. Throws OSError.
    void finish(const Frame& frame);

    [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }

  private:
    WholeFile file_;
    std::uint64_t rows_ = 0;
    std::string row_;
};

} // namespace sennit::tools
