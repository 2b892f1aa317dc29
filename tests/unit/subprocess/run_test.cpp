#include <sennit/subprocess.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>

#include "support.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

TEST(Run, gives_arguments_return_code_and_output) {
    const CompletedProcess done = run({"sh", "-c", "echo out; echo err >&2; exit 47"}, {.capture_output = true});
    EXPECT_EQ(done.args, (Args{"sh", "-c", "echo out; echo err >&2; exit 47"}));
    EXPECT_EQ(done.returncode, 47);
    EXPECT_EQ(done.std_out, "out\n");
    EXPECT_EQ(done.std_err, "err\n");
    EXPECT_THROW(done.check_returncode(), CalledProcessError);
    run({"true"}).check_returncode();
}

TEST(Run, takes_strings_views_paths_vectors_and_maps) {
    const std::filesystem::path path = "/tmp";
    const std::string string = "string";
    const std::string_view view = "view";
    EXPECT_EQ(check_output({"echo", path, string, view, "literal"}), "/tmp string view literal\n");
    EXPECT_EQ(check_output(std::vector<std::string>{"echo", "vector"}), "vector\n");
    EXPECT_EQ(run("true").returncode, 0);
    const std::map<std::string, std::string> env{{"B", "2"}, {"A", "1"}};
    EXPECT_EQ(check_output({"/usr/bin/env"}, {.cwd = path, .env = env}), "A=1\nB=2\n");
}

TEST(Run, check_throws_with_everything_that_is_known) {
    try {
        run({"sh", "-c", "echo out; echo err >&2; exit 9"}, {.capture_output = true, .check = true});
        FAIL();
    } catch (const CalledProcessError& e) {
        EXPECT_EQ(e.returncode(), 9);
        EXPECT_EQ(e.cmd().list().front(), "sh");
        EXPECT_EQ(e.output(), "out\n");
        EXPECT_EQ(e.std_out(), "out\n");
        EXPECT_EQ(e.std_err(), "err\n");
        EXPECT_NE(std::string(e.what()).find("returned non-zero exit status 9"), std::string::npos) << e.what();
    }
    EXPECT_EQ(run({"true"}, {.check = true}).returncode, 0);
}

TEST(Run, sends_input_of_any_size) {
    EXPECT_EQ(run({"tr", "a-z", "A-Z"}, {.input = "pear", .capture_output = true}).std_out, "PEAR");
    const std::string large(3'000'000, 'x');
    EXPECT_TRUE(run({"cat"}, {.input = large, .stdout_ = PIPE}).std_out == large);
    EXPECT_EQ(run({"cat"}, {.input = "", .stdout_ = PIPE}).std_out, ""); // an empty input is one
    const std::string binary("a\0b\r\n\xff", 6);
    EXPECT_EQ(run({"cat"}, {.input = binary, .stdout_ = PIPE}).std_out, binary);
}

TEST(Run, input_for_a_program_that_does_not_read_is_no_error) {
    EXPECT_EQ(run({"true"}, {.input = std::string(1'000'000, 'x'), .check = true}).returncode, 0);
}

TEST(Run, options_that_exclude_each_other_are_refused) {
    const os::Fd file = file_with("x");
    EXPECT_NE(thrown<UsageError>([&] { run({"cat"}, {.input = "x", .stdin_ = file}); }).find("input"),
              std::string::npos);
    EXPECT_NE(thrown<UsageError>([&] { run({"cat"}, {.capture_output = true, .stdout_ = PIPE}); }).find("stdout_"),
              std::string::npos);
    EXPECT_NE(thrown<UsageError>([&] { run({"cat"}, {.capture_output = true, .stderr_ = STDOUT}); }).find("stderr_"),
              std::string::npos);
    EXPECT_THROW(check_output({"true"}, {.stdout_ = PIPE}), UsageError);
    EXPECT_THROW(check_output({"true"}, {.check = true}), UsageError);
    EXPECT_THROW(check_output({"true"}, {.capture_output = true}), UsageError);
    EXPECT_THROW(call({"true"}, {.input = "x"}), UsageError);
    EXPECT_THROW(call({"true"}, {.capture_output = true}), UsageError);
    EXPECT_THROW(call({"true"}, {.check = true}), UsageError);
    EXPECT_THROW(check_call({"true"}, {.check = true}), UsageError);
}

TEST(Run, call_and_its_kin_give_codes_or_throw) {
    EXPECT_EQ(call({"sh", "-c", "exit 47"}), 47);
    EXPECT_EQ(call("exit 46", {.shell = true}), 46);
    EXPECT_EQ(check_call({"true"}), 0);
    try {
        check_call({"sh", "-c", "exit 47"});
        FAIL();
    } catch (const CalledProcessError& e) {
        EXPECT_EQ(e.returncode(), 47);
    }
    EXPECT_EQ(call({"sh", "-c", "[ $FRUIT = banana ]"}, {.extra_env = {{"FRUIT", "banana"}}}), 0);
}

TEST(Run, check_output_gives_standard_output) {
    EXPECT_EQ(check_output({"echo", "BDFL"}), "BDFL\n");
    EXPECT_EQ(check_output({"sh", "-c", "echo BDFL >&2"}, {.stderr_ = STDOUT}), "BDFL\n");
    EXPECT_EQ(check_output({"cat"}, {.input = "pear"}), "pear");
    const os::Fd file = file_with("pear");
    EXPECT_EQ(check_output({"cat"}, {.stdin_ = file}), "pear");
    EXPECT_THROW(check_output({"sh", "-c", "exit 5"}), CalledProcessError);
}

