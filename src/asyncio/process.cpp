#include <sennit/asyncio/process.hpp>

#include "../subprocess/popen_impl.hpp"
#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/os/epoll.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/subprocess/errors.hpp>
#include <sennit/subprocess/popen.hpp>
#include <sennit/sync/event.hpp>

#include <array>
#include <csignal>

namespace sennit::asyncio {
namespace subprocess {

using sennit::subprocess::Popen;
using sennit::subprocess::TimeoutExpired;

struct Process::Impl {
    explicit Impl(Popen p) : popen(std::move(p)) {}
    ~Impl() {
        // Nobody waits for the pidfd any more; the loop may still know its number.
        if (auto* loop = loop::EventLoop::running_or_null()) loop->poller().forget(popen.pidfd());
    }
    Popen popen;
    std::optional<StreamWriter> in;
    std::optional<StreamReader> out, err;
    std::string got_out, got_err; // by communicate()
    bool has_input = false;       // communicate() has been given its input
};

namespace {

// A pipe of a Popen, which keeps its own end of it no longer.
template <class Pipe>
os::Fd taken(Pipe& pipe) {
    os::Fd fd = os::duplicate(pipe.fileno());
    pipe.close();
    return fd;
}

Coro<void> wait_for_end(Popen& popen, Deadline deadline) {
    while (!popen.poll()) co_await loop::wait_readable(popen.pidfd(), deadline);
}

// Adds to `all` until the end; what has come is there when it is cancelled.
Coro<void> read_all(StreamReader& reader, std::string& all) {
    for (;;) {
        std::string some = co_await reader.read(std::ptrdiff_t{1} << 18);
        if (some.empty()) co_return;
        all += some;
    }
}

Coro<void> send_all(StreamWriter& writer) {
    try {
        co_await writer.flush();
    } catch (const OSError&) { // a child that does not read its input is no error
    } catch (const InvalidStateError&) {}
    writer.close();
}

// One of the parts of communicate(), which sets `over` when the last one ends.
Coro<void> part(Coro<void> work, std::size_t& left, sync::Event& over) {
    struct Count {
        std::size_t& left;
        sync::Event& over;
        ~Count() {
            if (--left == 0) over.set();
        }
    };
    const Count count{left, over};
    co_await std::move(work);
}

// Cancels what has not ended and waits for all of it, whoever cancels this meanwhile: they refer to the caller's frame. True: it
// was cancelled.
Coro<bool> end_of(const std::vector<Task<void>>& tasks) {
    bool cancelled = false;
    for (const auto& t : tasks) t.cancel();
    for (const auto& t : tasks) {
        while (!t.done()) {
            try {
                co_await t.async_join();
            } catch (const CancelledError&) {
                cancelled = true;
            }
        }
    }
    co_return cancelled;
}

Coro<Process::Output> exchange(Process::Impl& me, std::string input, Deadline deadline) {
    const double seconds = static_cast<double>(deadline.remaining_ns()) * 1e-9;
    if (!input.empty()) {
        if (!me.in)
            throw UsageError(
                "communicate: input for a child whose standard input is no pipe; start it with .stdin_ = PIPE");
        if (me.has_input)
            throw UsageError(
                "communicate: it has its input already; call it again without one, the rest is still sent");
        me.in->write(input);
    }
    me.has_input = true;
    sync::Event over;
    std::vector<Coro<void>> parts;
    if (me.in && !me.in->is_closing()) parts.push_back(send_all(*me.in));
    if (me.out) parts.push_back(read_all(*me.out, me.got_out));
    if (me.err) parts.push_back(read_all(*me.err, me.got_err));
    std::size_t left = parts.size();
    std::vector<Task<void>> tasks;
    for (auto& one : parts) tasks.push_back(create_task(part(std::move(one), left, over)));
    std::exception_ptr error;
    bool late = false;
    try {
        late = !tasks.empty() && !co_await over.async_wait(deadline);
        if (!late) {
            for (const auto& t : tasks) co_await t; // they have ended, or are about to: what they threw
            co_await wait_for_end(me.popen, deadline);
        }
    } catch (const TimeoutError&) {
        late = true;
    } catch (...) {
        error = std::current_exception();
    }
    if (co_await end_of(tasks) && !error) error = std::make_exception_ptr(CancelledError());
    if (error) std::rethrow_exception(error);
    if (late) throw TimeoutExpired(me.popen.args(), seconds, me.got_out, me.got_err);
    me.out.reset();
    me.err.reset();
    Process::Output output;
    output.std_out = std::move(me.got_out);
    output.std_err = std::move(me.got_err);
    co_return output;
}

Coro<int> wait_of(Process::Impl& me, Deadline deadline) {
    const double seconds = static_cast<double>(deadline.remaining_ns()) * 1e-9;
    bool late = false;
    try {
        co_await wait_for_end(me.popen, deadline);
    } catch (const TimeoutError&) {
        late = true;
    }
    if (late) throw TimeoutExpired(me.popen.args(), seconds);
    co_return *me.popen.returncode();
}

} // namespace

Process::Process(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;
Process::~Process() = default;

StreamWriter& Process::stdin_() {
    if (!impl_->in) throw UsageError("stdin_: no pipe; start the program with .stdin_ = PIPE");
    return *impl_->in;
}
StreamReader& Process::stdout_() {
    if (!impl_->out)
        throw UsageError("stdout_: no pipe, or communicate() has read it; start the program with .stdout_ = PIPE");
    return *impl_->out;
}
StreamReader& Process::stderr_() {
    if (!impl_->err)
        throw UsageError("stderr_: no pipe, or communicate() has read it; start the program with .stderr_ = PIPE");
    return *impl_->err;
}

Coro<Process::Output> Process::communicate(std::string input, Deadline deadline) {
    return exchange(*impl_, std::move(input), deadline);
}
Coro<int> Process::wait(Deadline deadline) { return wait_of(*impl_, deadline); }
std::optional<int> Process::returncode() const noexcept { return impl_->popen.returncode(); }
void Process::send_signal(int signal) { impl_->popen.send_signal(signal); }
void Process::terminate() { impl_->popen.terminate(); }
void Process::kill() { impl_->popen.kill(); }
pid_t Process::pid() const noexcept { return impl_->popen.pid(); }

} // namespace subprocess

namespace detail {
namespace {

Coro<subprocess::Process> start(sennit::subprocess::Args args, PopenOptions options, std::size_t limit) {
    using Kind = sennit::subprocess::Redirect::Kind;
    loop::EventLoop::running(); // throws outside of one, before anything is started
    auto impl = std::make_unique<subprocess::Process::Impl>(sennit::subprocess::Popen(std::move(args), options));
    auto& popen = impl->popen;
    if (options.stdin_.kind() == Kind::pipe) impl->in.emplace(connect_write_pipe(subprocess::taken(popen.std_in())));
    if (options.stdout_.kind() == Kind::pipe)
        impl->out.emplace(connect_read_pipe(subprocess::taken(popen.std_out()), limit));
    if (options.stderr_.kind() == Kind::pipe)
        impl->err.emplace(connect_read_pipe(subprocess::taken(popen.std_err()), limit));
    co_return subprocess::Process(std::move(impl));
}

} // namespace

Coro<subprocess::Process> start_process(sennit::subprocess::Args args, const PopenOptions& options, std::size_t limit) {
    return start(std::move(args), options, limit);
}

} // namespace detail

Coro<subprocess::Process> create_subprocess_shell(const PopenOptions& options, std::string script) {
    PopenOptions shell = options;
    shell.shell = true;
    return detail::start_process(std::move(script), shell, default_limit);
}
Coro<subprocess::Process> create_subprocess_shell(std::string script) {
    const PopenOptions plain;
    return create_subprocess_shell(plain, std::move(script));
}

} // namespace sennit::asyncio

// ---- the async_ twins of Popen

namespace sennit::subprocess {
namespace {

// Readable while communicate() could go on with one of the pipes.
class AnyPipe {
  public:
    void watch(const std::array<int, 3>& pipes) {
        for (std::size_t i = 0; i < pipes.size(); ++i) {
            if (watched_[i] == pipes[i]) continue;
            if (watched_[i] >= 0) epoll_.remove(watched_[i]); // an error when it is closed: it has left by itself
            watched_[i] = -1;
            if (pipes[i] < 0) continue;
            if (const int error = epoll_.add(pipes[i], i == 0 ? EPOLLOUT : EPOLLIN, i))
                throw OSError(error, "epoll_ctl: cannot wait for a child's pipes");
            watched_[i] = pipes[i];
        }
    }
    [[nodiscard]] int fd() const noexcept { return epoll_.fd(); }

