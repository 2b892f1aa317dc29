#pragma once

#include "tools/common/out_stream.hpp"
#include "tools/common/timeline.hpp"
#include "tools/fetch/options.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sennit::tools {

/// How the fetching of one file ended.
struct FetchRecord {
    std::uint64_t number = 0;
    std::string_view url, path; // without user and password; the file, as for people
    bool ok = false, skipped = false;
    int status = 0;                // of the last answer; 0: there was none
    std::int64_t bytes = 0;        // of the file
    std::int64_t fetched = 0;      // over the network, all attempts
    std::int64_t resumed_from = 0; // bytes that an earlier run had
    unsigned attempts = 0;
    std::int64_t start_wall_ms = 0, runtime_ns = 0;
    std::string_view sha256, error; // empty: none
};

/// One that is under way, for the progress lines.
struct FetchGlance {
    std::string_view name;
    std::int64_t have = 0, length = -1;
};

/// Everything that `sennit fetch` says: progress lines on a terminal, a line for each failure, JSON, the summary, the page of
/// --timeline.
class FetchReport {
  public:
    static constexpr std::int64_t interval_ns = 100'000'000;
    static constexpr Timeline::Words timeline_words{"fetch", "file", "files", "URL", "fetched", false};

    /// Throws OSError.
    explicit FetchReport(const FetchOptions& options);

    /// A line for stderr.
    void say(std::string_view text);
    void ended(const FetchRecord& record);
    void attempt(const Timeline::Row& row);

    struct State {
        std::int64_t now = 0, start = 0, fetched = 0;
        std::size_t running = 0;
        std::int64_t active_have = 0,
                     active_length = 0; // of all that are under way; what has no known length is as long as it is
        std::optional<std::uint64_t> total;
    };
    [[nodiscard]] bool shows_progress() const noexcept { return progress_.has_value(); }
    /// Draws anew. `active` need not hold more than most_shown.
    void progress(const State& state, const std::vector<FetchGlance>& active);
    static constexpr std::size_t most_shown = 6;

    struct End {
        std::int64_t wall_ns = 0, started_wall_ms = 0, fetched = 0;
        unsigned slots = 1, cores = 1;
        std::string ended;    // why it ended early
        std::size_t kept = 0; // unfinished files that can be resumed
    };
    /// The last words. Throws OSError.
    void finish(const End& end);

    [[nodiscard]] std::uint64_t done() const noexcept { return done_; }
    [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }

    /// The lines for a terminal so wide, the total last.
    [[nodiscard]] std::vector<std::string> lines(const State& state, const std::vector<FetchGlance>& active,
                                                 std::size_t columns, bool unicode);

  private:
    void erase();
    /// How much of everything is done, from 0 to 1: by bytes, if those that have not begun are like the others.
    [[nodiscard]] double part_done(const State& state) const;

    bool json_, summary_;
    std::optional<OutStream> progress_;
    bool unicode_ = false;
    std::size_t lines_shown_ = 0;
    std::optional<Timeline> timeline_;
    std::uint64_t done_ = 0, failed_ = 0, skipped_ = 0;
    std::int64_t bytes_ = 0;
    std::deque<std::pair<std::int64_t, std::int64_t>> history_; // when, bytes fetched
};

} // namespace sennit::tools
