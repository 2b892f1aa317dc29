// A child process without templates: what Process and Pool are made of.
#pragma once

#include <sennit/base/deadline.hpp>
#include <sennit/multiprocessing/cargo.hpp>
#include <sennit/multiprocessing/entry.hpp>
#include <sennit/multiprocessing/start_method.hpp>
#include <sennit/os/spawn.hpp>

#include <optional>
#include <string>
#include <sys/types.h>

namespace sennit::multiprocessing {

struct ChildOptions {
    StartMethod method = detail::default_start_method();
    /// What the child's current_process().name() is. Empty: Process-N.
    std::string name = {};
    /// The child may not have children by Process, and is ended with its parent. For pools' workers: false.
    bool daemon = false;
    /// What the child numbers its own children by ("1:2"). Empty: the next number of this process.
    std::string identity = {};
    /// Empty: as this process.
    std::string authkey = {};
    /// The child takes no notice of SIGINT: for workers, whose parent is told of Ctrl-C.
    bool ignore_interrupt = false;
};

/// A process that runs an Entry, known by its pidfd from birth.
///
///     CargoWriter cargo;
///     pack(cargo, 42);
///     Child child = Child::start({.name = "worker"}, entry, std::move(cargo));
///     child.join();
///
/// The child calls entry(in, out) once with the cargo, throws `out` away, and ends: with exit code 0; with 1 when the entry throws, which
/// it prints first; with what the code gives to exit(). It leads a process group, has /dev/null as standard input, this process's
/// standard output and error as they are now, the descriptors in the cargo, and no other of this process (with `fork`: all of them). It
/// is killed when this process ends, however that is; what it left in its group is killed when it was ended by a signal.
///
/// Agents    start(): any number at the same time. kill(), terminate(), pid(), pidfd(): beside any other member. The rest: one at a time.
/// Lifetime  The destructor kills one that runs, and reaps it. A Child belongs to the process that has started it: in a fork of that it
///           is nothing.
/// Errors    OSError when the system refuses: nothing is left behind, and it can be tried again. UsageError from a static initialiser of a
///           child, and where the program ran main() again in the child.
/// Cost      forkserver: about 0.2 ms, and some milliseconds for the first one. See StartMethod.
class Child {
  public:
    Child() noexcept = default;
    Child(Child&&) noexcept = default;
    Child& operator=(Child&&) noexcept;
    ~Child();

    static Child start(const ChildOptions& options, Entry entry, CargoWriter&& cargo);

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(process_); }
    [[nodiscard]] pid_t pid() const noexcept { return process_.pid(); }
    /// Readable (POLLIN) once the child has ended.
    [[nodiscard]] int pidfd() const noexcept { return process_.pidfd(); }

    /// The exit code, or -N when signal N ended it; empty while it runs. Reaps it, never waits.
    /// Throws OSError (ECHILD) when somebody else in this process took the status (a waitpid(-1), or SIGCHLD ignored).
    std::optional<int> exitcode();
    /// The same with what else there is to know, `unknown` instead of the exception.
    const std::optional<os::ExitStatus>& status() noexcept;
    /// Waits for the end, blocking the OS thread; false at the deadline.
    bool join(Deadline deadline = forever) noexcept;

    /// 0 or an errno. Nothing happens to one that has ended.
    int send_signal(int signal) const noexcept;
    int terminate() const noexcept; // SIGTERM
    int kill() const noexcept;      // SIGKILL

  private:
    os::ChildProcess process_;
    std::optional<os::ExitStatus> status_;
    int owner_ = 0; // the process that has started it
};

/// For programs that are linked in an exotic way: the first line of main(). In a child it does what the child is for and does not
/// return; else nothing. Not needed otherwise: the library takes over before main() by itself.
/// Python: multiprocessing.freeze_support
void freeze_support();

namespace detail {
/// Ends the process that children are copied from; the next start makes a new one. Children live on.
void stop_forkserver() noexcept;
/// Its number, 0 where there is none. For tests.
pid_t forkserver_pid() noexcept;
} // namespace detail

} // namespace sennit::multiprocessing
