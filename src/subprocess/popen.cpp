#include <sennit/subprocess/popen.hpp>

#include "popen_impl.hpp"
#include <sennit/base/fault_point.hpp>

#include <sennit/os/io.hpp>
#include <sennit/os/poll.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <unordered_map>

extern "C" char** environ; // NOLINT(readability-redundant-declaration): its header is for os/ alone

namespace sennit::subprocess {
namespace {

// ---- checks of what the caller gave

void refuse_nul(const std::string& text, const char* what) {
    if (text.find('\0') == std::string::npos) return;
    throw UsageError(std::string("subprocess: a NUL byte in ") + what + " '" + text.c_str() +
                     "...': a program's arguments and environment end at a NUL; pass such bytes as input or in a file");
}

void check(const Args& args, const PopenOptions& o) {
    if (args.size() == 0)
        throw UsageError("subprocess: the list of arguments is empty; its first element names the program");
    for (const std::string& arg : args.list()) refuse_nul(arg, "the argument");
    if (o.cwd) refuse_nul(*o.cwd, "the working directory");
    if (o.executable) refuse_nul(*o.executable, "the executable");
    for (const Env* env : {&o.env, &o.extra_env}) {
        for (const auto& [name, value] : env->variables()) {
            refuse_nul(name, "the name of the environment variable");
            refuse_nul(value, ("the environment variable " + name + " =").c_str());
            if (name.empty() || name.find('=') != std::string::npos)
                throw UsageError("subprocess: '" + name +
                                 "' is no name of an environment variable: it is empty or holds '='");
        }
    }
    if (o.stdin_.kind() == Redirect::Kind::std_out || o.stdout_.kind() == Redirect::Kind::std_out)
        throw UsageError("subprocess: STDOUT is for stderr_ alone: it sends standard error where standard output goes");
    for (const Redirect& r : {o.stdin_, o.stdout_, o.stderr_}) {
        if (r.kind() == Redirect::Kind::descriptor && r.fd() < 0)
            throw UsageError("subprocess: a stream is redirected to descriptor " + std::to_string(r.fd()) +
                             ", which can't be open; for /dev/null pass DEVNULL, for a pipe PIPE");
    }
    for (const int fd : o.pass_fds)
        if (fd < 0) throw UsageError("subprocess: pass_fds holds " + std::to_string(fd) + ", which can't be open");
    if (o.process_group && *o.process_group < 0)
        throw UsageError("subprocess: process_group is 0 for a group of its own or a group's number, not " +
                         std::to_string(*o.process_group));
    if (o.kill_group && o.process_group.value_or(0) != 0)
        throw UsageError("subprocess: kill_group needs a group that is the child's own; leave process_group out, or 0");
}

// ---- what the child is given

// Strings as exec wants them.
class StringArray {
  public:
    void add(const std::string& text) { pointers_.push_back(text.c_str()); }
    void add(const char* text) { pointers_.push_back(text); }
    const char* const* get() {
        pointers_.push_back(nullptr);
        return pointers_.data();
    }

