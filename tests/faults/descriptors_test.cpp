// F17: the descriptor limit is what is in use and k more, for every operation that opens any. It succeeds, or throws OSError(EMFILE);
// it leaves no descriptor, child or thread behind; and it works once there is room (P10, P22).
#include "support/fault_row.hpp"
#include "support/snapshot.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/loop/poller.hpp>
#include <sennit/loop/uring_poller.hpp>
#include <sennit/os/epoll.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/file.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/orphan_guard.hpp>
#include <sennit/os/resolve.hpp>
#include <sennit/os/ring.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/socket_setup.hpp>
#include <sennit/os/spawn.hpp>
#include <sennit/os/system_state.hpp>
#include <sennit/subprocess.hpp>
#include <sennit/threading.hpp>

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

struct Operation {
    std::string name;
    std::function<bool()> call; // whether the result is right; throws OSError
};

int open_descriptors() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return n;
}

void try_all(const std::vector<Operation>& operations) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const auto most = testing::by_tier(2, 40, 40);
    testing::FaultRow row("F17");
    for (const Operation& operation : operations) {
        SCOPED_TRACE(operation.name);
        testing::Watchdog::kick();     // an operation is progress, though it is children that work
        EXPECT_TRUE(operation.call()); // what is made once is made now; UBSan opens a pipe when it first meets a type
        testing::NothingLeaks leaks;
        const int used = open_descriptors();
        bool refused = false;
        // One that never opens more than k has shown all it can with k and one more.
        for (int k = 0, in_a_row = 0; k <= most && in_a_row < 4; ++k) {
            rlimit tight = before;
            {
                const os::Fd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
                tight.rlim_cur = static_cast<rlim_t>(lowest.get() + k);
            }
            testing::FaultRow::Trial trial(row);
            ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
            bool right = false, threw = false;
            std::string said;
            try {
                right = operation.call();
            } catch (const OSError& e) {
                threw = true;
                right = e.code() == EMFILE || e.code() == EINVAL; // EINVAL: F_DUPFD from a number above the limit
                said = e.what();
            }
            ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
            trial.injected = threw ? 1 : 0;
            refused |= threw;
            in_a_row = threw ? 0 : in_a_row + 1;
            EXPECT_TRUE(right) << "k = " << k << ": " << said;
            EXPECT_EQ(open_descriptors(), used) << "k = " << k;
            EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "k = " << k << ": a child is left";
            if (threw) {
                EXPECT_TRUE(operation.call()) << "k = " << k << ": it does not work with room";
            }
        }
        EXPECT_TRUE(refused) << "it opens nothing: it does not belong here";
        leaks.check();
    }
}

// One that writes to both streams and needs hardly a descriptor itself: a shell needs number 10 for `>&2`.
bool writes(PopenOptions options) {
    const Redirect out = options.stdout_, err = options.stderr_;
    Popen child({"dd", "if=/dev/zero", "bs=1", "count=1"}, std::move(options));
    const Popen::Output said = child.communicate();
    return child.returncode() == 0 && (out.kind() != Redirect::Kind::pipe || said.std_out.starts_with('\0')) &&
           (err.kind() != Redirect::Kind::pipe || said.std_err.starts_with("1+0 "));
}

// Every combination of what the three streams can be.
TEST(F17Descriptors, of_any_pipes_are_refused_cleanly) {
    const os::Fd null = os::open_null();
    struct Stream {
        const char* name;
        Redirect redirect;
    };
    const Stream in[] = {{"-", {}}, {"PIPE", PIPE}, {"DEVNULL", DEVNULL}};
    const Stream out[] = {{"descriptor", null}, {"PIPE", PIPE}, {"DEVNULL", DEVNULL}};
    const Stream err[] = {{"descriptor", null}, {"PIPE", PIPE}, {"DEVNULL", DEVNULL}, {"STDOUT", STDOUT}};
    std::vector<Operation> operations;
    for (const Stream& i : in)
        for (const Stream& o : out)
            for (const Stream& e : err)
                operations.push_back(
                    {std::string("Popen, stdin ") + i.name + ", stdout " + o.name + ", stderr " + e.name,
                     [=] { return writes({.stdin_ = i.redirect, .stdout_ = o.redirect, .stderr_ = e.redirect}); }});
    // Even with no pipe there is one for the news that it has not started, and the pidfd.
    try_all(operations);
}

