#include <sennit/os/fork.hpp>

#include "support/snapshot.hpp"

#include <sennit/os/mutex.hpp>
#include <sennit/os/system_state.hpp>
#include <sennit/os/thread.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <poll.h>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::os {
namespace {

using namespace std::chrono_literals;

class Fork : public sennit::testing::SnapshotTest {
  protected:
    static void SetUpTestSuite() { Lifeline::read_end(); } // stays for the life of a process
};

int status_of(pid_t child) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}
// The exit code of a child that runs `body`, -N for signal N.
int in_child(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    const int status = status_of(child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
// All that comes out of a pipe, to its end.
std::string read_all(int fd) {
    std::string all;
    char buffer[512];
    for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
    return all;
}
// What `body` writes to stderr in a child.
std::string stderr_of(const std::function<void()>& body) {
    Pipe pipe = make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(pipe.write_end.get(), 2);
        body();
        ::_exit(0);
    }
    pipe.write_end.reset();
    std::string text = read_all(pipe.read_end.get());
    EXPECT_EQ(status_of(child), 0);
    return text;
}

TEST_F(Fork, gives_zero_in_the_child_and_its_number_in_the_parent) {
    EXPECT_EQ(in_child([] { // which has one thread: nothing to warn of
                  const pid_t parent = ::getpid(), child = os::fork();
                  if (child == 0) ::_exit(::getppid() == parent ? 7 : 8);
                  int status = 0;
                  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
              }),
              7);
}

TEST_F(Fork, leaves_the_librarys_mutexes_free_in_the_child_whoever_held_them) {
    static Mutex held;
    static const int handled =
        at_fork([]() SENNIT_NO_TSA noexcept { held.lock(); }, []() SENNIT_NO_TSA noexcept { held.unlock(); },
                []() SENNIT_NO_TSA noexcept { held.reset_after_fork(); });
    ASSERT_EQ(handled, 0);
    bool stop = false;
    std::thread other([&] {
        while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
            const MutexGuard guard(held);
        }
    });
    for (int i = 0; i < 20; ++i) {
        pid_t pid = -1;
        ChildProcess child;
        ASSERT_EQ(fork_child(pid, child), 0);
        if (pid == 0) {
            { const MutexGuard guard(held); }
            ::_exit(0);
        }
        EXPECT_EQ(child.wait(60s).value().code, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    other.join();
}

TEST_F(Fork, says_once_that_other_threads_are_not_copied) {
    const auto fork_twice = [] {
        for (int i = 0; i < 2; ++i) {
            const pid_t child = os::fork();
            if (child == 0) ::_exit(0);
            ::waitpid(child, nullptr, 0);
        }
    };
    EXPECT_EQ(stderr_of(fork_twice), "") << "a child of a fork has one thread";
    const std::string text = stderr_of([&] {
        Pipe one = make_pipe(), two = make_pipe();
        std::thread first([&] { read_all(one.read_end.get()); }), second([&] { read_all(two.read_end.get()); });
        fork_twice();
        one.write_end.reset();
        two.write_end.reset();
        first.join();
        second.join();
    });
    const auto at = text.find("os::fork() in a process with several threads");
    EXPECT_NE(at, text.npos) << text;
    EXPECT_EQ(text.find("several threads", at + 40), text.npos) << "once: " << text;
}

TEST_F(Fork, child_is_known_by_its_pidfd) {
    Pipe pipe = make_pipe();
    pid_t pid = -1;
    ChildProcess child;
    ASSERT_EQ(fork_child(pid, child), 0);
    if (pid == 0) {
        pipe.write_end.reset();
        read_all(pipe.read_end.get());
        ::_exit(9);
    }
    EXPECT_EQ(child.pid(), pid);
    EXPECT_FALSE(has_ended(child.pidfd()));
    EXPECT_FALSE(child.try_wait().has_value());
    pipe.write_end.reset();
    EXPECT_EQ(child.wait(60s).value().code, 9);
    EXPECT_TRUE(has_ended(child.pidfd()));
}

TEST_F(Fork, sibling_is_a_child_of_the_parents_parent_and_its_number_is_there_at_once) {
    struct Shared {
        pid_t noted, number, parent;
    };
    void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    auto* const shared = ::new (memory) Shared{0, 0, 0};
    const int code = in_child([shared] {
        pid_t pid = -1;
        Fd pidfd;
        if (fork_sibling(pid, pidfd, &shared->noted) != 0) return 1;
        if (pid == 0) {
            shared->number = ::getpid();
            shared->parent = ::getppid();
            ::_exit(6);
        }
        if (shared->noted != pid || !pidfd) return 2;
        return ::waitpid(pid, nullptr, 0) == -1 && errno == ECHILD ? 0 : 3; // no child of ours
    });
    EXPECT_EQ(code, 0);
    ChildProcess sibling;
    ASSERT_GT(shared->noted, 0);
    ASSERT_EQ(adopt_child(shared->noted, sibling), 0);
    EXPECT_EQ(sibling.wait(60s).value().code, 6);
    EXPECT_EQ(shared->parent, ::getpid());
    EXPECT_EQ(shared->number, shared->noted);
    ::munmap(memory, sizeof(Shared));
}

TEST_F(Fork, a_signal_reaches_the_group_that_a_dead_child_has_led) {
    Pipe pipe = make_pipe();
    pid_t pid = -1;
    ChildProcess child;
    ASSERT_EQ(fork_child(pid, child), 0);
    if (pid == 0) {
        lead_process_group();
        if (::fork() == 0)
            for (;;) ::pause(); // keeps the pipe open
        ::_exit(0);
    }
    pipe.write_end.reset();
    ASSERT_EQ(child.wait(60s).value().code, 0);
    if (!signal_with_group(child.pidfd(), 0)) {
        ::kill(-pid, SIGKILL); // Linux before 6.9
        GTEST_SKIP() << "this kernel reaches no group by a pidfd";
    }
    EXPECT_TRUE(signal_with_group(child.pidfd(), SIGKILL));
    EXPECT_EQ(read_all(pipe.read_end.get()), "");
}

TEST_F(Fork, counts_the_threads_of_this_process) {
    const int before = thread_count();
    ASSERT_GE(before, 1);
    Pipe pipe = make_pipe();
    std::thread other([&] { read_all(pipe.read_end.get()); });
    EXPECT_EQ(thread_count(), before + 1);
    pipe.write_end.reset();
    other.join();
}

TEST_F(Fork, exit_tells_its_code_to_who_asked_before_what_was_registered_earlier) {
    static int end = -1;
    Pipe pipe = make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        end = pipe.write_end.get();
        std::atexit([] {
            static_cast<void>(::write(end, "atexit", 6));
            ::_exit(0); // what this test's program has registered is no business of the child
        });
        at_exit_with_code([](int code) {
            const char text = static_cast<char>('0' + code);
            static_cast<void>(::write(end, &text, 1));
        });
        std::exit(5);
    }
    pipe.write_end.reset();
    EXPECT_EQ(read_all(pipe.read_end.get()), "5atexit");
    status_of(child);
}

// ---- Lifeline

// A child of a child hangs on the child's lifeline, and ends when that is killed.
void expect_end_with_owner(bool leads_group) {
    Pipe pipe = make_pipe();
    const pid_t owner = ::fork();
    if (owner == 0) {
        pipe.read_end.reset();
        const Fd line = duplicate(Lifeline::read_end()); // the other one is closed by each fork
        if (::fork() == 0) {
            if (leads_group) lead_process_group();
            Fd watch;
            if (Lifeline::die_with(line.get(), watch) != 0) ::_exit(1);
            if (!leads_group || ::fork() != 0) static_cast<void>(::write(pipe.write_end.get(), "+", 1));
            for (;;) ::pause(); // also whom it has left in its group
        }
        pipe.write_end.reset();
        for (;;) ::pause();
    }
    pipe.write_end.reset();
    char byte = 0;
    ASSERT_EQ(::read(pipe.read_end.get(), &byte, 1), 1);
    ::kill(owner, SIGKILL);
    status_of(owner);
    pollfd ended{pipe.read_end.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 20'000), 1) << "it outlives who held the other end";
    EXPECT_EQ(::read(pipe.read_end.get(), &byte, 1), 0);
}

TEST_F(Fork, a_lifeline_ends_who_hangs_on_it_and_the_group_it_leads) {
    expect_end_with_owner(false);
    expect_end_with_owner(true);
}

TEST_F(Fork, a_lifeline_whose_owner_has_ended_before_ends_at_once) {
    Pipe line = make_pipe();
    line.write_end.reset();
    EXPECT_EQ(in_child([&] {
                  Fd watch;
                  Lifeline::die_with(line.read_end.get(), watch);
                  return 1;
              }),
              -SIGKILL);
}

TEST_F(Fork, each_process_has_a_lifeline_of_its_own) {
    const int mine = Lifeline::read_end();
    EXPECT_EQ(Lifeline::read_end(), mine);
    EXPECT_TRUE(is_fifo(mine));
    EXPECT_EQ(in_child([mine] { return is_open(mine)                   ? 1
                                       : is_fifo(Lifeline::read_end()) ? 0
                                                                       : 2; }), 0)
        << "1: the parent's is open in the child";
}

// ---- descriptors

TEST_F(Fork, closes_every_descriptor_but_those_to_keep_and_the_standard_ones) {
    EXPECT_EQ(in_child([] {
                  std::vector<int> made, kept;
                  for (int i = 0; i < 40; ++i) made.push_back(::dup(0));
                  for (std::size_t i = 0; i < made.size(); i += 3) kept.push_back(made[i]);
                  std::sort(kept.begin(), kept.end());
                  kept.insert(kept.begin(), 1); // names a standard one: nothing to it
                  close_all_but(kept);
                  for (int fd = 0; fd < made.back() + 20; ++fd) {
                      const bool stays = fd < 3 || std::find(kept.begin(), kept.end(), fd) != kept.end();
                      if (is_open(fd) != stays) return fd + 10;
                  }
                  return 0;
              }),
              0);
}

TEST_F(Fork, puts_a_descriptor_in_the_place_of_a_standard_one) {
    Pipe pipe = make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        if (set_standard_stream(pipe.write_end.get(), 1) != 0) ::_exit(1);
        pipe.write_end.reset();
        if (set_standard_stream(1, 1) != 0 || set_standard_stream(-1, 2) != EBADF) ::_exit(2);
        if ((::fcntl(1, F_GETFD) & FD_CLOEXEC) != 0) ::_exit(3);
        ::_exit(::write(1, "here", 4) == 4 ? 0 : 4);
    }
    pipe.write_end.reset();
    EXPECT_EQ(read_all(pipe.read_end.get()), "here");
    EXPECT_EQ(status_of(child), 0);
}

TEST_F(Fork, flushes_what_stdio_holds_lest_the_child_write_it_again) {
    Pipe pipe = make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
        std::FILE* const out = ::fdopen(pipe.write_end.release(), "w");
        std::fputs("once", out);
        flush_before_fork();
        if (::fork() == 0) {
            std::fflush(out);
            ::_exit(0);
        }
        ::wait(nullptr);
        std::fflush(out);
        ::_exit(0);
    }
    pipe.write_end.reset();
    EXPECT_EQ(read_all(pipe.read_end.get()), "once");
    EXPECT_EQ(status_of(child), 0);
}

TEST_F(Fork, knows_pipes_from_files_and_open_from_closed) {
    const Pipe pipe = make_pipe();
    EXPECT_TRUE(is_fifo(pipe.read_end.get()));
    const Fd file(::open("/dev/null", O_RDONLY));
    EXPECT_FALSE(is_fifo(file.get()));
    EXPECT_TRUE(is_open(file.get()));
    EXPECT_FALSE(is_open(-1));
    EXPECT_FALSE(is_fifo(-1));
    set_close_on_exec(file.get());
    EXPECT_NE(::fcntl(file.get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_FALSE(is_privileged());
}

} // namespace
} // namespace sennit::os
