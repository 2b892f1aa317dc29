#include <sennit/subprocess/run.hpp>

#include "popen_impl.hpp"

#include <csignal>

namespace sennit::subprocess {
namespace {

PopenOptions popen_options(const RunOptions& o) {
    return {
        .cwd = o.cwd,
        .env = o.env,
        .extra_env = o.extra_env,
        .shell = o.shell,
        .stdin_ = o.stdin_,
        .stdout_ = o.stdout_,
        .stderr_ = o.stderr_,
        .close_fds = o.close_fds,
        .pass_fds = o.pass_fds,
        .start_new_session = o.start_new_session,
        .process_group = o.process_group,
        .user = o.user,
        .group = o.group,
        .extra_groups = o.extra_groups,
        .umask = o.umask,
        .restore_signals = o.restore_signals,
        .pipesize = o.pipesize,
        .kill_group = o.kill_group,
        .executable = o.executable,
    };
}

bool is_set(const Redirect& redirect) noexcept { return redirect.kind() != Redirect::Kind::inherit; }

void refuse(bool set, const char* function, const char* option, const char* instead) {
    if (set) throw UsageError(std::string("subprocess::") + function + "() takes no ." + option + ": " + instead);
}

} // namespace

// The steps that run() and its kin share, with their reach into Popen.
class Runner {
  public:
    Runner(const Args& args, const PopenOptions& options) : popen_(args, options) {}

    // Gives the return code; at the deadline kills the child and throws. `seconds` is what the caller had.
    int finish(std::string_view input, Deadline deadline, double seconds, Popen::Output* output) {
        Popen::Impl& child = *popen_.impl_;
        try {
            if (output == nullptr) return popen_.wait(deadline);
            child.input = input;
            *output = child.communicate(deadline);
            return child.code();
        } catch (const TimeoutExpired&) {
            child.kill_and_drain();
            child.throw_timeout(seconds);
        } catch (...) {
            try {
                child.signal(SIGKILL);
            } catch (const OSError&) { // what went wrong first is told
            }
            throw;
        }
    }

  private:
    Popen popen_;
};

void CompletedProcess::check_returncode() const {
    if (returncode != 0) throw CalledProcessError(returncode, args, std_out, std_err);
}

CompletedProcess run(Args args, const RunOptions& options) {
    PopenOptions popen = popen_options(options);
    if (options.input) {
        refuse(is_set(options.stdin_), "run", "stdin_ beside .input",
               "the input is sent through a pipe; leave one of them out");
        popen.stdin_ = PIPE;
    }
    if (options.capture_output) {
        refuse(is_set(options.stdout_) || is_set(options.stderr_), "run", "stdout_ or .stderr_ beside .capture_output",
               "that means PIPE for both; set the two streams alone");
        popen.stdout_ = popen.stderr_ = PIPE;
    }
    const Deadline deadline = options.timeout.begin();
    const double seconds = options.timeout.seconds();
    Runner runner(args, popen);
    Popen::Output output;
    const std::string_view input = options.input ? std::string_view(*options.input) : std::string_view();
    const int code = runner.finish(input, deadline, seconds, &output);
    CompletedProcess done{std::move(args), code, std::move(output.std_out), std::move(output.std_err)};
    if (options.check && code != 0)
        throw CalledProcessError(code, std::move(done.args), std::move(done.std_out), std::move(done.std_err));
    return done;
}

int call(const Args& args, const RunOptions& options) {
    refuse(options.input.has_value(), "call", "input", "use run()");
    refuse(options.capture_output, "call", "capture_output", "use run()");
    refuse(options.check, "call", "check", "use check_call()");
    const Deadline deadline = options.timeout.begin();
    const double seconds = options.timeout.seconds();
    return Runner(args, popen_options(options)).finish({}, deadline, seconds, nullptr);
}

int check_call(Args args, const RunOptions& options) {
    refuse(options.check, "check_call", "check", "it always does");
    if (const int code = call(args, options); code != 0) throw CalledProcessError(code, std::move(args));
    return 0;
}

std::string check_output(Args args, const RunOptions& options) {
    refuse(is_set(options.stdout_), "check_output", "stdout_",
           "it is the result; to capture standard error with it, .stderr_ = STDOUT");
    refuse(options.capture_output, "check_output", "capture_output", "standard output is the result anyway");
    refuse(options.check, "check_output", "check", "it always does");
    RunOptions o = options;
    o.stdout_ = PIPE;
    o.check = true;
    return run(std::move(args), o).std_out;
}

std::pair<int, std::string> getstatusoutput(std::string script) {
    CompletedProcess done = run(std::move(script), {.shell = true, .stdout_ = PIPE, .stderr_ = STDOUT});
    if (done.std_out.ends_with('\n')) done.std_out.pop_back();
    return {done.returncode, std::move(done.std_out)};
}

std::string getoutput(std::string script) { return getstatusoutput(std::move(script)).second; }

} // namespace sennit::subprocess
