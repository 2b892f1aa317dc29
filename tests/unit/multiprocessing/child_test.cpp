#include <sennit/multiprocessing/child.hpp>

#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/sharedctypes.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/io.hpp>
#include <sennit/os/system_state.hpp>

#include "multiprocessing/zygote.hpp"
#include "support/snapshot.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

constexpr StartMethod all_methods[] = {StartMethod::forkserver, StartMethod::spawn, StartMethod::fork};

// The writing end of a pipe, as an argument.
struct End {
    int fd = -1;
    void pack(CargoWriter& to) const { to.attach(fd); }
    static End unpack(CargoReader& from) { return {from.take_fd().release()}; }
};

template <class F, class... Args>
Child start(StartMethod method, F function, const Args&... args) {
    CargoWriter cargo;
    Call<F, Args...>::pack_call(cargo, function, args...);
    ChildOptions options;
    options.method = method;
    return Child::start(options, entry_of<F, Args...>(), std::move(cargo));
}

// What the child writes to its pipe.
template <class F>
std::string said_by_child(StartMethod method, F function) {
    os::Pipe pipe = os::make_pipe();
    Child child = start(method, function, End{pipe.write_end.get()});
    pipe.write_end.reset();
    std::string text(4096, '\0');
    std::size_t size = 0;
    for (ssize_t n = 1; n > 0 && size < text.size(); size += static_cast<std::size_t>(n))
        n = os::read_some(pipe.read_end.get(), text.data() + size, text.size() - size);
    EXPECT_TRUE(child.join(20s));
    text.resize(size);
    return text;
}

