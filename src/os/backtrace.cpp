#include <sennit/os/backtrace.hpp>

#include <execinfo.h>
#include <unistd.h>

namespace sennit::os {

void print_backtrace(int skip) noexcept {
    void* frames[64];
    const int n = ::backtrace(frames, 64);
    const int first = skip + 1 < n ? skip + 1 : n; // this function too
    ::backtrace_symbols_fd(frames + first, n - first, STDERR_FILENO);
}

} // namespace sennit::os