  private:
    os::Epoll epoll_;
    std::array<int, 3> watched_{-1, -1, -1};
};

} // namespace

asyncio::Coro<Popen::Output> Popen::Impl::async_communicate(Deadline deadline) {
    const double seconds = seconds_until(deadline);
    communicating = true;
    bool late = false;
    try {
        AnyPipe any;
        while (!exchange(Deadline::poll())) {
            any.watch(open_pipes());
            co_await loop::wait_readable(any.fd(), deadline);
        }
        while (!look()) co_await loop::wait_readable(child.pidfd(), deadline);
    } catch (const TimeoutError&) {
        late = true;
    }
    if (late) throw_timeout(seconds);
    co_return take_output();
}

asyncio::Coro<int> Popen::Impl::async_wait(Deadline deadline) {
    const double seconds = seconds_until(deadline);
    bool late = false;
    try {
        while (!look()) co_await loop::wait_readable(child.pidfd(), deadline);
    } catch (const TimeoutError&) {
        late = true;
    }
    if (late) throw TimeoutExpired(args, seconds);
    co_return code();
}

asyncio::Coro<Popen::Output> Popen::async_communicate(std::string input, Deadline deadline) {
    impl_->take_input(std::move(input));
    return impl_->async_communicate(deadline);
}

asyncio::Coro<int> Popen::async_wait(Deadline deadline) { return impl_->async_wait(deadline); }

} // namespace sennit::subprocess
