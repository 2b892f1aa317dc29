#pragma once

#include <string>

namespace sennit::os {

/// How many processors this process may use: the smaller of its affinity mask and the CPU quota of its control groups (v1 or
/// v2, its own and all above), rounded up; at least 1.          Python: os.process_cpu_count, and the quota besides
///
/// Missing, odd or huge files count as "no quota".
/// Cost      Some system calls and small files: ask once.
int usable_cpu_count();

/// The quota part: how many processors the control groups grant, rounded up; 0 when they set no limit. `root` stands before
/// every path that is read ("" is the machine's; tests have their own).
int cgroup_cpu_limit(const std::string& root = "");

} // namespace sennit::os