TEST(F17Descriptors, of_a_subprocess_are_refused_cleanly) {
    const os::Fd passed = os::open_null();
    try_all({
        {"call", [] { return call({"true"}) == 0; }},
        {"check_call", [] { return check_call({"true"}) == 0; }},
        {"run", [] { return run({"true"}).returncode == 0; }},
        {"run with input", [] { return run({"cat"}, {.input = "x", .capture_output = true}).std_out == "x"; }},
        {"run with a time limit", [] { return run({"true"}, {.timeout = 60s}).returncode == 0; }},
        {"run that is checked", [] { return run({"true"}, {.check = true}).returncode == 0; }},
        {"run with devnull",
         [] { return run({"true"}, {.stdin_ = DEVNULL, .stdout_ = DEVNULL, .stderr_ = DEVNULL}).returncode == 0; }},
        {"check_output",
         [] {
             return check_output({"echo", "x"}) == "x\n";
         }},
        {"check_output with both",
         [] {
             return check_output({"dd", "if=/dev/zero", "bs=1", "count=1"}, {.stderr_ = STDOUT}).size() > 10;
         }},
        {"getoutput", [] { return getoutput("echo x") == "x"; }},
        {"getstatusoutput", [] { return getstatusoutput("echo x; exit 3").second == "x"; }},
        {"shell", [] { return call("exit 3", {.shell = true}) == 3; }},
        {"environment",
         [] {
             return check_output({"env"}, {.env = {{"PATH", "/usr/bin:/bin"}}}) == "PATH=/usr/bin:/bin\n";
         }},
        {"extra environment",
         [] {
             return check_output({"sh", "-c", "echo $A"}, {.extra_env = {{"A", "b"}}}) == "b\n";
         }},
        {"cwd", [] { return check_output({"pwd"}, {.cwd = "/"}) == "/\n"; }},
        {"pass_fds",
         [&] {
             return call({"test", "-e", "/proc/self/fd/" + std::to_string(passed.get())},
                         {.pass_fds = {passed.get()}}) == 0;
         }},
        {"close_fds off", [] { return call({"true"}, {.close_fds = false}) == 0; }},
        {"a session of its own", [] { return call({"true"}, {.start_new_session = true}) == 0; }},
        {"a group of its own", [] { return call({"true"}, {.process_group = 0}) == 0; }},
        {"kill_group", [] { return call({"true"}, {.kill_group = true}) == 0; }},
        {"umask", [] { return check_output("umask", {.shell = true, .umask = 077}) == "0077\n"; }},
        {"executable",
         [] {
             return check_output({"x", "-c", "echo $0"}, {.executable = "/bin/sh"}) == "x\n";
         }},
        {"pipes of a size",
         [] {
             Popen child({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE, .pipesize = 4096});
             return child.communicate("x").std_out == "x";
         }},
        {"a pipeline",
         [] {
             Popen first({"echo", "x"}, {.stdout_ = PIPE});
             std::string said;
             try {
                 Popen second({"cat"}, {.stdin_ = first.std_out(), .stdout_ = PIPE});
                 first.std_out().close();
                 said = second.communicate().std_out;
             } catch (const OSError&) {
                 first.communicate();
                 throw;
             }
             return first.wait() == 0 && said == "x\n";
         }},
        {"terminate",
         [] {
             Popen child({"cat"}, {.stdin_ = PIPE});
             child.terminate();
             return child.wait() == -SIGTERM;
         }},
        {"a missing program",
         [] {
             try {
                 run({"/no/such/program"}, {.capture_output = true});
             } catch (const OSError& e) {
                 if (e.code() == ENOENT) return true;
                 throw;
             }
             return false;
         }},
        {"a missing directory",
         [] {
             try {
                 run({"true"}, {.capture_output = true, .cwd = "/no/such/directory"});
             } catch (const OSError& e) {
                 if (e.code() == ENOENT) return true;
                 throw;
             }
             return false;
         }},
    });
}

os::Fd or_throw(os::Fd fd, int error) {
    if (!fd) throw OSError(error, "open");
    return fd;
}

