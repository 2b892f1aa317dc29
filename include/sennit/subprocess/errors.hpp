#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/subprocess/args.hpp>

#include <memory>
#include <string>

namespace sennit::subprocess {

/// A child ended with an exit status that is not 0.      Python: subprocess.CalledProcessError
class CalledProcessError : public Error {
  public:
    CalledProcessError(int returncode, Args cmd, std::string output = {}, std::string std_err = {});

    /// The exit code; -N when signal N killed the child.
    [[nodiscard]] int returncode() const noexcept { return details_->returncode; }
    [[nodiscard]] const Args& cmd() const noexcept { return details_->cmd; }
    /// What was captured of standard output and standard error.
    [[nodiscard]] const std::string& output() const noexcept { return details_->output; }
    [[nodiscard]] const std::string& std_out() const noexcept { return details_->output; }
    [[nodiscard]] const std::string& std_err() const noexcept { return details_->std_err; }

  private:
    struct Details {
        int returncode;
        Args cmd;
        std::string output, std_err;
    };
    std::shared_ptr<const Details> details_; // shared: copying an exception must not throw
};

/// A child did not end, or not close its output, in time.      Python: subprocess.TimeoutExpired
class TimeoutExpired : public TimeoutError {
  public:
    TimeoutExpired(Args cmd, double timeout_seconds, std::string output = {}, std::string std_err = {});

    [[nodiscard]] const Args& cmd() const noexcept { return details_->cmd; }
    /// How long the call that threw had, in seconds.
    [[nodiscard]] double timeout() const noexcept { return details_->timeout_seconds; }
    /// What had come by then.
    [[nodiscard]] const std::string& output() const noexcept { return details_->output; }
    [[nodiscard]] const std::string& std_out() const noexcept { return details_->output; }
    [[nodiscard]] const std::string& std_err() const noexcept { return details_->std_err; }

  private:
    struct Details {
        Args cmd;
        double timeout_seconds;
        std::string output, std_err;
    };
    std::shared_ptr<const Details> details_;
};

} // namespace sennit::subprocess
