#include <sennit/subprocess/errors.hpp>

#include <cstdio>
#include <cstring>
#include <utility>

namespace sennit::subprocess {
namespace {

std::string how_it_ended(int returncode, const Args& cmd) {
    const std::string command = "Command '" + cmd.to_string() + "'";
    if (returncode >= 0) return command + " returned non-zero exit status " + std::to_string(returncode);
    const int signal = -returncode;
    if (const char* name = ::sigabbrev_np(signal))
        return command + " died with SIG" + name + " (signal " + std::to_string(signal) + ")";
    return command + " died with unknown signal " + std::to_string(signal);
}

std::string how_long(double seconds, const Args& cmd) {
    char number[32];
    std::snprintf(number, sizeof number, seconds < 1000 ? "%.4g" : "%.0f", seconds);
    return "Command '" + cmd.to_string() + "' timed out after " + number + " seconds";
}

} // namespace

SubprocessError::SubprocessError(std::string text, Args cmd, std::string output, std::string std_err)
    : details_(std::make_shared<const Details>(
          Details{std::move(text), std::move(cmd), std::move(output), std::move(std_err)})) {}

CalledProcessError::CalledProcessError(int returncode, Args cmd, std::string output, std::string std_err)
    : CalledProcessError(how_it_ended(returncode, cmd), returncode, std::move(cmd), std::move(output),
                         std::move(std_err)) {}

CalledProcessError::CalledProcessError(std::string text, int returncode, Args&& cmd, std::string output,
                                       std::string std_err)
    : Error(text),
      SubprocessError(std::move(text), std::move(cmd), std::move(output), std::move(std_err)),
      returncode_(returncode) {}

TimeoutExpired::TimeoutExpired(Args cmd, double timeout_seconds, std::string output, std::string std_err)
    : TimeoutExpired(how_long(timeout_seconds, cmd), std::move(cmd), timeout_seconds, std::move(output),
                     std::move(std_err)) {}

TimeoutExpired::TimeoutExpired(std::string text, Args&& cmd, double timeout_seconds, std::string output,
                               std::string std_err)
    : TimeoutError(text),
      SubprocessError(std::move(text), std::move(cmd), std::move(output), std::move(std_err)),
      timeout_seconds_(timeout_seconds) {}

} // namespace sennit::subprocess