  private:
    std::vector<const char*> pointers_;
};

// The environment as NAME=value; nothing when the child simply inherits.
std::vector<std::string> environment(const PopenOptions& o) {
    std::vector<std::string> result;
    std::unordered_map<std::string, std::size_t> place; // by name
    const auto set = [&](const std::string& name, std::string line) {
        const auto [it, is_new] = place.try_emplace(name, result.size());
        if (is_new)
            result.push_back(std::move(line));
        else
            result[it->second] = std::move(line);
    };
    if (o.env.inherits()) {
        for (char** line = environ; *line != nullptr; ++line) {
            const std::string text = *line;
            set(text.substr(0, text.find('=')), text);
        }
    }
    for (const Env* env : {&o.env, &o.extra_env})
        for (const auto& [name, value] : env->variables()) {
            std::string line = name;
            set(name, std::move(line.append("=").append(value)));
        }
    return result;
}

os::Fd child_end(const Redirect& redirect, os::Fd& ours, bool child_reads, std::optional<int> bytes) {
    if (redirect.kind() == Redirect::Kind::devnull) {
        os::Fd null = os::open_null();
        return null.get() < 3 ? os::duplicate(null.get()) : std::move(null);
    }
    if (redirect.kind() != Redirect::Kind::pipe) return {};
    os::Pipe pipe = os::make_pipe_above_standard_streams();
    if (bytes) os::set_pipe_bytes(pipe.write_end.get(), *bytes);
    ours = std::move(child_reads ? pipe.write_end : pipe.read_end);
    return std::move(child_reads ? pipe.read_end : pipe.write_end);
}

} // namespace

double seconds_until(Deadline deadline) noexcept { return static_cast<double>(deadline.remaining_ns()) * 1e-9; }

Popen::Popen(Args args, const PopenOptions& o) {
    check(args, o);
    impl_ = std::make_unique<Impl>(std::move(args));

    static const std::string default_shell = "/bin/sh";
    static const std::string dash_c = "-c";
    StringArray argv;
    const std::string* file = o.executable ? &*o.executable : o.shell ? &default_shell : &impl_->args[0];
    if (o.shell) {
        argv.add(*file);
        argv.add(dash_c);
    }
    for (const std::string& arg : impl_->args.list()) argv.add(arg);

    std::vector<std::string> variables;
    StringArray envp;
    const bool own_environment = !o.env.inherits() || !o.extra_env.variables().empty();
    if (own_environment) {
        variables = environment(o);
        for (const std::string& line : variables) envp.add(line);
    }

    os::Fd in, out, err;
    const os::Fd child_in = child_end(o.stdin_, in, true, o.pipesize);
    const os::Fd child_out = child_end(o.stdout_, out, false, o.pipesize);
    const os::Fd child_err = child_end(o.stderr_, err, false, o.pipesize);
    FAULT_POINT("popen.pipes_made");
    os::FdMapping mapping[3];
    std::size_t mapped = 0;
    const auto map = [&](const Redirect& redirect, const os::Fd& made, int to) {
        if (redirect.kind() == Redirect::Kind::inherit) return;
        mapping[mapped++] = {redirect.kind() == Redirect::Kind::descriptor ? redirect.fd() : made.get(), to};
    };
    map(o.stdin_, child_in, 0);
    map(o.stdout_, child_out, 1);
    if (o.stderr_.kind() != Redirect::Kind::std_out) {
        map(o.stderr_, child_err, 2);
    } else {
        const int same = o.stdout_.kind() == Redirect::Kind::inherit ? 1 : mapping[mapped - 1].from;
        mapping[mapped++] = {same, 2};
    }

    std::vector<gid_t> groups;
    if (o.extra_groups)
        for (const Account& account : *o.extra_groups) groups.push_back(account.group_id());

    os::SpawnRequest request;
    request.file = file->c_str();
    request.argv = argv.get();
    request.envp = own_environment ? envp.get() : nullptr;
    request.cwd = o.cwd ? o.cwd->c_str() : nullptr;
    request.fds = {mapping, mapped};
    request.close_fds = o.close_fds || !o.pass_fds.empty();
    request.keep_fds = o.pass_fds;
    request.new_session = o.start_new_session;
    request.process_group = o.process_group.value_or(-1);
    if (o.kill_group && !o.start_new_session) request.process_group = 0;
    if (o.user) request.user = o.user->user_id();
    if (o.group) request.group = o.group->group_id();
    if (o.extra_groups) request.extra_groups = std::move(groups);
    request.umask = o.umask;
    request.restore_signals = o.restore_signals;

    if (const os::SpawnFailure failure = os::spawn(request, impl_->child); failure.step != os::SpawnStep::none) {
        std::string text = "subprocess: " + os::describe(failure, request);
        if (failure.step == os::SpawnStep::exec && impl_->args.is_string() && !o.shell && !o.executable &&
            impl_->args[0].find(' ') != std::string::npos)
            text += "; one string is the name of a program: pass a list {\"program\", \"argument\"} or .shell = true";
        throw OSError(failure.error, text);
    }
    impl_->whole_group = o.kill_group;
    impl_->has_in = static_cast<bool>(in);
    impl_->has_out = static_cast<bool>(out);
    impl_->has_err = static_cast<bool>(err);
    impl_->in.fd_ = std::move(in);
    impl_->out.fd_ = std::move(out);
    impl_->err.fd_ = std::move(err);
}

Popen::Popen(Popen&&) noexcept = default;
Popen& Popen::operator=(Popen&&) noexcept = default;
Popen::~Popen() = default;

Popen::Impl::~Impl() {
    bool runs = false;
    {
        const os::MutexGuard guard(mutex);
        runs = state == State::running;
    }
    if (child && runs) os::release_to_reaper(std::move(child));
}

// ---- the end of the child

bool Popen::Impl::look() {
    const os::MutexGuard guard(mutex);
    if (state == State::running) {
        const auto status = child.try_wait();
        if (!status) return false;
        state = status->unknown ? State::unknown : State::ended;
        returncode = status->code;
    }
    if (state == State::unknown) {
        throw OSError(ECHILD,
                      "subprocess: the exit status of '" + args.to_string() + "' (pid " + std::to_string(child.pid()) +
                          ") is unknown: something else in this process reaped it (a waitpid(-1), or SIGCHLD ignored)");
    }
    return true;
}

bool Popen::Impl::wait_for_end(Deadline deadline) {
    // Nobody reaps while it waits, so that any number of threads may; who comes first when the child has ended, reaps.
    while (!look()) {
        if (deadline.has_passed()) return false;
        pollfd ended{child.pidfd(), POLLIN, 0};
        if (const int n = os::poll_fds({&ended, 1}, deadline); n < 0)
            throw OSError(-n, "poll: cannot wait for a child");
    }
    return true;
}

int Popen::Impl::code() const {
    const os::MutexGuard guard(mutex);
    return returncode;
}

std::optional<int> Popen::poll() { return impl_->look() ? std::optional(impl_->code()) : std::nullopt; }

int Popen::wait(Deadline deadline) {
    const double seconds = seconds_until(deadline);
    if (!impl_->wait_for_end(deadline)) throw TimeoutExpired(impl_->args, seconds);
    return impl_->code();
}

std::optional<int> Popen::returncode() const noexcept {
    const os::MutexGuard guard(impl_->mutex);
    return impl_->state == Impl::State::ended ? std::optional(impl_->returncode) : std::nullopt;
}

// ---- signals

void Popen::Impl::signal(int number) {
    const os::MutexGuard guard(mutex);
    // A group may outlive its leader; to a single child that has ended there is nothing to say.
    if (!whole_group && state != State::running) return;
    const int error = whole_group ? child.send_signal_to_group(number) : child.send_signal(number);
    if (error != 0) {
        throw OSError(error, "subprocess: cannot send signal " + std::to_string(number) + " to '" + args.to_string() +
                                 "' (pid " + std::to_string(child.pid()) + ")");
    }
}

void Popen::send_signal(int signal) { impl_->signal(signal); }
void Popen::terminate() { impl_->signal(SIGTERM); }
void Popen::kill() { impl_->signal(SIGKILL); }

pid_t Popen::pid() const noexcept { return impl_->child.pid(); }
int Popen::pidfd() const noexcept { return impl_->child.pidfd(); }
const Args& Popen::args() const noexcept { return impl_->args; }

// ---- the pipes

PipeWriter& Popen::std_in() {
    if (!impl_->has_in) throw UsageError("subprocess: std_in() is no pipe; start the program with .stdin_ = PIPE");
    return impl_->in;
}

PipeReader& Popen::std_out() {
    if (!impl_->has_out) throw UsageError("subprocess: std_out() is no pipe; start the program with .stdout_ = PIPE");
    return impl_->out;
}

PipeReader& Popen::std_err() {
    if (!impl_->has_err) throw UsageError("subprocess: std_err() is no pipe; start the program with .stderr_ = PIPE");
    return impl_->err;
}

// ---- communicate
//
// One loop over up to three pipes, none of which it ever waits for alone while another one could move: reads are made after
// poll has said readable, writes take only what goes at once. What was read stays in the readers' buffers until all is done,
// what was not written in `input`: so a time-out or an error between any two steps loses nothing.

bool Popen::Impl::exchange(Deadline deadline) {
    std::optional<os::SigpipeGuard> sigpipe;
    if (!in.closed()) sigpipe.emplace();
    if (input.empty()) in.close();
    PipeReader* const readers[] = {&out, &err};
    for (bool again = false;; again = true) {
        pollfd wanted[3] = {{-1, POLLOUT, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
        int open = 0;
        const std::array<int, 3> pipes = open_pipes();
        for (std::size_t i = 0; i < pipes.size(); ++i)
            if ((wanted[i].fd = pipes[i]) >= 0) ++open;
        if (open == 0) return true;
        FAULT_POINT("popen.exchange");
        if (again && deadline.has_passed()) return false; // a child that never stops writing is always ready

        if (open == 1 && in.closed() && deadline.is_forever()) { // one pipe left: reading is waiting
            for (int i = 0; i < 2; ++i)
                if (wanted[1 + i].fd >= 0) wanted[1 + i].revents = POLLIN;
        } else {
            const int ready = os::poll_fds(wanted, deadline);
            if (ready < 0) throw OSError(-ready, "poll: cannot wait for a child's pipes");
            if (ready == 0) return false;
        }

        if (wanted[0].revents != 0) {
            const ssize_t n = os::write_nowait(in.fd_.get(), input.data(), input.size());
            if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
            if (n < 0 && n != -EAGAIN && n != -EPIPE)
                throw OSError(static_cast<int>(-n), "write: cannot write to the child's standard input");
            if (n == -EPIPE || input.empty()) in.close(); // a child that does not read is no error
        }
        for (int i = 0; i < 2; ++i)
            if (wanted[1 + i].revents != 0) readers[i]->fill(forever);
    }
}

std::array<int, 3> Popen::Impl::open_pipes() const noexcept {
    const auto unread = [](const PipeReader& r) { return r.fd_ && !r.at_end_ ? r.fd_.get() : -1; };
    return {in.closed() ? -1 : in.fd_.get(), unread(out), unread(err)};
}

void Popen::Impl::throw_timeout(double seconds) {
    // Copies: the same bytes are given again by the next communicate().
    throw TimeoutExpired(args, seconds, out.buffer_.substr(out.begin_), err.buffer_.substr(err.begin_));
}

Popen::Output Popen::communicate(std::string input, Deadline deadline) {
    impl_->take_input(std::move(input));
    return impl_->communicate(deadline);
}

void Popen::Impl::take_input(std::string text) {
    if (text.empty()) return;
    may_take_input();
    input_storage = std::move(text);
    input = input_storage;
}

void Popen::Impl::may_take_input() const {
    if (communicating)
        throw UsageError(
            "subprocess: communicate() has begun with its input; call it again without one, the rest is still sent");
    if (!has_in)
        throw UsageError("subprocess: input for a child whose standard input is no pipe; start it with .stdin_ = PIPE");
    if (in.closed()) throw UsageError("subprocess: input for a child whose standard input was closed");
}

Popen::Output Popen::Impl::communicate(Deadline deadline) {
    const double seconds = seconds_until(deadline);
    communicating = true;
    if (!exchange(deadline) || !wait_for_end(deadline)) throw_timeout(seconds);
    return take_output();
}

Popen::Output Popen::Impl::take_output() {
    Output output;
    if (!out.closed()) output.std_out = out.take_all();
    if (!err.closed()) output.std_err = err.take_all();
    out.close();
    err.close();
    return output;
}

void Popen::Impl::kill_and_drain() {
    constexpr std::chrono::seconds bound{2};
    bool killed = true;
    try {
        signal(SIGKILL);
    } catch (const OSError&) { // the child has taken another user's rights: what is told is the time-out
        killed = false;
    }
    input = {};
    exchange(drain_grace);
    try {
        if (killed) wait_for_end(bound); // one that even SIGKILL does not end soon (in a hung mount) goes to the reaper
    } catch (const OSError&) {           // somebody else has reaped it
    }
}

} // namespace sennit::subprocess
