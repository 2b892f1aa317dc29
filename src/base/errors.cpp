#include <sennit/base/errors.hpp>

#include <cstring>

namespace sennit {
namespace {

std::string errno_text(int code) {
    char buffer[128];
    return ::strerror_r(code, buffer, sizeof buffer); // the GNU one: returns the text, thread-safe
}

} // namespace

OSError::OSError(int code, const std::string& what_and_where)
    : Error(what_and_where + ": " + errno_text(code) + " (errno " + std::to_string(code) + ")"), code_(code) {}

} // namespace sennit
