#include <sennit/os/limits.hpp>

#include <algorithm>
#include <cerrno>
#include <sys/resource.h>

namespace sennit::os {

int limit_memory(std::uint64_t bytes) noexcept {
    rlimit limit{};
    if (getrlimit(RLIMIT_DATA, &limit) != 0) return errno;
    limit.rlim_cur = std::min<rlim_t>(bytes, limit.rlim_max);
    limit.rlim_max = limit.rlim_cur;
    return setrlimit(RLIMIT_DATA, &limit) == 0 ? 0 : errno;
}

} // namespace sennit::os
