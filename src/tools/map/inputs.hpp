#pragma once

#include "tools/common/record_reader.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::tools {

/// Where inputs come from: a list on the command line, or a file ("-" is standard input).
struct InputSource {
    bool is_file = false;
    std::vector<std::string> values; // of a list
    std::string path;                // of a file
    bool linked = false;             // goes in step with the source before it (:::+), instead of combining with it
};

/// The inputs of all jobs, one job's after the other: every combination of the sources, the last varying fastest, as GNU
/// parallel has it. Linked sources advance together; the shortest ends them.
///
/// Order and memory: the first source (with what is linked to it) is a stream, read as jobs are made and never held as a whole;
/// so it may be endless. The others are read to their end at the start.
class Inputs {
  public:
    enum class State : std::uint8_t { ready, need_data, end };

    /// Opens the files. `own_stdin` is what "-" reads (-1: refuse). Throws OSError, UsageError.
    Inputs(std::vector<InputSource> sources, char separator, int own_stdin);

    /// The inputs of the next job. `cut` tells that one is far too long and was shortened.
    State next(std::vector<std::string>& values, bool& cut);

    /// After need_data: the descriptor to wait for, then read() and call next() again.
    [[nodiscard]] int wait_fd() const noexcept;
    /// Reads one piece of each stream that needs some. Throws OSError.
    void read();
    /// True when more may be read ahead although nobody needs it yet: below the high-water mark and not at the end.
    [[nodiscard]] bool may_read_ahead() const noexcept;

    /// How many jobs there are in all, once that is known.
    [[nodiscard]] std::optional<std::uint64_t> total() const noexcept;
    [[nodiscard]] std::size_t per_job() const noexcept { return per_job_; }

  private:
    // Sources in step; each gives one value a row.
    struct Column {
        std::vector<std::string> values;
        std::unique_ptr<RecordReader> stream;
        std::string pending; // a row is complete only when every column has one
        bool has_pending = false, cut = false;
    };
    State next_row(std::vector<std::string>& row, bool& cut);

    std::vector<Column> first_;
    std::uint64_t row_ = 0; // rows of first_ given out
    // The other groups, in full: rows of values.
    std::vector<std::vector<std::vector<std::string>>> others_;
    std::vector<std::size_t> odometer_;
    std::vector<std::string> current_;
    bool current_cut_ = false, has_current_ = false, ended_ = false;
    std::uint64_t combinations_ = 1; // of the others
    std::uint64_t given_ = 0;
    std::size_t per_job_ = 0;
    int waiting_ = -1;
};

} // namespace sennit::tools
