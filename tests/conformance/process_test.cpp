// Process, case by case as CPython's test_multiprocessing has them (docs/conformance/multiprocessing.md), for each start method.
#include <sennit/multiprocessing.hpp>

#include <sennit/os/io.hpp>
#include <sennit/os/signals.hpp>
#include <sennit/os/system_state.hpp>

#include "support/processes.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

class ProcessConformance : public testing::ProcessTest, public ::testing::WithParamInterface<StartMethod> {
  protected:
    [[nodiscard]] ProcessOptions options() const {
        ProcessOptions made;
        made.context = GetParam();
        return made;
    }
};

INSTANTIATE_TEST_SUITE_P(Methods, ProcessConformance, ::testing::ValuesIn(testing::all_start_methods),
                         [](const auto& method) { return std::string(to_string(method.param)); });

// The end of a pipe as an argument.
struct End {
    int fd = -1;
    void pack(CargoWriter& to) const { to.attach(fd); }
    static End unpack(CargoReader& from) { return {from.take_fd().release()}; }
    void say(const std::string& text) const {
        if (os::write_some(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
    }
    void wait() const {
        char byte = 0;
        if (os::read_some(fd, &byte, 1) != 1) std::abort();
    }
};

std::string read_all(os::Pipe& pipe) {
    pipe.write_end.reset();
    std::string text;
    char piece[512];
    for (ssize_t n = 0; (n = os::read_some(pipe.read_end.get(), piece, sizeof piece)) > 0;)
        text.append(piece, static_cast<std::size_t>(n));
    return text;
}

std::string one_line(const os::Pipe& pipe) {
    std::string line;
    char byte = 0;
    while (os::read_some(pipe.read_end.get(), &byte, 1) == 1 && byte != '\n') line += byte;
    return line;
}

TEST_P(ProcessConformance, knows_itself_before_while_and_after_it_runs) { // test_process
    os::Pipe hold = os::make_pipe(), said = os::make_pipe();
    Process p(
        options(),
        [](End out, End in, int number) {
            const ProcessHandle me = current_process();
            out.say(me.name() + ' ' + std::to_string(*me.pid() == ::getpid()) + std::to_string(me.is_alive()) +
                    std::to_string(me.daemon()) + ' ' + std::to_string(number) + ' ' + me.authkey() + '\n');
            in.wait();
        },
        End{said.write_end.get()}, End{hold.read_end.get()}, 7);
    current_process().set_authkey("the key");
    EXPECT_FALSE(p.is_alive());
    EXPECT_FALSE(p.daemon());
    EXPECT_EQ(p.pid(), std::nullopt);
    EXPECT_EQ(p.exitcode(), std::nullopt);
    EXPECT_TRUE(active_children().empty());
    EXPECT_EQ(p.name().rfind("Process-", 0), 0U) << p.name();
    p.start();
    EXPECT_TRUE(p.is_alive());
    EXPECT_EQ(p.exitcode(), std::nullopt);
    ASSERT_EQ(active_children().size(), 1U);
    EXPECT_EQ(active_children()[0].name(), p.name());
    EXPECT_EQ(one_line(said), p.name() + " 110 7 the key");
    EXPECT_EQ(os::write_some(hold.write_end.get(), "!", 1), 1);
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(p.exitcode(), 0);
    EXPECT_FALSE(p.is_alive());
    EXPECT_TRUE(active_children().empty());
    p.close();
}

TEST_P(ProcessConformance, tells_how_it_ended) { // test_sys_exit, test_process exit codes
    const auto code_of = [this](auto function) {
        Process p(options(), function);
        p.start();
        EXPECT_TRUE(p.join(20s));
        return p.exitcode();
    };
    EXPECT_EQ(code_of([] {}), 0);
    EXPECT_EQ(code_of([] { std::exit(300); }), 44);
    EXPECT_EQ(code_of([] { std::exit(7); }), 7);
    EXPECT_EQ(code_of([] { ::_exit(9); }), 9);
    EXPECT_EQ(code_of([] {
                  ::signal(SIGUSR1, SIG_DFL);
                  ::raise(SIGUSR1);
              }),
              -SIGUSR1);
}

TEST_P(ProcessConformance, that_throws_says_so_and_ends_with_1) {
    os::Pipe said = os::make_pipe();
    Process p(
        options(),
        [](End out) {
            ::dup2(out.fd, 2);
            throw std::out_of_range("no such thing");
        },
        End{said.write_end.get()});
    p.set_name("the thrower");
    p.start();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(p.exitcode(), 1);
    const std::string text = read_all(said);
    EXPECT_NE(text.find("Process the thrower:\n"), std::string::npos) << text;
    EXPECT_NE(text.find("#0 "), std::string::npos) << "the stack: " << text;
    EXPECT_NE(text.find("std::out_of_range: no such thing\n"), std::string::npos) << text;
}

TEST_P(ProcessConformance, is_terminated_and_killed) { // test_terminate, test_kill
    for (const bool gently : {true, false}) {
        Process p(options(), [] {
            for (;;) ::pause();
        });
        p.start();
        EXPECT_FALSE(p.join(0s));
        EXPECT_FALSE(p.join(1ms)) << "till the deadline";
        gently ? p.terminate() : p.kill();
        EXPECT_TRUE(p.join(20s));
        EXPECT_EQ(p.exitcode(), gently ? -SIGTERM : -SIGKILL);
        p.terminate(); // after the end: nothing
        p.kill();
        EXPECT_TRUE(p.join(0s)) << "again";
    }
}

TEST_P(ProcessConformance, says_what_cannot_be_asked_of_it) {
    Process p(options(), [] { ::pause(); });
    EXPECT_THROW(p.join(), UsageError) << "before start";
    EXPECT_THROW(static_cast<void>(p.sentinel()), UsageError);
    EXPECT_THROW(p.terminate(), UsageError);
    p.start();
    EXPECT_THROW(p.start(), UsageError) << "twice";
    EXPECT_THROW(p.set_daemon(true), UsageError) << "too late";
    EXPECT_THROW(p.close(), UsageError) << "it runs";
    p.kill();
    p.join();
    p.close();
    p.close(); // nothing
    EXPECT_THROW(static_cast<void>(p.is_alive()), UsageError);
    EXPECT_THROW(p.join(), UsageError);
    EXPECT_THROW(static_cast<void>(p.exitcode()), UsageError);
    EXPECT_THROW(p.start(), UsageError);
    EXPECT_THROW(current_process().join(), UsageError) << "itself";
    EXPECT_THROW(get_context("thread"), UsageError);
    EXPECT_EQ(parent_process(), std::nullopt) << "of the main process";
}

TEST_P(ProcessConformance, has_a_sentinel_that_is_ready_at_its_end) { // test_sentinel
    os::Pipe hold = os::make_pipe();
    Process p(
        options(), [](End in) { in.wait(); }, End{hold.read_end.get()});
    p.start();
    pollfd end{p.sentinel(), POLLIN, 0};
    EXPECT_EQ(::poll(&end, 1, 0), 0);
    EXPECT_EQ(os::write_some(hold.write_end.get(), "!", 1), 1);
    EXPECT_EQ(::poll(&end, 1, 20'000), 1);
    EXPECT_TRUE(p.join(0s)) << "who was told can look at once";
    EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(ProcessConformance, has_children_of_its_own) { // test_recursion
    os::Pipe said = os::make_pipe();
    Process p(
        options(),
        [](End out) {
            Process inner(
                [](End to) {
                    to.say(current_process().name() + ' ' + (parent_process()->is_alive() ? "alive " : "dead ") +
                           std::to_string(*parent_process()->pid() == ::getppid()) + '\n');
                },
                out);
            inner.start();
            inner.join();
            out.say(std::to_string(inner.exitcode().value_or(-99)));
        },
        End{said.write_end.get()});
    set_start_method(to_string(GetParam()), true); // children of children take it over
    p.start();
    EXPECT_TRUE(p.join(30s));
    EXPECT_EQ(read_all(said), p.name() + ":1 alive 1\n0");
    set_start_method("forkserver", true);
}

TEST_P(ProcessConformance,
       that_is_a_daemon_has_no_children_and_is_terminated_with_its_parent) { // test_daemon_argument, _TestAtExit
    os::Pipe said = os::make_pipe();
    Process outer(
        options(),
        [](End out) {
            Process daemon({.daemon = true}, [] { ::pause(); });
            daemon.start(); // and its object goes before it does
            Process worker([](End to) { to.say("the other one was joined\n"); }, out);
            worker.start();
            Process refused(
                {.daemon = true},
                [](End to) {
                    try {
                        Process child([] {});
                        child.start();
                    } catch (const UsageError&) {
                        to.say("a daemon has no children\n");
                    }
                },
                out);
            refused.start();
            refused.join();
        },
        End{said.write_end.get()});
    set_start_method(to_string(GetParam()), true);
    outer.start();
    EXPECT_TRUE(outer.join(30s)) << "it terminates its daemon, and waits for nobody else for long";
    set_start_method("forkserver", true);
    EXPECT_EQ(outer.exitcode(), 0);
    const std::string text = read_all(said); // ends: nobody is left who could write
    EXPECT_NE(text.find("a daemon has no children\n"), std::string::npos) << text;
    EXPECT_NE(text.find("the other one was joined\n"), std::string::npos) << text;
}

TEST_P(ProcessConformance, writes_its_output_out_or_says_that_it_could_not) { // error_on_stdio_flush
    const auto written = [this](const char* path) {
        Process p(
            options(),
            [](const std::string& to) {
                const int fd = ::open(to.c_str(), O_WRONLY);
                ::dup2(fd, 1);
                const int null = ::open("/dev/null", O_WRONLY);
                ::dup2(null, 2);
                std::printf("in the buffer");
            },
            path);
        p.start();
        EXPECT_TRUE(p.join(20s));
        return p.exitcode();
    };
    EXPECT_EQ(written("/dev/null"), 0);
    EXPECT_EQ(written("/dev/full"), 120);

    os::Pipe said = os::make_pipe();
    Process p(
        options(),
        [](End out) {
            ::dup2(out.fd, 1);
            std::printf("in the buffer");
        },
        End{said.write_end.get()});
    p.start();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(read_all(said), "in the buffer");
}

int parents_pipe = -1;

TEST_P(ProcessConformance, ends_by_its_own_atexit_functions_and_not_by_its_parents) { // test_atexit
    os::Pipe said = os::make_pipe();
    static const pid_t here = ::getpid(); // of this process, or in a process that is executed: of that
    static pid_t main_process = 0;
    if (main_process == 0) {
        main_process = here;
        std::atexit([] {
            if (::getpid() != main_process) static_cast<void>(::write(parents_pipe, "of the parent", 13));
        });
    }
    parents_pipe = said.write_end.get();
    Process p(
        options(),
        [](End out) {
            static End to;
            to = out;
            std::atexit([] { to.say("of the child"); });
            std::exit(3);
        },
        End{said.write_end.get()});
    p.start();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(p.exitcode(), 3);
    EXPECT_EQ(read_all(said), "of the child");
}

TEST_P(ProcessConformance, reads_nothing_from_the_standard_input) {
    Process p(options(), [] { std::exit(std::getchar() == EOF ? 5 : 6); });
    p.start();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(p.exitcode(), 5);
}

TEST_P(ProcessConformance, shares_values_locks_and_arrays) { // shared objects as arguments
    Value<int> count(0);
    Array<int> items(3);
    std::vector<Process> all;
    for (int i = 0; i < 3; ++i)
        all.emplace_back(
            options(),
            [](const Value<int>& total, const Array<int>& to, int place) {
                for (int n = 0; n < 100; ++n) {
                    const std::scoped_lock guard(total.get_lock());
                    ++*total;
                }
                to.set(static_cast<std::size_t>(place), place + 10);
            },
            count, items, i);
    for (Process& p : all) p.start();
    for (Process& p : all) EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(count.value(), 300);
    EXPECT_EQ(items.get(2), 12);
}

// A subclass that travels: test_subclassing
class Counter final : public ProcessOf<Counter> {
  public:
    Counter(const ProcessOptions& options, const Value<int>& to, int by) : ProcessOf(options), to_(to), by_(by) {}
    void run() override { to_.set(to_.value() + by_); }
    void pack(CargoWriter& out) const {
        multiprocessing::pack(out, to_);
        multiprocessing::pack(out, by_);
    }
    static Counter unpack(CargoReader& in) {
        auto to = multiprocessing::unpack<Value<int>>(in);
        return {ProcessOptions{}, to, multiprocessing::unpack<int>(in)};
    }

  private:
    Value<int> to_;
    int by_;
};

class Plain final : public Process {
  public:
    explicit Plain(const ProcessOptions& options) : Process(options) {}
    void run() override { std::exit(value); }
    int value = 0;
};

TEST_P(ProcessConformance, may_be_a_subclass_that_overrides_run) {
    Value<int> result(1);
    Counter counter(options(), result, 41);
    counter.start();
    EXPECT_TRUE(counter.join(20s));
    EXPECT_EQ(result.value(), 42);

    Plain plain(options());
    plain.value = 9;
    if (GetParam() != StartMethod::fork) {
        EXPECT_THROW(plain.start(), UsageError);
        return;
    }
    plain.start();
    EXPECT_TRUE(plain.join(20s));
    EXPECT_EQ(plain.exitcode(), 9);
}

TEST_P(ProcessConformance,
       leaves_nothing_behind_however_many_there_are) { // test_child_fd_inflation, test_many_processes
    Process first(options(), [] {});
    first.start();
    first.join();
    first.close();
    const testing::NothingLeaks nothing_more;
    std::vector<Process> all;
    for (int i = 0; i < 10; ++i) all.emplace_back(options(), [] { ::pause(); });
    for (Process& p : all) p.start();
    EXPECT_EQ(active_children().size(), 10U);
    for (Process& p : all) p.terminate();
    for (Process& p : all) EXPECT_TRUE(p.join(20s));
    for (Process& p : all) EXPECT_EQ(p.exitcode(), -SIGTERM);
}

TEST_P(ProcessConformance, may_lose_its_object_before_it_ends) { // test_lose_target_ref
    os::Pipe hold = os::make_pipe();
    {
        Process p(
            options(), [](End in) { in.wait(); }, End{hold.read_end.get()});
        p.start();
    }
    auto left = active_children();
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(os::write_some(hold.write_end.get(), "!", 1), 1);
    EXPECT_TRUE(left[0].join(20s));
    EXPECT_EQ(left[0].exitcode(), 0);
}

TEST_P(ProcessConformance, belongs_to_who_has_made_it) { // test_parent_process, join by a non-parent
    Process p(options(), [] { ::pause(); });
    p.start();
    const pid_t other = os::fork();
    if (other == 0) {
        int wrong = active_children().empty() ? 0 : 1;
        try {
            p.join();
            wrong += 2;
        } catch (const UsageError&) {}
        try {
            p.kill();
            wrong += 4;
        } catch (const UsageError&) {}
        ::_exit(wrong);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(other, &status, 0), other);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(p.is_alive());
    p.kill();
    EXPECT_TRUE(p.join(20s));
}

class StartMethods : public testing::ProcessTest {};

TEST_F(StartMethods, are_set_once_unless_forced) { // test_context, test_set_get
    EXPECT_EQ(get_all_start_methods(), (std::vector<std::string>{"forkserver", "spawn", "fork"}));
    EXPECT_EQ(get_context("spawn").get_start_method(), "spawn");
    EXPECT_THROW(set_start_method("thread", true), UsageError);
    Process p([] { // where nobody has set it yet
        int wrong = 0;
        auto check = [&wrong, bit = 1](bool right) mutable {
            if (!right) wrong += bit;
            bit *= 2;
        };
        check(get_context().get_start_method() == "forkserver");
        set_start_method("spawn");
        check(get_start_method() == "spawn");
        try {
            set_start_method("fork");
            check(false);
        } catch (const UsageError&) {
            check(true);
        }
        check(get_context().get_start_method() == "spawn");
        set_start_method("fork", true);
        check(get_start_method() == "fork");
        std::exit(wrong);
    });
    p.start();
    EXPECT_TRUE(p.join(20s));
    EXPECT_EQ(p.exitcode(), 0);
}

} // namespace
} // namespace sennit::multiprocessing
