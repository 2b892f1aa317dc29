#pragma once

#include "tools/common/whole_file.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace sennit::tools {

/// --timeline FILE.html: one page that shows who ran what when, a lane for each slot. It needs nothing but a browser.
///
/// Rows are written as attempts end, so memory does not grow with them; the page appears when it is whole.
class Timeline {
  public:
    /// More than these are counted, but not drawn.
    static constexpr std::uint64_t most_rows = 1'000'000;
    static constexpr std::size_t longest_label = 200; // characters

    /// What the page speaks of. These are ours: plain text without quotes.
    struct Words {
        std::string_view tool, one, many; // "map", "job", "jobs"
        std::string_view label;           // what a row's label is: "command"
        std::string_view bytes;           // what its bytes are: "output"
        bool processes = true;            // rows have CPU time and memory
    };
    /// Throws OSError.
    Timeline(std::string path, const Words& words, std::string_view title);

    /// One attempt: of whom, in which lane, when, and how it ended.
    struct Row {
        std::uint64_t number = 0;
        unsigned slot = 1;
        unsigned retried = 0; // which attempt this was, if it was tried again after it; else 0
        std::int64_t start_ns = 0, runtime_ns = 0;
        int outcome = 0;               // exit code, or -signal; 0 is success
        std::string_view outcome_word; // instead of the number, where it says more; ours
        std::int64_t cpu_ns = 0, memory_bytes = 0, bytes = 0;
        std::string_view label;
    };
    /// Throws OSError.
    void add(const Row& row);

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
    std::string words_; // as members of a JSON object
    std::uint64_t rows_ = 0;
    std::string row_;
};

} // namespace sennit::tools