TEST(F17Descriptors, of_the_system_layer_are_refused_cleanly) {
    std::vector<Operation> operations{
        {"make_pipe",
         [] {
             const os::Pipe pipe = os::make_pipe();
             return os::write_all(pipe.write_end.get(), "x", 1) == 0;
         }},
        {"make_pipe_above_standard_streams", [] { return os::make_pipe_above_standard_streams().write_end.get() > 2; }},
        {"duplicate", [] { return os::duplicate(0).get() > 2; }},
        {"make_eventfd", [] { return static_cast<bool>(os::make_eventfd()); }},
        {"open_null", [] { return static_cast<bool>(os::open_null()); }},
        {"open_file",
         [] {
             int error = 0;
             os::Fd fd = os::open_file("/dev/zero", O_RDONLY, error);
             return static_cast<bool>(or_throw(std::move(fd), error));
         }},
        {"make_unnamed_file",
         [] {
             int error = 0;
             os::Fd fd = os::make_unnamed_file("/tmp", error);
             return static_cast<bool>(or_throw(std::move(fd), error));
         }},
        {"Epoll and what it watches",
         [] {
             const os::Epoll epoll;
             const os::Pipe pipe = os::make_pipe();
             return epoll.add(pipe.read_end.get(), 1, 1) == 0;
         }},
        {"SignalFd", [] { return os::SignalFd({SIGUSR2}).take() == 0; }},
        {"OrphanGuard", [] { return os::OrphanGuard(4).pid() > 0; }},
        {"open_process",
         [] {
             const os::Fd self = os::open_process(::getpid());
             if (!self) throw OSError(errno, "pidfd_open");
             return !os::has_ended(self.get());
         }},
        {"spawn",
         [] {
             const char* const argv[] = {"true", nullptr};
             os::SpawnRequest request;
             request.file = "true";
             request.argv = argv;
             os::ChildProcess child;
             const os::SpawnFailure failure = os::spawn(request, child);
             if (failure.step != os::SpawnStep::none) throw OSError(failure.error, "spawn");
             const auto status = child.wait();
             return status && status->code == 0;
         }},
        {"make_socket_pair", [] { return static_cast<bool>(os::make_socket_pair().second); }},
        {"open_socket",
         [] {
             const int fd = os::open_socket(AF_INET, SOCK_STREAM);
             if (fd < 0) throw OSError(-fd, "socket");
             return os::Fd(fd).get() >= 0;
         }},
        {"EpollPoller", [] { return loop::EpollPoller().name() != nullptr; }},
        {"make_poller", [] { return loop::make_poller() != nullptr; }},
        {"EventLoop",
         [] {
             loop::EventLoop events;
             int ran = 0;
             events.call_soon([&] {
                 ++ran;
                 events.stop();
             });
             events.run_forever();
             events.close();
             return ran == 1;
         }},
    };
    if (os::ring_is_built_in()) {
        try {
            const loop::UringPoller here;
            operations.push_back({"UringPoller", [] { return loop::UringPoller().name() != nullptr; }});
        } catch (const OSError&) {} // the kernel has none, or forbids it
    }
    try_all(operations);
}

// They look into /proc, and have an answer without it.
TEST(F17Descriptors, what_only_looks_says_so_or_does_without) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    threading::Thread thread([] {});
    rlimit tight = before;
    const int used = open_descriptors();
    {
        const os::Fd lowest(::fcntl(0, F_DUPFD_CLOEXEC, 0));
        tight.rlim_cur = static_cast<rlim_t>(lowest.get());
    }
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    thread.start(); // needs no descriptor
    thread.join();
    for (const auto& look : std::vector<std::function<void()>>{
             [] { static_cast<void>(os::runnable_count()); },
             [] { static_cast<void>(os::available_memory_bytes()); },
             [] { static_cast<void>(os::list_processes()); },
             [] { static_cast<void>(os::read_small_file("/proc/self/stat")); },
             [] { static_cast<void>(os::terminal_columns(0)); },
         }) {
        try {
            look();
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), EMFILE);
        }
    }
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(open_descriptors(), used);
    EXPECT_GT(os::list_processes().size(), 0U);
    EXPECT_GT(os::available_memory_bytes(), 0);
}

} // namespace
} // namespace sennit::subprocess
