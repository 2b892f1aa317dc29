#pragma once

#include "tools/map/halt.hpp"
#include "tools/map/inputs.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace sennit::tools {

/// What the command line of `sennit map` asks for.
struct MapOptions {
    enum class Show : std::uint8_t { automatic, always, never };

    std::vector<std::string> words; // the command; empty with use_shell
    bool use_shell = false;
    std::string shell_text;
    std::string replace = "{}";
    bool insert = true; // -N0: without a placeholder the input is not the last argument

    std::vector<InputSource> sources;
    char separator = '\n';

    unsigned slots = 1, cores = 1;
    bool keep_order = false, line_buffer = false, ungroup = false;
    unsigned retries = 0;
    std::int64_t timeout_ns = 0; // 0: none
    std::int64_t grace_ns = 2'000'000'000;
    HaltRule halt;

    std::string job_log;
    bool resume = false, resume_failed = false;

    std::int64_t delay_ns = 0, memory_bytes = 0;
    double load = 0;

    std::string results, timeline;
    bool dry_run = false, json = false, summary = false;
    Show progress = Show::automatic;
};

} // namespace sennit::tools
