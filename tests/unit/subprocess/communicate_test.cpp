#include <sennit/subprocess.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>

#include "support.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <gtest/gtest.h>
#include <pthread.h>
#include <string>
#include <sys/time.h>
#include <thread>
#include <unistd.h>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

const PopenOptions all_pipes{.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE};

// Bytes that differ from place to place, of which no two chunks look alike.
std::string pattern(std::size_t bytes) {
    std::string text(bytes, '\0');
    std::uint32_t x = 12345;
    for (char& c : text) {
        x = x * 1664525 + 1013904223;
        c = static_cast<char>(x >> 24);
    }
    return text;
}

TEST(Communicate, moves_input_and_both_outputs) {
    Popen child({"sh", "-c", "echo pineapple >&2; cat; exit 4"}, all_pipes);
    const auto [out, err] = child.communicate("banana");
    EXPECT_EQ(out, "banana");
    EXPECT_EQ(err, "pineapple\n");
    EXPECT_EQ(child.returncode(), 4);
}

TEST(Communicate, works_with_any_of_the_streams_as_pipes) {
    EXPECT_EQ(Popen({"true"}).communicate().std_out, "");
    Popen only_in({"sh", "-c", "[ \"$(cat)\" = pear ]"}, {.stdin_ = PIPE});
    only_in.communicate("pear");
    EXPECT_EQ(only_in.returncode(), 0);
    EXPECT_EQ(Popen({"echo", "x"}, {.stdout_ = PIPE}).communicate().std_out, "x\n");
    EXPECT_EQ(Popen("echo x >&2", {.shell = true, .stderr_ = PIPE}).communicate().std_err, "x\n");
}

// More than every pipe holds, in all three directions at once: who waits for one pipe alone deadlocks.
TEST(Communicate, can_not_deadlock_whatever_the_child_writes_first) {
    const std::string input = pattern(3'000'000);
    for (const char* script :
         {"tee /dev/stderr", "cat >&2", "head -c 1000000 /dev/zero >&2; cat", "cat; head -c 1000000 /dev/zero >&2"}) {
        Popen child({"sh", "-c", script}, all_pipes);
        const auto [out, err] = child.communicate(input);
        EXPECT_EQ(child.returncode(), 0) << script;
        const std::string zeros(1'000'000, '\0');
        if (script == std::string("tee /dev/stderr")) {
            EXPECT_TRUE(out == input && err == input);
        } else if (script == std::string("cat >&2")) {
            EXPECT_TRUE(out.empty() && err == input);
        } else {
            EXPECT_TRUE(out == input && err == zeros) << script;
        }
    }
}

