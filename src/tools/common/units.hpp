// Numbers with units, as people write them on a command line and as they read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sennit::tools {

/// "90", "1.5s", "200ms", "2m", "1h30m", "1d" in nanoseconds; a number without a unit is seconds. Throws UsageError, which
/// names `option`.
std::int64_t parse_duration(std::string_view text, std::string_view option);

/// "512", "64K", "1.5G" in bytes; K, M, G, T are powers of 1,024 (a final "iB" or "B" is allowed), k, m, g, t of 1,000.
std::int64_t parse_bytes(std::string_view text, std::string_view option);

/// A whole number in [low, high].
std::int64_t parse_whole(std::string_view text, std::string_view option, std::int64_t low, std::int64_t high);

/// How many jobs at once: "4", "0" (as many as possible), "150%" of the cores, "+2" or "-1" more or fewer than the cores.
unsigned parse_jobs(std::string_view text, unsigned cores);

/// "12,345"
std::string with_commas(std::uint64_t number);
/// "0.004 s", "12.3 s", "3:05", "2:03:05"
std::string show_duration(std::int64_t ns);
/// "1.2 GiB"
std::string show_bytes(std::int64_t bytes);

} // namespace sennit::tools
