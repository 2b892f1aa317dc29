#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/subprocess/args.hpp>

#include <memory>
#include <string>

namespace sennit::subprocess {

/// What the errors of this module have in common: the command, and what was captured of it by then. To catch either of them;
/// each is also a sennit::Error.      Python: subprocess.SubprocessError
class SubprocessError {
  public:
    [[nodiscard]] const Args& cmd() const noexcept { return details_->cmd; }
    [[nodiscard]] const std::string& output() const noexcept { return details_->output; }
    [[nodiscard]] const std::string& std_out() const noexcept { return details_->output; }
    [[nodiscard]] const std::string& std_err() const noexcept { return details_->std_err; }
    [[nodiscard]] const char* what() const noexcept { return details_->text.c_str(); }

  protected:
    SubprocessError(std::string text, Args cmd, std::string output, std::string std_err);
    ~SubprocessError() = default;

  private:
    struct Details {
        std::string text;
        Args cmd;
        std::string output, std_err;
    };
    std::shared_ptr<const Details> details_; // shared: copying an exception must not throw
};

/// A child ended with an exit status that is not 0.      Python: subprocess.CalledProcessError
class CalledProcessError : public Error, public SubprocessError {
  public:
    CalledProcessError(int returncode, Args cmd, std::string output = {}, std::string std_err = {});
    using Error::what;
    /// The exit code; -N when signal N killed the child.
    [[nodiscard]] int returncode() const noexcept { return returncode_; }

  private:
    CalledProcessError(std::string text, int returncode, Args&& cmd, std::string output, std::string std_err);
    int returncode_;
};

/// A child did not end, or not close its output, in time.      Python: subprocess.TimeoutExpired
class TimeoutExpired : public TimeoutError, public SubprocessError {
  public:
    TimeoutExpired(Args cmd, double timeout_seconds, std::string output = {}, std::string std_err = {});
    using TimeoutError::what;
    /// How long the call that threw had, in seconds.
    [[nodiscard]] double timeout() const noexcept { return timeout_seconds_; }

  private:
    TimeoutExpired(std::string text, Args&& cmd, double timeout_seconds, std::string output, std::string std_err);
    double timeout_seconds_;
};

} // namespace sennit::subprocess
