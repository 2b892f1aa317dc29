#pragma once

#include <sennit/subprocess/popen.hpp>

#include <string>
#include <utility>

namespace sennit::subprocess {

/// What run() gives.      Python: subprocess.CompletedProcess
struct CompletedProcess {
    Args args;
    /// Exit code 0-255; -N when signal N killed the child.
    int returncode = 0;
    /// What was captured; empty where nothing was.
    std::string std_out = {};
    std::string std_err = {};

    /// Throws CalledProcessError unless returncode is 0.
    void check_returncode() const;
};

/// Runs a program to its end.      Python: subprocess.run
///
///     run({"cp", from, to}, {.check = true});
///     std::string log = run({"git", "log"}, {.capture_output = true, .timeout = 10s, .cwd = repository}).std_out;
///
/// At the time-out the child is killed (with .kill_group all its group), the pipes are drained for drain_grace, and
/// TimeoutExpired comes with what the child had written, even if a grandchild still holds the pipe. If anything else throws,
/// the child is killed as well.
///
/// Blocks    The OS thread. Errors: as Popen; CalledProcessError with .check.
CompletedProcess run(Args args, const RunOptions& options = {});

/// Runs a program; gives its return code.      Python: subprocess.call
int call(const Args& args, const RunOptions& options = {});
/// The same, but throws CalledProcessError unless it is 0. Gives 0.
int check_call(Args args, const RunOptions& options = {});
/// Runs a program; gives its standard output. Throws CalledProcessError unless the return code is 0.
std::string check_output(Args args, const RunOptions& options = {});

/// Runs a script in the shell; gives what it wrote to standard output and standard error, without the last line's end.
std::string getoutput(std::string script);
/// The same with the return code first.
std::pair<int, std::string> getstatusoutput(std::string script);

} // namespace sennit::subprocess
