// Child processes of an event loop.
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/stream_reader.hpp>
#include <sennit/asyncio/stream_writer.hpp>
#include <sennit/subprocess/args.hpp>
#include <sennit/subprocess/options.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::asyncio {

namespace subprocess {

using sennit::subprocess::DEVNULL;
using sennit::subprocess::PIPE;
using sennit::subprocess::STDOUT;

/// A program that runs beside the loop.      Python: asyncio.subprocess.Process
///
///     PopenOptions piped{.stdin_ = PIPE, .stdout_ = PIPE};
///     Process sort = co_await create_subprocess_exec(piped, "sort", "-r");
///     auto [out, err] = co_await sort.communicate("a\nb\n");
///
/// Agents    Coroutines of its loop.
/// Cancel    A cancelled or late wait() or communicate() leaves the child running, and loses no output.
/// Lifetime  Owned once. The destructor closes the pipes; a child that still runs goes on, and leaves no zombie.
/// Source    Python 3.13, on sennit::subprocess::Popen: the child is known by its pidfd.
class Process {
  public:
    Process(Process&&) noexcept;
    Process& operator=(Process&&) noexcept;
    ~Process();

    /// The pipes; UsageError for a stream that is no PIPE.
    StreamWriter& stdin_();
    StreamReader& stdout_();
    StreamReader& stderr_();

    struct Output {
        std::string std_out;
        std::string std_err;
    };
    /// Writes `input`, closes the child's input, reads both outputs to their end, and waits for the child, all at once. At the
    /// deadline: TimeoutExpired with what has come, and called again it gives all from the beginning.
    Coro<Output> communicate(std::string input = {}, Deadline deadline = forever);
    /// Until the child has ended: its return code. TimeoutExpired at the deadline.
    Coro<int> wait(Deadline deadline = forever);
    /// 0-255; -N when signal N killed it; empty while it runs, as far as wait() has seen.
    [[nodiscard]] std::optional<int> returncode() const noexcept;
    /// To one that has ended: nothing.
    void send_signal(int signal);
    void terminate();
    void kill();
    [[nodiscard]] pid_t pid() const noexcept;

    struct Impl;
    explicit Process(std::unique_ptr<Impl> impl) noexcept;

  private:
    std::unique_ptr<Impl> impl_;
};

} // namespace subprocess

using sennit::subprocess::PopenOptions;

namespace detail {
Coro<subprocess::Process> start_process(sennit::subprocess::Args args, const PopenOptions& options, std::size_t limit);
inline void add_words(std::vector<std::string>&) {}
template <class First, class... Rest>
void add_words(std::vector<std::string>& words, First&& first, Rest&&... rest) {
    words.push_back(sennit::subprocess::Arg(std::forward<First>(first)).text());
    add_words(words, std::forward<Rest>(rest)...);
}
} // namespace detail

/// Starts a program; each argument arrives as it is. Options come first, and as a variable of their own: g++ 12 destroys such
/// temporaries of a co_await twice.      Python: asyncio.create_subprocess_exec
///
/// Blocks    Some hundred microseconds, until the child has executed the program. Errors: as Popen.
template <class... Args>
requires(sizeof...(Args) > 0) Coro<subprocess::Process> create_subprocess_exec(const PopenOptions& options,
                                                                               Args&&... program_and_arguments) {
    std::vector<std::string> words;
    detail::add_words(words, std::forward<Args>(program_and_arguments)...);
    return detail::start_process(std::move(words), options, default_limit);
}
template <class First, class... Args>
requires(!std::is_same_v<std::remove_cvref_t<First>, PopenOptions>) Coro<subprocess::Process> create_subprocess_exec(
    First&& program, Args&&... arguments) {
    const PopenOptions plain;
    return create_subprocess_exec(plain, std::forward<First>(program), std::forward<Args>(arguments)...);
}

/// Runs a script with /bin/sh.      Python: asyncio.create_subprocess_shell
Coro<subprocess::Process> create_subprocess_shell(const PopenOptions& options, std::string script);
Coro<subprocess::Process> create_subprocess_shell(std::string script);

} // namespace sennit::asyncio
