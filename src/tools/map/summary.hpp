#pragma once

#include "tools/map/job_record.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sennit::tools {

/// What one reads at the end of a run (--summary). Its size does not grow with the jobs.
class Summary {
  public:
    static constexpr std::size_t slowest_shown = 5;

    /// Tells of one attempt. The command of the record is read only if wants_command() was true for it.
    void add(const JobRecord& record);
    /// True when a job of this length is among the slowest so far.
    [[nodiscard]] bool wants_command(const JobRecord& record) const noexcept;
    void skipped() noexcept { ++skipped_; }

    struct Frame { // of the whole run
        std::int64_t wall_ns = 0;
        std::int64_t own_cpu_ns = 0;
        unsigned cores = 1;
        unsigned slots = 1;
        std::string timeline; // path; empty: none
        std::string ended;    // why the run ended early; empty: it did not
    };
    /// For people, some lines; `bold` for a terminal.
    [[nodiscard]] std::string show(const Frame& frame, bool bold) const;
    /// One line of JSON: {"summary": {...}}
    [[nodiscard]] std::string json(const Frame& frame) const;

    [[nodiscard]] std::uint64_t jobs() const noexcept { return jobs_; }
    [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }
    [[nodiscard]] std::uint64_t skipped_jobs() const noexcept { return skipped_; }

  private:
    struct Slow {
        std::int64_t runtime_ns;
        std::uint64_t sequence;
        std::string outcome; // empty: success
        std::string command;
    };
    std::uint64_t jobs_ = 0, failed_ = 0, timed_out_ = 0, retries_ = 0, skipped_ = 0;
    std::int64_t cpu_ns_ = 0, run_ns_ = 0, max_rss_bytes_ = 0, out_bytes_ = 0;
    std::vector<Slow> slowest_; // slowest first
};

} // namespace sennit::tools
