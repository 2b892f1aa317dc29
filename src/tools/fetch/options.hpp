#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sennit::tools {

/// What the command line of `sennit fetch` asks for.
struct FetchOptions {
    enum class Show : std::uint8_t { automatic, always, never };

    std::vector<std::string> urls;  // of the command line
    std::vector<std::string> lists; // -i; "-" is standard input
    char separator = '\n';
    std::string folder; // empty: the working directory
    std::string output; // -o; empty: the name is the URL's
    bool disposition = false;

    unsigned jobs = 8, per_host = 0; // 0: no limit
    unsigned retries = 3;
    std::int64_t retry_delay_ns = 1'000'000'000;
    std::int64_t timeout_ns = 0; // 0: none
    std::int64_t stall_ns = 30'000'000'000, connect_ns = 30'000'000'000;
    std::int64_t limit_rate = 0; // bytes a second; 0: none

    bool resume = false, overwrite = false;
    std::string sha256;

    std::vector<std::string> headers;
    std::string user_agent, ca_file;
    bool insecure = false, compressed = false;

    std::string timeline;
    bool json = false, summary = false, quiet = false, dry_run = false;
    Show progress = Show::automatic;
};

} // namespace sennit::tools
