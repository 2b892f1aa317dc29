#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/subprocess/args.hpp>
#include <sennit/subprocess/errors.hpp>
#include <sennit/subprocess/options.hpp>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>

namespace sennit::asyncio {
template <class T>
class Coro;
}

namespace sennit::subprocess {

/// A program that runs beside this one.      Python: subprocess.Popen
///
/// To run a program and wait for its end take run(); Popen is for talking with it, for several at once, or for pipelines.
///
///     Popen sort({"sort"}, {.stdin_ = PIPE, .stdout_ = PIPE});
///     auto [out, err] = sort.communicate("b\na\n");
///
/// Agents    poll, wait, returncode, send_signal, terminate, kill: any number at the same time. communicate and the streams:
///           one at a time.
/// Blocks    The constructor until the program has been executed; wait and communicate till their deadline. All of them block
///           the OS thread; their async_ twins, for which <sennit/asyncio.hpp> is to be included, suspend a coroutine.
/// Lifetime  The destructor closes the pipes. It neither kills nor waits: a child that runs goes on, and is reaped by a later
///           start of a program, so it leaves no zombie.
/// Errors    UsageError for what can't be right (a NUL in an argument, '=' in a name of the environment, an empty list, streams
///           that exclude each other); OSError when the program can't be started: it names the file or the directory, and
///           nothing is left behind.
/// Cost      Independent of this process's memory: see os::spawn.
/// Source    Python 3.13. Differs: a status that somebody else took is an error, never 0; no preexec_fn (nothing of ours can run
///           in the child); bytes only.
class Popen {
  public:
    explicit Popen(Args args, const PopenOptions& options = {});
    // NOLINTNEXTLINE(google-explicit-constructor): the other one is as explicit
    explicit Popen(std::initializer_list<Arg> args, const PopenOptions& options = {}) : Popen(Args(args), options) {}
    Popen(Popen&&) noexcept;
    Popen& operator=(Popen&&) noexcept;
    ~Popen();

    /// The output of a child: empty where a stream is no pipe.
    struct Output {
        std::string std_out;
        std::string std_err;
    };
    /// Writes `input` to the child and closes its standard input, reads both outputs to their end, and waits for the child,
    /// all at once, so nobody waits for the other. A child that does not read its input is no error. Output that was read
    /// before is not given again.
    ///
    /// At the deadline it throws TimeoutExpired with what has come; the child goes on. Call it again, without input: nothing is
    /// lost, the rest of the input is still sent, and the output is given from the beginning.
    Output communicate(std::string input = {}, Deadline deadline = forever);
    /// The same from a coroutine. Cancelled, it leaves the child and all output to the next call.
    asyncio::Coro<Output> async_communicate(std::string input = {}, Deadline deadline = forever);

    /// The return code if the child has ended. Never waits.
    std::optional<int> poll();
    /// Waits for the end; gives the return code. TimeoutExpired at the deadline. A child that fills a pipe nobody reads never
    /// ends: take communicate() then.
    int wait(Deadline deadline = forever);
    asyncio::Coro<int> async_wait(Deadline deadline = forever);
    /// Exit code 0-255; -N when signal N killed the child; empty while nobody has seen its end (poll looks).
    [[nodiscard]] std::optional<int> returncode() const noexcept;

    /// Sends a signal: to the child, or with .kill_group to its group. To one that has ended: nothing. Throws OSError.
    void send_signal(int signal);
    /// SIGTERM: please.
    void terminate();
    /// SIGKILL.
    void kill();

    [[nodiscard]] pid_t pid() const noexcept;
    /// Readable in poll() once the child has ended; closed by the destructor.
    [[nodiscard]] int pidfd() const noexcept;
    [[nodiscard]] const Args& args() const noexcept;

    /// The pipes. UsageError for a stream that was not redirected to PIPE.
    PipeWriter& std_in();
    PipeReader& std_out();
    PipeReader& std_err();

  private:
    friend class Runner;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace sennit::subprocess
