#pragma once

#include "tools/map/capture.hpp"
#include "tools/map/job_record.hpp"

#include <sennit/os/fd.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sennit::tools {

/// -k: jobs that are done before their turn to be printed, in a file beside the job log. A `map` that is killed leaves it, and
/// the next --resume prints from it instead of running those jobs again.
///
/// An entry is a line of numbers, the two outputs and a newline, appended; one that is torn is the last, and is none. The file
/// goes when nothing in it waits to be printed.
class KeptOutput {
  public:
    struct Entry {
        JobRecord record;       // without inputs and command
        std::uint64_t hash = 0; // of the command
        std::int64_t at = 0;    // of the outputs
        std::int64_t out_bytes = 0, err_bytes = 0;
    };

    /// What an earlier run left is read, or with `resume` false removed. Throws OSError.
    KeptOutput(std::string path, bool resume);
    KeptOutput(const KeptOutput&) = delete;
    KeptOutput& operator=(const KeptOutput&) = delete;
    ~KeptOutput();

    /// Keeps a job that is done; `record` has its command. Where the disk is full, it is not kept, and would run again.
    void add(const JobRecord& record, const Capture& out, const Capture& err);
    /// The job's line is in the log, or it has to run again: it need not be kept any more.
    void drop(std::uint64_t sequence) noexcept;

    /// The job, if it is kept and was the same command (nullptr: it can't be compared). Valid until add() or drop().
    [[nodiscard]] const Entry* find(std::uint64_t sequence, const std::string* command) const;
    /// Throws OSError.
    void load(const Entry& entry, Capture& out, Capture& err) const;

  private:
    void read();
    bool write(const Capture& capture);
    void load(std::int64_t at, std::int64_t bytes, Capture& to) const;

    std::string path_;
    os::Fd fd_; // none until something is kept
    std::int64_t end_ = 0;
    std::unordered_map<std::uint64_t, Entry> kept_; // by the job's number
};

} // namespace sennit::tools