TEST(Run, getoutput_strips_the_last_line_end) {
    EXPECT_EQ(getoutput("echo xyzzy"), "xyzzy");
    EXPECT_EQ(getoutput("printf 'a\\n\\n'"), "a\n");
    EXPECT_EQ(getstatusoutput("echo xyzzy; echo err >&2"), (std::pair<int, std::string>(0, "xyzzy\nerr")));
    EXPECT_EQ(getstatusoutput("exit 3"), (std::pair<int, std::string>(3, "")));
    EXPECT_EQ(getstatusoutput("kill $$"), (std::pair<int, std::string>(-SIGTERM, "")));
    EXPECT_EQ(getstatusoutput("cat /no/such/file").first, 1);
}

// ---- time-outs (P9)

// Runs `call` with longer and longer limits until what it throws says that the child had begun to write.
template <class Call>
TimeoutExpired times_out_after_output(Call call) {
    for (auto limit = 20ms;; limit *= 2) {
        try {
            call(limit);
        } catch (const TimeoutExpired& e) {
            if (!e.output().empty()) return e;
        }
    }
}

TEST(Run, a_time_out_kills_the_child_and_carries_its_output) {
    const int before = open_descriptors();
    const TimeoutExpired e = times_out_after_output([](auto limit) {
        run({"sh", "-c", "echo out; echo err >&2; exec sleep 1000"}, {.capture_output = true, .timeout = limit});
    });
    EXPECT_EQ(e.output(), "out\n");
    EXPECT_EQ(e.std_err(), "err\n");
    EXPECT_EQ(e.cmd(), (Args{"sh", "-c", "echo out; echo err >&2; exec sleep 1000"}));
    EXPECT_NE(std::string(e.what()).find(" timed out after "), std::string::npos);
    EXPECT_GE(e.timeout(), 0.02);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1); // killed and reaped
    EXPECT_THROW(call({"sleep", "1000"}, {.timeout = 5ms}), TimeoutExpired);
    EXPECT_THROW(check_call({"sleep", "1000"}, {.timeout = 5ms}), TimeoutExpired);
    EXPECT_THROW(check_output({"sleep", "1000"}, {.timeout = 5ms}), TimeoutExpired);
    EXPECT_THROW(run({"sleep", "1000"}, {.timeout = 0s}), TimeoutExpired);
    EXPECT_THROW(run({"sleep", "1000"}, {.timeout = -1s}), TimeoutExpired);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

TEST(Run, a_time_out_ends_the_call_although_a_grandchild_holds_the_pipe) {
    const TimeoutExpired e = times_out_after_output([](auto limit) {
        run({"sh", "-c", "sleep 1000 & echo $!; wait"}, {.capture_output = true, .timeout = limit});
    });
    const pid_t grandchild = std::stoi(e.output());
    EXPECT_EQ(::kill(grandchild, SIGKILL), 0); // it was still there, and the call has come back
}

TEST(Run, a_time_out_ends_the_call_although_a_grandchild_of_an_ended_child_holds_the_pipe) {
    const TimeoutExpired e = times_out_after_output([](auto limit) {
        run({"sh", "-c", "sleep 1000 & echo $!"}, {.capture_output = true, .timeout = limit});
    });
    EXPECT_EQ(::kill(std::stoi(e.output()), SIGKILL), 0);
}

TEST(Run, a_time_out_ends_the_call_although_a_grandchild_never_stops_writing) {
    const TimeoutExpired e = times_out_after_output([](auto limit) {
        run({"sh", "-c", "yes & wait"}, {.capture_output = true, .timeout = limit});
    });
    EXPECT_EQ(e.output().substr(0, 2), "y\n");
}

TEST(Run, kill_group_ends_the_descendants_at_the_time_out) {
    os::Pipe leash = os::make_pipe();
    const TimeoutExpired e = times_out_after_output([&](auto limit) {
        run({"sh", "-c", "sleep 1000 & (sleep 1000; true) & echo begun; wait"},
            {.timeout = limit, .stdout_ = PIPE, .pass_fds = {leash.write_end.get()}, .kill_group = true});
    });
    EXPECT_EQ(e.output(), "begun\n");
    leash.write_end.reset();
    char byte;
    EXPECT_EQ(::read(leash.read_end.get(), &byte, 1), 0); // the end: nobody holds the other side any more
}

TEST(Run, one_set_of_options_gives_every_call_its_whole_time) {
    const RunOptions options{.timeout = 60s, .check = true};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(run({"true"}, options).returncode, 0);
    const RunOptions until{.timeout = Deadline::poll()};
    EXPECT_THROW(run({"cat"}, {.timeout = until.timeout, .stdin_ = PIPE}), TimeoutExpired);
}

TEST(Run, a_shell_script_that_starts_another_program_is_bounded_too) {
    EXPECT_THROW(run("sleep 1000; true", {.capture_output = true, .timeout = 5ms, .shell = true, .kill_group = true}),
                 TimeoutExpired);
}

TEST(Run, many_threads_run_programs_at_once) {
    std::vector<std::thread> threads;
    std::array<int, 4> right{};
    for (std::size_t t = 0; t < right.size(); ++t) {
        threads.emplace_back([&right, t] {
            for (int i = 0; i < 20; ++i) {
                const std::string text = std::to_string(t) + ":" + std::to_string(i);
                const CompletedProcess done =
                    run({"sh", "-c", "cat; exit " + std::to_string(i)}, {.input = text, .capture_output = true});
                right[t] += done.std_out == text && done.returncode == i;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(right, (std::array<int, 4>{20, 20, 20, 20}));
}

} // namespace
} // namespace sennit::subprocess
