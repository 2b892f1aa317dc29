#pragma once

#include "tools/common/out_stream.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

namespace sennit::tools {

/// The one line on a terminal that tells how far `map` is: bar, count, rate, time to go. It is drawn over itself at most ten
/// times a second, and taken away before anything else is written there.
class Progress {
  public:
    static constexpr std::int64_t interval_ns = 100'000'000;

    struct State {
        std::int64_t now = 0, start = 0; // monotonic
        std::uint64_t done = 0, failed = 0, skipped = 0;
        std::size_t running = 0;
        std::optional<std::uint64_t> total; // of all jobs, those skipped included
        const char* waits_for = nullptr;    // "load", "memory"
    };

    /// `fd` is a terminal.
    explicit Progress(int fd, bool unicode) noexcept : fd_(fd), stream_(fd), unicode_(unicode) {}

    /// Draws if the last time is long enough ago.
    void update(const State& state);
    /// When update() would draw again.
    [[nodiscard]] std::int64_t next_ns() const noexcept { return next_; }
    /// Takes the line away; the next update() draws at once.
    void erase();

    /// The line for a terminal so wide.
    [[nodiscard]] std::string line(const State& state, std::size_t columns);

  private:
    double rate(const State& state);

    int fd_;
    OutStream stream_; // a stopped terminal (Ctrl-S) must not stop the jobs: then a line is lost
    bool unicode_, shown_ = false;
    std::int64_t next_ = 0;
    std::deque<std::pair<std::int64_t, std::uint64_t>> history_; // when, done
};

} // namespace sennit::tools