void say(End end, const std::string& text) {
    EXPECT_EQ(os::write_some(end.fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

class ChildTest : public testing::SnapshotTest {
  protected:
    void TearDown() override {
        detail::stop_forkserver();
        os::reap_released();
        testing::SnapshotTest::TearDown();
    }
    void SetUp() override {
        start(StartMethod::fork, [] {}).join(); // what stays for the life of the process: the lifeline
        testing::SnapshotTest::SetUp();
    }
};

TEST_F(ChildTest, runs_the_entry_and_tells_the_exit_code_with_each_method) {
    for (const auto method : all_methods) {
        SCOPED_TRACE(to_string(method));
        RawValue<int> seen(0);
        Child child = start(
            method,
            [](std::string text, std::vector<double> more) {
                std::exit(text == "a text" && more == std::vector<double>{1.5, 2.5} ? 300 : 1);
            },
            std::string("a text"), std::vector<double>{1.5, 2.5});
        EXPECT_GT(child.pid(), 0);
        ASSERT_TRUE(child.join(20s));
        EXPECT_EQ(child.exitcode(), 300 & 255);
        EXPECT_TRUE(os::has_ended(child.pidfd()));

        Child quiet = start(method, [] {});
        ASSERT_TRUE(quiet.join(20s));
        EXPECT_EQ(quiet.exitcode(), 0);
    }
}

TEST_F(ChildTest, of_another_process_group_is_a_child_of_this_process) {
    for (const auto method : all_methods) {
        SCOPED_TRACE(to_string(method));
        EXPECT_EQ(said_by_child(method,
                                [](End end) {
                                    say(end, std::to_string(::getppid()) +
                                                 (::getpgrp() == ::getpid() ? " leads" : " follows"));
                                }),
                  std::to_string(::getpid()) + " leads");
    }
}

TEST_F(ChildTest, has_the_descriptors_that_it_was_given_and_no_others) {
    const os::Pipe mine = os::make_pipe();
    for (const auto method : {StartMethod::forkserver, StartMethod::spawn}) {
        SCOPED_TRACE(to_string(method));
        const std::string count = said_by_child(method, [](End end) {
            int pipes = 0, others = 0;
            for (int fd = 3; fd < 1024; ++fd) {
                if (::fcntl(fd, F_GETFD) < 0) continue;
                ++(::fcntl(fd, F_GETFL) & O_ASYNC ? others : pipes);
            }
            say(end, std::to_string(pipes) + ' ' + std::to_string(others));
        });
        EXPECT_EQ(count, "1 1") << "its end of the pipe, and the lifeline";
    }
}

TEST_F(ChildTest, is_killed_and_reaped_when_it_is_destroyed) {
    pid_t pid = 0;
    {
        Child child = start(StartMethod::forkserver, [] { ::pause(); });
        pid = child.pid();
        EXPECT_EQ(child.exitcode(), std::nullopt);
    }
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1) << "it has been reaped";
    EXPECT_EQ(errno, ECHILD);
}

TEST_F(ChildTest, of_a_killed_zygote_goes_on_and_is_reaped_and_the_next_start_makes_a_new_one) {
    os::Pipe go = os::make_pipe();
    Child child = start(
        StartMethod::forkserver,
        [](End end) {
            char byte = 0;
            std::exit(os::read_some(end.fd, &byte, 1) == 1 ? byte : 99);
        },
        End{go.read_end.get()});
    const pid_t zygote = detail::forkserver_pid();
    ASSERT_GT(zygote, 0);
    ::kill(zygote, SIGKILL); // layers: allow kill by pid: a child of ours that nobody else reaps
    Child next = start(StartMethod::forkserver, [] {});
    ASSERT_TRUE(next.join(20s));
    EXPECT_EQ(next.exitcode(), 0);
    EXPECT_NE(detail::forkserver_pid(), zygote);
    EXPECT_EQ(child.exitcode(), std::nullopt) << "the job of the former one still runs";
    EXPECT_EQ(os::write_some(go.write_end.get(), "\x05", 1), 1);
    ASSERT_TRUE(child.join(20s));
    EXPECT_EQ(child.exitcode(), 5);
}

// Children of this thread that were not reaped.
std::vector<pid_t> children_of_this_thread() {
    std::vector<pid_t> all;
    std::ifstream list("/proc/thread-self/children");
    for (pid_t pid = 0; list >> pid;) all.push_back(pid);
    return all;
}

bool proc_lists_children() { return ::access("/proc/thread-self/children", R_OK) == 0; }

// Starts until the zygote has made one ahead; gives its number, or 0 when it makes none.
pid_t make_spare() {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(start(StartMethod::forkserver, [] {}).join(20s));
    // It was ordered after the last start.
    for (int tries = 0; tries < 20'000; ++tries) {
        for (const pid_t pid : children_of_this_thread())
            if (pid != detail::forkserver_pid()) return pid;
        ::usleep(1'000); // layers: allow sleep: a clone in another process tells nobody; this asks until it is there
    }
    return 0;
}

TEST_F(ChildTest, that_was_made_ahead_is_as_one_that_was_not) {
    for (int i = 0; i < 6; ++i) {
        SCOPED_TRACE(i);
        const os::Pipe mine = os::make_pipe();
        const std::string said = said_by_child(StartMethod::forkserver, [](End end) {
            int open = 0;
            for (int fd = 3; fd < 1024; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
            say(end, std::to_string(::getppid()) + (::getpgrp() == ::getpid() ? " leads " : " follows ") +
                         std::to_string(open));
        });
        EXPECT_EQ(said, std::to_string(::getpid()) + " leads 2") << "its end of the pipe, and the lifeline";
        Child child = start(
            StartMethod::forkserver, [](const std::vector<int>& cargo) { std::exit(cargo.size() == 500'000 ? 7 : 1); },
            std::vector<int>(500'000, 1));
        ASSERT_TRUE(child.join(20s));
        EXPECT_EQ(child.exitcode(), 7);
    }
}

TEST_F(ChildTest, that_was_made_ahead_and_killed_costs_no_start) {
    if (!proc_lists_children()) GTEST_SKIP() << "this kernel does not list children";
    const pid_t spare = make_spare();
    ASSERT_NE(spare, 0) << "no child is made ahead";
    ::kill(spare, SIGKILL); // layers: allow kill by pid: a child of ours that nobody else reaps
    for (int i = 0; i < 3; ++i) {
        Child child = start(StartMethod::forkserver, [] { std::exit(9); });
        ASSERT_TRUE(child.join(20s));
        EXPECT_TRUE(child.exitcode() == 9 || (i == 0 && child.exitcode() == -SIGKILL))
            << "it was told before it died, and is then a child that was killed";
    }
    const auto left = children_of_this_thread();
    EXPECT_EQ(std::count(left.begin(), left.end(), spare), 0) << "it was reaped";
}

TEST_F(ChildTest, that_was_made_ahead_outlives_its_zygote_and_the_next_start_makes_a_new_one) {
    if (!proc_lists_children()) GTEST_SKIP() << "this kernel does not list children";
    const pid_t spare = make_spare();
    ASSERT_NE(spare, 0) << "no child is made ahead";
    const pid_t zygote = detail::forkserver_pid();
    ::kill(zygote, SIGKILL); // layers: allow kill by pid: a child of ours that nobody else reaps
    for (int i = 0; i < 4; ++i) {
        Child child = start(StartMethod::forkserver, [] { std::exit(9); });
        ASSERT_TRUE(child.join(20s));
        EXPECT_EQ(child.exitcode(), 9);
    }
    EXPECT_NE(detail::forkserver_pid(), zygote);
}

// Starts until the zygote has been told to make as many ahead as it ever does; false where no three starts follow each other quickly.
bool order_all_spares() {
    auto& zygote = detail::Zygote::get();
    std::vector<Child> children;
    int quick = 0, most_quick = 0; // starts in a row
    for (int i = 0; i < 50 && zygote.spare_pids().size() < detail::Zygote::most_spares; ++i) {
        const std::int64_t began = base::monotonic_ns();
        children.push_back(start(StartMethod::forkserver, [] {}));
        quick = base::monotonic_ns() - began < 30'000'000 ? quick + 1 : 0; // of the 100 ms between two that would do
        most_quick = std::max(most_quick, quick);
    }
    for (Child& child : children) EXPECT_TRUE(child.join(20s));
    const bool all = zygote.spare_pids().size() == detail::Zygote::most_spares;
    EXPECT_TRUE(all || most_quick < 3) << "starts follow each other quickly, and none is made ahead";
    return all;
}

TEST_F(ChildTest, that_are_made_ahead_may_all_be_killed_and_are_reaped) {
    if (!order_all_spares()) GTEST_SKIP() << "starts take too long here for more than one";
    std::vector<pid_t> spares;
    while (std::count(spares.begin(), spares.end(), 0) > 0 || spares.empty())
        spares = detail::Zygote::get().spare_pids(); // till the kernel has told of all
    for (const pid_t spare : spares)
        ::kill(spare, SIGKILL); // layers: allow kill by pid: children that nobody else reaps
    for (int i = 0; i < 4; ++i) {
        Child child = start(StartMethod::forkserver, [] { std::exit(9); });
        ASSERT_TRUE(child.join(20s));
        EXPECT_TRUE(child.exitcode() == 9 || (i < 2 && child.exitcode() == -SIGKILL)) << "told before it died";
    }
    const auto left = children_of_this_thread();
    for (const pid_t spare : spares) EXPECT_EQ(std::count(left.begin(), left.end(), spare), 0);
}

TEST_F(ChildTest, with_too_many_descriptors_for_one_made_ahead_is_made_while_some_are_on_their_way) {
    order_all_spares();
    for (int i = 0; i < 3; ++i) {
        const os::Pipe pipe = os::make_pipe();
        Child child = start(
            StartMethod::forkserver,
            [](const std::vector<End>& ends) {
                int open = 0;
                for (const End end : ends) open += ::fcntl(end.fd, F_GETFD) >= 0 ? 1 : 0;
                std::exit(open);
            },
            std::vector<End>(70, End{pipe.write_end.get()}));
        ASSERT_TRUE(child.join(20s));
        EXPECT_EQ(child.exitcode(), 70);
        Child next = start(StartMethod::forkserver, [] { std::exit(9); });
        ASSERT_TRUE(next.join(20s));
        EXPECT_EQ(next.exitcode(), 9);
    }
}

TEST_F(ChildTest, has_the_environment_of_this_process_and_nothing_that_the_zygote_alone_is_told) {
    const auto said = [](StartMethod method) {
        return said_by_child(method, [](End end) {
            const char* const value = std::getenv("LD_BIND_NOW");
            say(end, value ? value : "nothing");
        });
    };
    EXPECT_EQ(said(StartMethod::forkserver), "nothing");
    detail::stop_forkserver();
    ::setenv("LD_BIND_NOW", "yes", 1);
    EXPECT_EQ(said(StartMethod::forkserver), "yes");
    ::unsetenv("LD_BIND_NOW");
}

TEST_F(ChildTest, takes_a_cargo_of_megabytes) {
    for (const auto method : all_methods) {
        SCOPED_TRACE(to_string(method));
        const std::vector<int> large(1'000'000, 7);
        Child child = start(
            method,
            [](const std::vector<int>& numbers) {
                long sum = 0;
                for (const int n : numbers) sum += n;
                std::exit(sum == 7'000'000 ? 0 : 1);
            },
            large);
        ASSERT_TRUE(child.join(20s));
        EXPECT_EQ(child.exitcode(), 0);
    }
}

TEST_F(ChildTest, that_somebody_else_has_reaped_has_no_exit_code_rather_than_a_wrong_one) {
    Child child = start(StartMethod::forkserver, [] { std::exit(3); });
    EXPECT_EQ(::waitpid(child.pid(), nullptr, 0), child.pid()) << "the zygote's children are children of this process";
    EXPECT_THROW(static_cast<void>(child.exitcode()), OSError);
}

} // namespace
} // namespace sennit::multiprocessing
