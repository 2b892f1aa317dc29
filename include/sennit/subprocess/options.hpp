// What Popen and run take as keywords in Python, as aggregates for designated initialisers (in this order).
#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/subprocess/account.hpp>
#include <sennit/subprocess/env.hpp>
#include <sennit/subprocess/redirect.hpp>
#include <sennit/subprocess/time_limit.hpp>

#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sennit::subprocess {

/// How long run() and its kin go on reading, after a time-out has killed the child, for what is still in the pipes; a
/// grandchild that holds them open bounds nothing.
inline constexpr std::chrono::milliseconds drain_grace{100};

struct PopenOptions {
    /// The child's working directory. A program and an entry of PATH that are relative are looked for from there.
    std::optional<std::string> cwd = std::nullopt;
    /// The whole environment; `{}` is an empty one.
    Env env = Env::inherit();
    /// Added to `env`, or replacing what is there. (Not in Python.)
    Env extra_env = {};
    /// Hands args to /bin/sh -c: a string is the script; of a list, the first element, and the rest are $0, $1, ...
    bool shell = false;
    Redirect stdin_ = {};
    Redirect stdout_ = {};
    Redirect stderr_ = {};
    /// Closes everything but 0-2 and pass_fds in the child.
    bool close_fds = true;
    /// Stay open in the child under their numbers. Implies close_fds.
    std::vector<int> pass_fds = {};
    /// The child leads a session of its own (setsid): no controlling terminal.
    bool start_new_session = false;
    /// 0: a process group of its own; another number: that group.
    std::optional<pid_t> process_group = std::nullopt;
    /// Needs the privilege to change them (root as a rule).
    std::optional<Account> user = std::nullopt;
    std::optional<Account> group = std::nullopt;
    std::optional<std::vector<Account>> extra_groups = std::nullopt;
    std::optional<mode_t> umask = std::nullopt;
    /// SIGPIPE and SIGXFSZ at their defaults and no signal blocked, whatever this process does with them.
    bool restore_signals = true;
    /// The capacity of the pipes in bytes (F_SETPIPE_SZ).
    std::optional<int> pipesize = std::nullopt;
    /// Gives the child a process group of its own, and lets send_signal, terminate, kill and a time-out reach all of it:
    /// the descendants too, unless they left the group. Such a group is not the terminal's foreground: Ctrl-C at the
    /// terminal doesn't reach it. (Not in Python.)
    bool kill_group = false;
    /// The file to execute instead of args[0] (which stays the child's argv[0]); with `shell`, the shell.
    std::optional<std::string> executable = std::nullopt;
};

/// For run, call, check_call and check_output: the four of their own, then all of PopenOptions.
struct RunOptions { // NOLINT(clang-analyzer-optin.performance.Padding): the order is the interface
    /// The child's standard input. Excludes stdin_. (run and check_output)
    std::optional<std::string> input = std::nullopt;
    /// The same as .stdout_ = PIPE, .stderr_ = PIPE. (run)
    bool capture_output = false;
    /// When it is over, the child is killed, the pipes are drained for drain_grace, and TimeoutExpired is thrown.
    TimeLimit timeout = {};
    /// Throws CalledProcessError for an exit status that is not 0. (run)
    bool check = false;

    // From here on as in PopenOptions.
    std::optional<std::string> cwd = std::nullopt;
    Env env = Env::inherit();
    Env extra_env = {};
    bool shell = false;
    Redirect stdin_ = {};
    Redirect stdout_ = {};
    Redirect stderr_ = {};
    bool close_fds = true;
    std::vector<int> pass_fds = {};
    bool start_new_session = false;
    std::optional<pid_t> process_group = std::nullopt;
    std::optional<Account> user = std::nullopt;
    std::optional<Account> group = std::nullopt;
    std::optional<std::vector<Account>> extra_groups = std::nullopt;
    std::optional<mode_t> umask = std::nullopt;
    bool restore_signals = true;
    std::optional<int> pipesize = std::nullopt;
    bool kill_group = false;
    std::optional<std::string> executable = std::nullopt;
};

} // namespace sennit::subprocess
