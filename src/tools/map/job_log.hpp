#pragma once

#include "tools/map/job_record.hpp"

#include <sennit/os/fd.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::tools {

/// By which two commands are told apart.
std::uint64_t command_hash(std::string_view command) noexcept;

/// The log of jobs, in GNU parallel's columns: Seq Host Starttime JobRuntime Send Receive Exitval Signal Command.
///
/// A line is one job and one write() to a file opened for appending: a `map` that is killed leaves whole lines, at worst one
/// that is torn at its end, which the next --resume cuts off. The file is locked while it is in use.
class JobLog {
  public:
    /// One line as read back.
    struct Line {
        std::uint64_t sequence = 0;
        bool failed = false;
        std::string_view command;
    };

    /// Opens `path` for a new log (what it held is gone), or to go on with it. Throws OSError, UsageError.
    JobLog(std::string path, bool resume);

    /// Only right after opening it to resume: calls each(line) for all there is. Cuts a torn last line off. Throws OSError,
    /// and UsageError for a file that is no such log.
    void read(const std::function<void(const Line&)>& each);

    /// The line of a job, ready to be written.
    static std::string format(const JobRecord& record);
    /// Throws OSError; then the file is as before.
    void write(std::string_view line);

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// False for a device or a pipe.
    [[nodiscard]] bool is_file() const noexcept { return is_file_; }

  private:
    std::string path_;
    os::Fd fd_;
    bool is_file_ = false;
};

/// What an earlier run has done, from its log: which jobs need not run again, and that they were the same jobs.
class Resume {
  public:
    /// `failed_too` runs again what failed (--resume-failed).
    explicit Resume(bool failed_too) noexcept : failed_too_(failed_too) {}

    void add(const JobLog::Line& line);
    /// Call it after the last add(), before the first is_done().
    void sort();

    /// True when job `sequence` is done. Asked with rising numbers. `command` is the job's command now, nullptr when it can't
    /// be compared (it names the slot, which changes from run to run). Throws UsageError when the log has another command.
    bool is_done(std::uint64_t sequence, const std::string* command);
    [[nodiscard]] std::size_t jobs() const noexcept { return done_.size(); }

  private:
    struct Done {
        std::uint64_t sequence;
        std::uint64_t hash; // of the command; the lowest bit is `failed`
        std::uint64_t line; // of the log
    };
    bool failed_too_;
    std::vector<Done> done_;
    std::size_t next_ = 0;
};

} // namespace sennit::tools