// F38 by the smallest of pipes: every write and read is a short one.
TEST(Communicate, is_byte_exact_through_the_smallest_pipes) {
    PopenOptions options = all_pipes;
    options.pipesize = 1;
    for (const std::size_t bytes : {0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 300'000}) {
        const std::string input = pattern(bytes);
        Popen child({"tee", "/dev/stderr"}, options);
        const auto [out, err] = child.communicate(input);
        EXPECT_TRUE(out == input && err == input) << bytes;
    }
}

TEST(Communicate, input_written_and_output_read_before_count) {
    Popen child({"cat"}, all_pipes);
    child.std_in().write("banana\n");
    EXPECT_EQ(child.std_out().readline(), "banana\n");
    child.std_in().write("first ");
    EXPECT_EQ(child.communicate("split").std_out, "first split");
    Popen lines({"printf", "a\\nb\\nc\\n"}, {.stdout_ = PIPE});
    EXPECT_EQ(lines.std_out().readline(), "a\n"); // reads ahead
    EXPECT_EQ(lines.communicate().std_out, "b\nc\n");
}

TEST(Communicate, without_input_the_child_sees_the_end_of_its_input) {
    EXPECT_EQ(Popen({"cat"}, all_pipes).communicate().std_out, "");
}

TEST(Communicate, a_child_that_does_not_read_its_input_is_no_error) {
    const std::string much = pattern(1'000'000);
    Popen ends({"true"}, {.stdin_ = PIPE});
    ends.communicate(much);
    EXPECT_EQ(ends.returncode(), 0);
    Popen closes({"sh", "-c", "exec <&-; echo closed; exit 3"}, all_pipes);
    EXPECT_EQ(closes.communicate(much).std_out, "closed\n");
    EXPECT_EQ(closes.returncode(), 3);
    Popen reads_some({"sh", "-c", "head -c 10"}, all_pipes);
    EXPECT_EQ(reads_some.communicate(much, 60s).std_out, much.substr(0, 10));
}

TEST(Communicate, leaves_the_process_alone_with_sigpipe) {
    static volatile std::sig_atomic_t caught = 0;
    caught = 0;
    struct sigaction handler {
    }, before{}, after{};
    handler.sa_handler = [](int) { caught = 1; };
    ::sigaction(SIGPIPE, &handler, &before);
    Popen({"true"}, {.stdin_ = PIPE}).communicate(pattern(500'000));
    ::sigaction(SIGPIPE, nullptr, &after);
    EXPECT_EQ(after.sa_handler, handler.sa_handler);
    EXPECT_EQ(caught, 0);
    // One that was pending before stays pending.
    sigset_t pipe, mask, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, &mask);
    ::pthread_kill(::pthread_self(), SIGPIPE);
    Popen({"true"}, {.stdin_ = PIPE}).communicate(pattern(500'000));
    ::sigpending(&pending);
    EXPECT_EQ(sigismember(&pending, SIGPIPE), 1);
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr); // delivers it
    EXPECT_EQ(caught, 1);
    ::sigaction(SIGPIPE, &before, nullptr);
}

TEST(Communicate, signals_neither_end_nor_disturb_it) {
    struct sigaction handler {
    }, before{};
    handler.sa_handler = [](int) {}; // without SA_RESTART
    ::sigaction(SIGALRM, &handler, &before);
    const itimerval every_ms{{0, 500}, {0, 500}}, off{};
    ::setitimer(ITIMER_REAL, &every_ms, nullptr);
    const std::string input = pattern(2'000'000);
    Popen child({"tee", "/dev/stderr"}, all_pipes);
    const auto [out, err] = child.communicate(input, 60s);
    ::setitimer(ITIMER_REAL, &off, nullptr);
    ::sigaction(SIGALRM, &before, nullptr);
    EXPECT_TRUE(out == input && err == input);
}

TEST(Communicate, a_time_out_carries_what_had_come_and_kills_nobody) {
    Popen child({"sh", "-c", "printf partial; echo ready >&2; cat"}, all_pipes);
    EXPECT_EQ(child.std_err().readline(), "ready\n"); // so the first output is in its pipe
    try {
        child.communicate("later", 1ms);
        // The child may have been quick: then all is right already.
    } catch (const TimeoutExpired& e) {
        EXPECT_EQ(e.output().substr(0, 7), "partial");
        EXPECT_EQ(e.cmd().list().front(), "sh");
        EXPECT_EQ(child.communicate().std_out, "partiallater");
    }
    EXPECT_EQ(child.wait(), 0);

    Popen waits({"sh", "-c", "printf partial; echo ready >&2; exec sleep 1000"}, all_pipes);
    EXPECT_EQ(waits.std_err().readline(), "ready\n");
    for (int i = 0; i < 3; ++i) {
        try {
            waits.communicate({}, 1ms);
            FAIL();
        } catch (const TimeoutExpired& e) {
            EXPECT_EQ(e.output(), "partial");
        }
        EXPECT_EQ(waits.poll(), std::nullopt);
    }
    waits.kill();
    EXPECT_EQ(waits.communicate().std_out, "partial");
}

TEST(Communicate, repeating_it_after_time_outs_loses_no_byte) {
    const std::string input = pattern(4'000'000);
    PopenOptions options = all_pipes;
    options.pipesize = 4096;
    Popen child({"tee", "/dev/stderr"}, options);
    int time_outs = 0;
    Popen::Output output;
    std::string given = input;
    for (bool done = false; !done;) {
        try {
            // Polls and waits in turn; the former times out nearly always.
            output = child.communicate(std::exchange(given, {}), time_outs % 8 == 7 ? 1ms : 0ms);
            done = true;
        } catch (const TimeoutExpired& e) {
            ++time_outs;
            ASSERT_LE(e.output().size(), input.size());
            ASSERT_EQ(input.compare(0, e.output().size(), e.output()), 0);
            if (time_outs > 200) {
                output = child.communicate();
                done = true;
            }
        }
    }
    EXPECT_GT(time_outs, 0);
    EXPECT_TRUE(output.std_out == input);
    EXPECT_TRUE(output.std_err == input);
}

TEST(Communicate, a_child_that_never_stops_writing_or_reading_is_bounded_by_the_deadline) {
    PopenOptions options = all_pipes;
    options.kill_group = true;
    Popen writes({"yes"}, options);
    EXPECT_THROW(writes.communicate({}, 5ms), TimeoutExpired);
    EXPECT_THROW(writes.communicate({}, 0s), TimeoutExpired);
    writes.kill();
    writes.communicate();
    Popen for_reader({"yes"}, options);
    EXPECT_THROW(for_reader.std_out().read_all(5ms), TimeoutError);
    EXPECT_EQ(for_reader.std_out().readline(), "y\n");
    for_reader.kill();
    for_reader.communicate();
    Popen reads({"sh", "-c", "exec cat >/dev/null"}, options);
    const std::string much(200'000'000, 'x');
    EXPECT_LT(reads.std_in().write(much, 1ms), much.size());
    reads.communicate();
}

TEST(Communicate, a_child_that_closed_its_output_but_runs_times_out_and_can_be_waited_for_again) {
    Popen child({"sh", "-c", "echo x; exec >&- 2>&-; read line <&0; exit 6"},
                {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    const os::Fd input = os::duplicate(child.std_in().fileno()); // holds its input open
    EXPECT_EQ(child.std_err().read_all(), "");                   // it has closed them
    EXPECT_THROW(child.communicate({}, 1ms), TimeoutExpired);
    ASSERT_EQ(::write(input.get(), "\n", 1), 1);
    EXPECT_EQ(child.communicate({}, 60s).std_out, "x\n");
    EXPECT_EQ(child.returncode(), 6);
}

TEST(Communicate, streams_that_the_caller_closed_are_left_alone) {
    Popen child({"sh", "-c", "cat >/dev/null"}, all_pipes);
    child.std_in().close();
    child.std_out().close();
    child.std_err().close();
    EXPECT_EQ(child.communicate().std_out, "");
    EXPECT_EQ(child.returncode(), 0);
    EXPECT_EQ(child.communicate().std_out, ""); // once more: nothing is left to give
}

TEST(Communicate, input_that_can_not_be_given_is_refused) {
    Popen no_pipe({"true"});
    EXPECT_NE(thrown<UsageError>([&] { no_pipe.communicate("x"); }).find(".stdin_ = PIPE"), std::string::npos);
    no_pipe.wait();
    Popen closed({"cat"}, all_pipes);
    closed.std_in().close();
    EXPECT_NE(thrown<UsageError>([&] { closed.communicate("x"); }).find("closed"), std::string::npos);
    closed.communicate();
    Popen begun({"cat"}, all_pipes);
    EXPECT_THROW(begun.communicate(pattern(1'000'000), 0s), TimeoutExpired); // more than goes into the pipe at once
    EXPECT_NE(thrown<UsageError>([&] { begun.communicate("more"); }).find("begun"), std::string::npos);
    EXPECT_EQ(begun.communicate().std_out, pattern(1'000'000));
}

TEST(Communicate, closes_every_pipe) {
    Popen({"true"}).wait();
    const int before = open_descriptors();
    {
        Popen child({"cat"}, all_pipes);
        child.communicate("x");
        EXPECT_TRUE(child.std_in().closed());
        EXPECT_TRUE(child.std_out().closed());
        EXPECT_TRUE(child.std_err().closed());
        EXPECT_EQ(open_descriptors(), before + 1); // the pidfd
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Communicate, a_status_that_somebody_else_took_is_an_error) {
    auto* const before = std::signal(SIGCHLD, SIG_IGN);
    Popen child({"echo", "x"}, {.stdout_ = PIPE});
    EXPECT_THROW(child.communicate(), OSError);
    std::signal(SIGCHLD, before);
}

} // namespace
} // namespace sennit::subprocess
