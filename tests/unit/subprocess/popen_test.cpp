#include <sennit/subprocess.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/os/fd.hpp>

#include "support.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <gtest/gtest.h>
#include <poll.h>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::subprocess {
namespace {

using namespace std::chrono_literals;

std::string sh(const std::string& script, PopenOptions options = {}) {
    options.stdout_ = PIPE;
    return Popen({"/bin/sh", "-c", script}, options).communicate().std_out;
}

// A pipe whose write end a child gets as descriptor `fd`; its read end tells when all who hold that are gone.
struct Leash {
    os::Pipe pipe = os::make_pipe();
    [[nodiscard]] std::vector<int> fds() const { return {pipe.write_end.get()}; }
    bool all_gone() {
        pipe.write_end.reset();
        char byte;
        return ::read(pipe.read_end.get(), &byte, 1) == 0;
    }
};

// ---- streams

TEST(Popen, streams_that_are_no_pipes_are_refused_with_what_to_pass) {
    Popen child({"true"});
    EXPECT_NE(thrown<UsageError>([&] { child.std_in(); }).find(".stdin_ = PIPE"), std::string::npos);
    EXPECT_NE(thrown<UsageError>([&] { child.std_out(); }).find(".stdout_ = PIPE"), std::string::npos);
    EXPECT_NE(thrown<UsageError>([&] { child.std_err(); }).find(".stderr_ = PIPE"), std::string::npos);
    EXPECT_EQ(child.wait(), 0);
}

TEST(Popen, a_stream_left_alone_is_the_parents) {
    const os::Fd file = file_with("");
    int code = -1;
    {
        StandardStreamsAside aside;
        ::dup2(file.get(), 1);
        code = Popen({"echo", "to the parent's"}, {.stdin_ = PIPE, .stderr_ = PIPE}).wait();
    }
    EXPECT_EQ(code, 0);
    EXPECT_EQ(content(file), "to the parent's\n");
}

TEST(Popen, standard_input_comes_from_a_pipe_or_a_descriptor) {
    Popen child({"sh", "-c", "[ \"$(cat)\" = pear ]"}, {.stdin_ = PIPE});
    EXPECT_EQ(child.std_in().write("pear"), 4U);
    child.std_in().close();
    EXPECT_EQ(child.wait(), 0);
    const os::Fd file = file_with("pear");
    EXPECT_EQ(Popen({"sh", "-c", "[ \"$(cat)\" = pear ]"}, {.stdin_ = file}).wait(), 0);
    EXPECT_EQ(Popen({"sh", "-c", "[ -z \"$(cat)\" ]"}, {.stdin_ = DEVNULL}).wait(), 0);
}

TEST(Popen, output_goes_to_a_pipe_a_descriptor_or_nowhere) {
    Popen child({"echo", "orange"}, {.stdout_ = PIPE});
    EXPECT_EQ(child.std_out().read_all(), "orange\n");
    EXPECT_EQ(child.wait(), 0);
    const os::Fd out = file_with(""), err = file_with("");
    Popen({"sh", "-c", "echo orange; echo pear >&2"}, {.stdout_ = out, .stderr_ = err}).wait();
    EXPECT_EQ(content(out), "orange\n");
    EXPECT_EQ(content(err), "pear\n");
    EXPECT_EQ(
        Popen({"sh", "-c", "head -c 100000 /dev/zero; echo x >&2"}, {.stdout_ = DEVNULL, .stderr_ = DEVNULL}).wait(),
        0);
}

TEST(Popen, both_outputs_may_share_a_pipe_or_a_file) {
    EXPECT_EQ(
        Popen({"sh", "-c", "echo apple; echo orange >&2"}, {.stdout_ = PIPE, .stderr_ = STDOUT}).communicate().std_out,
        "apple\norange\n");
    const os::Fd file = file_with("");
    Popen({"sh", "-c", "echo apple; echo orange >&2"}, {.stdout_ = file, .stderr_ = STDOUT}).wait();
    EXPECT_EQ(content(file), "apple\norange\n");
    const os::Fd twice = file_with("");
    Popen({"sh", "-c", "echo apple; echo orange >&2"}, {.stdout_ = twice, .stderr_ = twice}).wait();
    EXPECT_EQ(content(twice), "apple\norange\n");
}

TEST(Popen, standard_error_may_go_to_an_output_that_is_the_parents) {
    const os::Fd file = file_with("");
    {
        StandardStreamsAside aside;
        ::dup2(file.get(), 1);
        Popen({"sh", "-c", "echo 42 >&2"}, {.stderr_ = STDOUT}).wait();
        Popen({"sh", "-c", "echo 43 >&2"}, {.stdout_ = 1, .stderr_ = STDOUT}).wait();
    }
    EXPECT_EQ(content(file), "42\n43\n");
}

TEST(Popen, one_descriptor_may_be_input_and_output) {
    const os::Fd file = file_with("once upon\n");
    Popen({"sh", "-c", "read a b; echo $b $a"}, {.stdin_ = file, .stdout_ = file}).wait();
    EXPECT_EQ(content(file), "once upon\nupon once\n");
    const os::Fd second = file_with("x\n");
    Popen({"sh", "-c", "read a; echo err-$a >&2"}, {.stdin_ = second, .stderr_ = second}).wait();
    EXPECT_EQ(content(second), "x\nerr-x\n");
}

TEST(Popen, a_pipe_of_one_child_is_the_input_of_the_next) {
    Popen first({"printf", "b\\na\\nc\\n"}, {.stdout_ = PIPE});
    Popen second({"sort"}, {.stdin_ = first.std_out(), .stdout_ = PIPE});
    first.std_out().close();
    EXPECT_EQ(second.communicate().std_out, "a\nb\nc\n");
    EXPECT_EQ(first.wait(), 0);
}

TEST(Popen, the_writer_of_a_closed_pipe_dies_of_sigpipe) {
    Popen yes({"yes"}, {.stdout_ = PIPE});
    EXPECT_EQ(yes.std_out().readline(), "y\n");
    yes.std_out().close();
    EXPECT_EQ(yes.wait(), -SIGPIPE);
}

// Python: test_close_fd_0 ... test_close_fds_0_1_2
TEST(Popen, works_with_any_of_the_standard_streams_closed_in_the_parent) {
    for (int closed = 0; closed < 8; ++closed) {
        std::string out, err;
        int code = -1;
        const int before = open_descriptors();
        {
            StandardStreamsAside aside;
            for (int i = 0; i < 3; ++i)
                if (closed & (1 << i)) ::close(i);
            Popen child({"sh", "-c", "read word; echo out-$word; echo err-$word >&2; exit 3"},
                        {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
            auto output = child.communicate("x\n");
            out = output.std_out;
            err = output.std_err;
            code = child.wait();
            for (int i = 0; i < 3; ++i) { // nothing of ours has taken their place
                if ((closed & (1 << i)) && ::fcntl(i, F_GETFD) >= 0) err += " taken: " + std::to_string(i);
            }
        }
        EXPECT_EQ(out, "out-x\n") << closed;
        EXPECT_EQ(err, "err-x\n") << closed;
        EXPECT_EQ(code, 3) << closed;
        EXPECT_EQ(open_descriptors(), before) << closed;
    }
}

// Python: test_remapping_std_fds, test_swap_fds, test_swap_std_fds_with_one_closed
TEST(Popen, streams_are_taken_from_0_to_2_in_every_permutation_also_with_one_of_them_closed) {
    constexpr std::array<std::array<int, 3>, 6> permutations{
        {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}};
    for (const auto& [in, out, err] : permutations) {
        os::Fd files[3] = {file_with(""), file_with(""), file_with("")};
        ASSERT_EQ(::pwrite(files[in].get(), "word\n", 5, 0), 5);
        {
            StandardStreamsAside aside;
            for (int i = 0; i < 3; ++i) ::dup2(files[i].get(), i);
            Popen({"sh", "-c", "read w; echo out-$w; echo err-$w >&2"}, {.stdin_ = in, .stdout_ = out, .stderr_ = err})
                .wait();
        }
        EXPECT_EQ(content(files[out]), "out-word\n");
        EXPECT_EQ(content(files[err]), "err-word\n");
    }
    // Two of the three swap, the third is closed in the parent.
    for (int closed = 0; closed < 3; ++closed) {
        const int a = closed == 0 ? 1 : 0, b = closed == 2 ? 1 : 2;
        os::Fd files[3] = {file_with(""), file_with(""), file_with("")};
        {
            StandardStreamsAside aside;
            for (const int i : {a, b}) ::dup2(files[i].get(), i);
            ::close(closed);
            PopenOptions options;
            Redirect* const streams[] = {&options.stdin_, &options.stdout_, &options.stderr_};
            *streams[a] = b;
            *streams[b] = a;
            const std::string script = "echo to-" + std::to_string(a) + " >&" + std::to_string(a) + "; echo to-" +
                                       std::to_string(b) + " >&" + std::to_string(b);
            Popen({"sh", "-c", script}, options).wait();
        }
        EXPECT_EQ(content(files[b]), "to-" + std::to_string(a) + "\n") << closed;
        EXPECT_EQ(content(files[a]), "to-" + std::to_string(b) + "\n") << closed;
    }
}

TEST(Popen, pipesize_is_the_capacity_of_every_pipe) {
    Popen child({"true"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE, .pipesize = 4096});
    for (const int fd : {child.std_in().fileno(), child.std_out().fileno(), child.std_err().fileno()})
        EXPECT_EQ(::fcntl(fd, F_GETPIPE_SZ), 4096);
    EXPECT_EQ(child.wait(), 0);
    Popen usual({"true"}, {.stdin_ = PIPE});
    EXPECT_EQ(::fcntl(usual.std_in().fileno(), F_GETPIPE_SZ), 65536);
    EXPECT_EQ(usual.wait(), 0);
}

// ---- descriptors

const char* const list_descriptors = "for f in /proc/self/fd/*; do [ -e $f ] && printf '%s ' ${f##*/}; done";

TEST(Popen, a_child_has_only_what_it_was_given) {
    const os::Fd inheritable(::dup(0));
    EXPECT_EQ(sh(list_descriptors), "0 1 2 ");
    const os::Fd passed = os::duplicate(0, 50);
    EXPECT_EQ(sh(list_descriptors, {.pass_fds = {passed.get()}}), "0 1 2 " + std::to_string(passed.get()) + " ");
    // pass_fds implies close_fds
    EXPECT_EQ(sh(list_descriptors, {.close_fds = false, .pass_fds = {passed.get()}}),
              "0 1 2 " + std::to_string(passed.get()) + " ");
    EXPECT_NE(::fcntl(passed.get(), F_GETFD) & FD_CLOEXEC, 0); // here it is as before
    const std::string all = sh(list_descriptors, {.close_fds = false});
    EXPECT_NE(all.find(" " + std::to_string(inheritable.get()) + " "), std::string::npos) << all;
    EXPECT_EQ(all.find(" " + std::to_string(passed.get()) + " "), std::string::npos) << all;
}

TEST(Popen, a_passed_descriptor_arrives_where_its_number_is_also_a_redirected_stream) {
    const os::Fd file = os::duplicate(file_with("").get(), 60);
    Popen({"sh", "-c", "echo by-stream; echo by-number >>/dev/fd/" + std::to_string(file.get())},
          {.stdout_ = file, .pass_fds = {file.get()}})
        .wait();
    EXPECT_EQ(content(file), "by-stream\nby-number\n");
}

TEST(Popen, descriptors_above_a_lowered_limit_are_closed_too) {
    const os::Fd high(::fcntl(0, F_DUPFD, 700));
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    rlimit low = before;
    low.rlim_cur = 600;
    ::setrlimit(RLIMIT_NOFILE, &low);
    const std::string seen = sh(list_descriptors);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(seen, "0 1 2 ");
}

TEST(Popen, the_pipes_of_one_child_are_not_held_by_another) {
    Popen reader({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
    Popen bystander({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .close_fds = false});
    reader.std_in().close(); // the only writer: cat must see the end although the bystander lives
    EXPECT_EQ(reader.std_out().read_all(), "");
    EXPECT_EQ(reader.wait(), 0);
    bystander.communicate();
}

TEST(Popen, nothing_is_left_open_after_success_or_any_failure) {
    Popen({"true"}).wait();
    const PopenOptions pipes{.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE};
    const int before = open_descriptors();
    Popen({"true"}, pipes).wait();
    EXPECT_EQ(open_descriptors(), before);
    PopenOptions bad = pipes;
    EXPECT_THROW(Popen({"/no/such/program"}, bad), OSError);
    bad.cwd = "/no/such/directory";
    EXPECT_THROW(Popen({"true"}, bad), OSError);
    bad = pipes;
    bad.stderr_ = 999;
    EXPECT_THROW(Popen({"true"}, bad), OSError);
    bad = pipes;
    bad.pipesize = -5;
    EXPECT_THROW(Popen({"true"}, bad), OSError);
    bad = pipes;
    bad.user = "no-such-user-here";
    EXPECT_THROW(Popen({"true"}, bad), OSError);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

// F17, P22: whichever descriptor is refused, the call throws, leaves nothing, and works afterwards.
TEST(Popen, a_refused_descriptor_is_an_error_that_leaves_nothing) {
    Popen({"true"}).wait();
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const int open_before = open_descriptors();
    int refused = 0, succeeded = 0;
    for (int more = 0; more < 16; ++more) {
        const os::Fd lowest(::dup(0));
        rlimit tight = before;
        tight.rlim_cur = static_cast<rlim_t>(lowest.get() + more);
        ::setrlimit(RLIMIT_NOFILE, &tight);
        try {
            Popen child({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = DEVNULL});
            succeeded += child.communicate("x").std_out == "x";
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), EMFILE) << e.what();
            ++refused;
        }
        ::setrlimit(RLIMIT_NOFILE, &before);
    }
    EXPECT_EQ(open_descriptors(), open_before);
    EXPECT_GE(refused, 5);
    EXPECT_EQ(refused + succeeded, 16);
    EXPECT_GE(succeeded, 1);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

// ---- the program, its directory and environment

TEST(Popen, executable_replaces_the_program_or_the_shell_but_not_argv_0) {
    EXPECT_EQ(Popen({"another name", "-c", "echo $0; exit 5"}, {.stdout_ = PIPE, .executable = "/bin/sh"}).wait(), 5);
    EXPECT_EQ(Popen({"x", "-c", "echo $0"}, {.stdout_ = PIPE, .executable = "sh"}).communicate().std_out, "x\n");
    EXPECT_THROW(Popen({"sh", "-c", "exit 5"}, {.executable = "no-such-program"}), OSError);
    EXPECT_EQ(Popen("echo $0", {.shell = true, .stdout_ = PIPE, .executable = "/bin/bash"}).communicate().std_out,
              "/bin/bash\n");
}

TEST(Popen, the_child_works_in_cwd) {
    EXPECT_EQ(sh("pwd", {.cwd = "/usr"}), "/usr\n");
    // A relative program is looked for from there.
    const TemporaryFolder folder;
    TemporaryFolder other;
    other.add("prog", "#!/bin/sh\necho from $PWD\n", 0755);
    EXPECT_EQ(Popen({"./prog"}, {.cwd = other.path(), .stdout_ = PIPE}).communicate().std_out,
              "from " + other.path() + "\n");
    EXPECT_THROW(Popen({"./prog"}, {.cwd = folder.path()}), OSError);
    EXPECT_EQ(Popen({other.path() + "/prog"}, {.cwd = folder.path(), .stdout_ = PIPE}).communicate().std_out,
              "from " + folder.path() + "\n");
    EXPECT_EQ(Popen({"x"}, {.cwd = other.path(), .stdout_ = PIPE, .executable = "./prog"}).communicate().std_out,
              "from " + other.path() + "\n");
}

TEST(Popen, the_environment_is_replaced_emptied_or_added_to) {
    EXPECT_EQ(Popen({"/usr/bin/env"}, {.env = {{"FRUIT", "orange"}}, .stdout_ = PIPE}).communicate().std_out,
              "FRUIT=orange\n");
    EXPECT_EQ(Popen({"/usr/bin/env"}, {.env = {}, .stdout_ = PIPE}).communicate().std_out, "");
    EXPECT_EQ(
        Popen({"/usr/bin/env"}, {.env = {{"A", "1"}, {"B", "x=y"}, {"A", "2"}}, .stdout_ = PIPE}).communicate().std_out,
        "A=2\nB=x=y\n");
    ::setenv("SENNIT_TEST_INHERITED", "yes", 1);
    EXPECT_EQ(sh("echo $SENNIT_TEST_INHERITED"), "yes\n");
    EXPECT_EQ(sh("echo $SENNIT_TEST_INHERITED $MORE", {.extra_env = {{"MORE", "more"}}}), "yes more\n");
    EXPECT_EQ(sh("echo $SENNIT_TEST_INHERITED", {.extra_env = {{"SENNIT_TEST_INHERITED", "no"}}}), "no\n");
    ::unsetenv("SENNIT_TEST_INHERITED");
}

TEST(Popen, the_program_is_looked_up_in_the_path_of_the_childs_environment) {
    TemporaryFolder folder;
    folder.add("sennit-test-program", "#!/bin/sh\necho mine\n", 0755);
    EXPECT_EQ(Popen({"sennit-test-program"}, {.env = {{"PATH", "/nowhere:" + folder.path()}}, .stdout_ = PIPE})
                  .communicate()
                  .std_out,
              "mine\n");
    EXPECT_THROW(Popen({"sennit-test-program"}), OSError);
}

TEST(Popen, arguments_and_environment_are_any_bytes_but_nul) {
    std::string odd;
    for (int c = 1; c < 256; ++c) odd += static_cast<char>(c);
    EXPECT_EQ(Popen({"printf", "%s", odd}, {.stdout_ = PIPE}).communicate().std_out, odd);
    EXPECT_EQ(
        Popen({"sh", "-c", "printf %s \"$ODD\""}, {.extra_env = {{"ODD", odd}}, .stdout_ = PIPE}).communicate().std_out,
        odd);
    EXPECT_EQ(Popen({"printf", "<%s>", "", " ", "$HOME", "*", "-n"}, {.stdout_ = PIPE}).communicate().std_out,
              "<>< ><$HOME><*><-n>");
}

TEST(Popen, the_shell_gets_a_script_and_its_arguments) {
    EXPECT_EQ(Popen("echo $((6 * 7))", {.shell = true, .stdout_ = PIPE}).communicate().std_out, "42\n");
    EXPECT_EQ(Popen({"echo $0 $1", "zero", "one"}, {.shell = true, .stdout_ = PIPE}).communicate().std_out,
              "zero one\n");
    EXPECT_EQ(Popen("exit 47", {.shell = true}).wait(), 47);
}

// ---- refused arguments

TEST(Popen, what_can_not_be_right_is_refused_before_anything_starts) {
    const std::string nul("a\0b", 3);
    const auto refused = [](Args args, PopenOptions options = {}) {
        return thrown<UsageError>([&] { Popen child(args, options); });
    };
    EXPECT_NE(refused(std::vector<std::string>{}).find("empty"), std::string::npos);
    EXPECT_NE(refused({"echo", nul}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({nul}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.cwd = nul}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.executable = nul}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.env = {{nul, "x"}}}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.env = {{"x", nul}}}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.extra_env = {{"x", nul}}}).find("NUL"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.env = {{"FRUIT=VEGETABLE", "cabbage"}}}).find("'='"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.env = {{"", "cabbage"}}}).find("empty"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.stdin_ = STDOUT}).find("stderr_"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.stdout_ = STDOUT}).find("stderr_"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.stdout_ = -7}).find("-7"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.pass_fds = {-1}}).find("-1"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.process_group = -2}).find("-2"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.process_group = 5, .kill_group = true}).find("kill_group"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.user = -1}).find("user id"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.group = -1}).find("group id"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.extra_groups = {{-1}}}).find("group id"), std::string::npos);
    EXPECT_NE(refused({"true"}, {.extra_groups = {{4294967295LL}}}).find("group id"), std::string::npos);
}

TEST(Popen, a_program_that_can_not_be_executed_is_named_with_the_reason) {
    TemporaryFolder folder;
    const std::string plain = folder.add("plain", "echo no", 0644);
    const std::string no_format = folder.add("noformat", "echo no", 0755);
    const std::string lost_interpreter = folder.add("lost", "#!/no/such/interpreter\n", 0755);
    const auto error = [](Args args, PopenOptions options = {}) -> OSError {
        try {
            Popen child(args, options);
        } catch (const OSError& e) {
            return e;
        }
        return OSError(0, "nothing thrown");
    };
    OSError e = error({"/no/such/program"});
    EXPECT_EQ(e.code(), ENOENT);
    EXPECT_NE(std::string(e.what()).find("'/no/such/program'"), std::string::npos) << e.what();
    e = error({"nonexisting_i_hope"});
    EXPECT_EQ(e.code(), ENOENT);
    EXPECT_NE(std::string(e.what()).find("PATH"), std::string::npos) << e.what();
    e = error({"some non-existing command"});
    EXPECT_EQ(e.code(), ENOENT);
    e = error({"true"}, {.cwd = "/some/nonexisting/directory"});
    EXPECT_EQ(e.code(), ENOENT);
    EXPECT_NE(std::string(e.what()).find("directory '/some/nonexisting/directory'"), std::string::npos) << e.what();
    e = error({"/no/such/program"}, {.cwd = "/some/nonexisting/directory"}); // both wrong: the directory comes first
    EXPECT_NE(std::string(e.what()).find("directory '"), std::string::npos) << e.what();
    e = error({plain});
    EXPECT_EQ(e.code(), EACCES);
    EXPECT_NE(std::string(e.what()).find(plain), std::string::npos) << e.what();
    e = error({folder.path()});
    EXPECT_EQ(e.code(), EACCES);
    e = error({no_format});
    EXPECT_EQ(e.code(), ENOEXEC);
    e = error({lost_interpreter});
    EXPECT_EQ(e.code(), ENOENT);
    EXPECT_NE(std::string(e.what()).find("interpreter"), std::string::npos) << e.what();
    e = error({"true", std::string(3'000'000, 'x')});
    EXPECT_EQ(e.code(), E2BIG);
    e = error("echo hello");
    EXPECT_NE(std::string(e.what()).find(".shell = true"), std::string::npos) << e.what();
    e = error({""});
    EXPECT_EQ(e.code(), ENOENT);
}

// ---- POSIX

TEST(Popen, session_group_and_umask_are_as_asked) {
    const std::string pid_group_session = "set -- $(cat /proc/$$/stat); echo $1 $5 $6";
    const auto ids = [&](PopenOptions options) {
        options.stdout_ = PIPE;
        Popen child({"sh", "-c", pid_group_session}, options);
        const std::string text = child.communicate().std_out;
        const std::string pid = std::to_string(child.pid());
        return std::pair(text, pid);
    };
    const std::string here = std::to_string(::getpgid(0)) + " " + std::to_string(::getsid(0));
    auto [text, pid] = ids({});
    EXPECT_EQ(text, pid + " " + here + "\n");
    std::tie(text, pid) = ids({.start_new_session = true});
    EXPECT_EQ(text, pid + " " + pid + " " + pid + "\n");
    std::tie(text, pid) = ids({.process_group = 0});
    EXPECT_EQ(text, pid + " " + pid + " " + std::to_string(::getsid(0)) + "\n");
    std::tie(text, pid) = ids({.start_new_session = true, .process_group = 0});
    EXPECT_EQ(text, pid + " " + pid + " " + pid + "\n");
    Popen leader({"cat"}, {.stdin_ = PIPE, .process_group = 0});
    std::tie(text, pid) = ids({.process_group = leader.pid()});
    EXPECT_EQ(text, pid + " " + std::to_string(leader.pid()) + " " + std::to_string(::getsid(0)) + "\n");
    leader.communicate();
    EXPECT_EQ(sh("umask", {.umask = 0153}), "0153\n");
}

TEST(Popen, user_and_groups_are_taken_by_number_and_name) {
    if (::geteuid() != 0) {
        EXPECT_NE(thrown<OSError>([] { Popen child({"true"}, {.user = 0}); }).find("user"), std::string::npos);
        GTEST_SKIP() << "only root may change users";
    }
    EXPECT_EQ(sh("id -u; id -g; id -G", {.user = 65534, .group = 65533, .extra_groups = {{65531, 65532}}}),
              "65534\n65533\n65533 65531 65532\n");
    EXPECT_EQ(sh("id -un", {.user = "nobody"}), "nobody\n");
    EXPECT_EQ(sh("id -gn", {.group = "daemon", .extra_groups = {{"daemon", 1}}}), "daemon\n");
    EXPECT_EQ(sh("id -G", {.group = 65533, .extra_groups = std::vector<Account>{}}), "65533\n");
    EXPECT_NE(thrown<OSError>([] { Popen child({"true"}, {.user = "no-such-user"}); }).find("'no-such-user'"),
              std::string::npos);
    EXPECT_NE(thrown<OSError>([] { Popen child({"true"}, {.group = "no-such-group"}); }).find("'no-such-group'"),
              std::string::npos);
}

TEST(Popen, signals_that_this_process_ignores_or_blocks_are_restored_unless_told_otherwise) {
    auto* const before = std::signal(SIGPIPE, SIG_IGN);
    const std::string ignored = "grep SigIgn /proc/self/status";
    const std::string restored = sh(ignored), kept = sh(ignored, {.restore_signals = false});
    std::signal(SIGPIPE, before);
    EXPECT_EQ(restored, "SigIgn:\t0000000000000000\n");
    EXPECT_EQ(kept, "SigIgn:\t0000000000001000\n");
}

// ---- the end

TEST(Popen, poll_tells_nothing_while_the_child_runs_and_then_its_code) {
    Popen child({"cat"}, {.stdin_ = PIPE});
    EXPECT_EQ(child.poll(), std::nullopt);
    EXPECT_EQ(child.returncode(), std::nullopt);
    child.std_in().close();
    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(child.poll(), 0);
    EXPECT_EQ(child.returncode(), 0);
    EXPECT_EQ(child.wait(), 0); // again: the same
    EXPECT_EQ(child.wait(0s), 0);
}

TEST(Popen, the_code_of_a_killed_child_is_the_negative_signal) {
    EXPECT_EQ(Popen("kill -ABRT $$", {.shell = true}).wait(), -SIGABRT);
    EXPECT_EQ(Popen("exit 255", {.shell = true}).wait(), 255);
    EXPECT_EQ(Popen("exit 300", {.shell = true}).wait(), 300 % 256); // what is left of it
}

TEST(Popen, wait_throws_at_its_deadline_and_the_child_goes_on) {
    Popen child({"cat"}, {.stdin_ = PIPE});
    EXPECT_THROW(child.wait(10ms), TimeoutExpired);
    EXPECT_THROW(child.wait(0s), TimeoutExpired);
    EXPECT_THROW(child.wait(-1s), TimeoutExpired);
    try {
        child.wait(20ms);
        FAIL();
    } catch (const TimeoutError& e) { // the family of all time-outs
        EXPECT_EQ(std::string(e.what()).substr(0, 29), "Command 'cat' timed out after");
    }
    child.std_in().close();
    EXPECT_EQ(child.wait(60s), 0);
}

TEST(Popen, any_number_of_threads_may_wait_for_one_child) {
    Popen child({"sh", "-c", "read x; exit 9"}, {.stdin_ = PIPE});
    std::atomic<int> right{0}, timed_out{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { right += child.wait() == 9; });
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            try {
                child.wait(1ms);
            } catch (const TimeoutExpired&) {
                ++timed_out;
            }
        });
    }
    threads[4].join();
    threads[5].join();
    child.std_in().close();
    for (int i = 0; i < 4; ++i) threads[static_cast<std::size_t>(i)].join();
    EXPECT_EQ(right, 4);
    EXPECT_EQ(timed_out, 2);
}

// Python: threadsafe_wait. Never a false success (P7).
TEST(Popen, a_status_that_somebody_else_took_is_an_error_and_not_0) {
    Popen child({"true"});
    ASSERT_EQ(::waitpid(child.pid(), nullptr, 0), child.pid());
    for (int i = 0; i < 2; ++i) {
        EXPECT_NE(thrown<OSError>([&] { child.wait(); }).find("unknown"), std::string::npos);
        EXPECT_NE(thrown<OSError>([&] { child.poll(); }).find("reaped"), std::string::npos);
    }
    EXPECT_EQ(child.returncode(), std::nullopt);
    child.kill(); // nobody there: nothing
    auto* const before = std::signal(SIGCHLD, SIG_IGN);
    EXPECT_THROW(Popen({"true"}).wait(), OSError);
    std::signal(SIGCHLD, before);
    EXPECT_EQ(Popen({"true"}).wait(), 0);
}

TEST(Popen, a_dropped_child_becomes_no_zombie) {
    // One that has ended already goes at once, ...
    pid_t pid = -1;
    {
        Popen child({"true"});
        pid = child.pid();
        pollfd ended{child.pidfd(), POLLIN, 0};
        ASSERT_EQ(::poll(&ended, 1, 60'000), 1);
    }
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
    // ... one that runs is reaped by a later start, and not killed before.
    os::Fd pidfd, input;
    {
        Popen child({"cat"}, {.stdin_ = PIPE});
        pid = child.pid();
        pidfd = os::duplicate(child.pidfd());
        input = os::duplicate(child.std_in().fileno());
    }
    EXPECT_EQ(::kill(pid, 0), 0);
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), 0);
    input.reset();
    pollfd ended{pidfd.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 60'000), 1);
    EXPECT_EQ(Popen({"true"}).wait(), 0);
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST(Popen, moves_with_its_child) {
    const int before = open_descriptors();
    {
        Popen a({"cat"}, {.stdin_ = PIPE, .stdout_ = PIPE});
        const pid_t pid = a.pid();
        Popen b(std::move(a));
        EXPECT_EQ(b.pid(), pid);
        Popen c({"true"});
        c.wait();
        c = std::move(b);
        auto& same = c;
        c = std::move(same);
        EXPECT_EQ(c.pid(), pid);
        EXPECT_EQ(c.communicate("moved").std_out, "moved");
        EXPECT_EQ(c.wait(), 0);
        std::vector<Popen> many;
        for (int i = 0; i < 5; ++i) many.emplace_back(Args{"sh", "-c", "exit " + std::to_string(i)});
        for (int i = 0; i < 5; ++i) EXPECT_EQ(many[static_cast<std::size_t>(i)].wait(), i);
    }
    EXPECT_EQ(open_descriptors(), before);
}

// ---- signals

TEST(Popen, signals_reach_the_child) {
    Popen a({"cat"}, {.stdin_ = PIPE});
    a.send_signal(SIGINT);
    EXPECT_EQ(a.wait(), -SIGINT);
    Popen b({"cat"}, {.stdin_ = PIPE});
    b.terminate();
    EXPECT_EQ(b.wait(), -SIGTERM);
    Popen c({"cat"}, {.stdin_ = PIPE});
    c.kill();
    EXPECT_EQ(c.wait(), -SIGKILL);
}

TEST(Popen, a_signal_to_one_that_has_ended_is_nothing) {
    Popen child({"true"});
    pollfd ended{child.pidfd(), POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 60'000), 1);
    child.kill(); // a zombie
    EXPECT_EQ(child.wait(), 0);
    child.send_signal(SIGINT); // reaped
    child.terminate();
    child.kill();
    EXPECT_EQ(child.returncode(), 0);
}

TEST(Popen, a_signal_that_is_none_is_an_error) {
    Popen child({"cat"}, {.stdin_ = PIPE});
    EXPECT_NE(thrown<OSError>([&] { child.send_signal(12345); }).find("12345"), std::string::npos);
    child.send_signal(0); // asks whether one may
    child.communicate();
}

TEST(Popen, a_stopped_child_has_not_ended) {
    Popen child({"cat"}, {.stdin_ = PIPE});
    child.send_signal(SIGSTOP);
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT), 0); // now it is
    EXPECT_EQ(child.poll(), std::nullopt);
    EXPECT_THROW(child.wait(1ms), TimeoutExpired);
    child.kill();
    EXPECT_EQ(child.wait(), -SIGKILL);
}

TEST(Popen, kill_group_reaches_the_descendants) {
    Leash leash;
    Popen child({"sh", "-c", "sleep 1000 & (sleep 1000 & sleep 1000) & echo ready; wait"},
                {.stdout_ = PIPE, .pass_fds = leash.fds(), .kill_group = true});
    EXPECT_EQ(child.std_out().readline(), "ready\n");
    child.kill();
    EXPECT_EQ(child.wait(), -SIGKILL);
    EXPECT_TRUE(leash.all_gone());
}

TEST(Popen, kill_group_reaches_descendants_whose_parent_has_ended) {
    Leash leash;
    Popen child({"sh", "-c", "sleep 1000 & echo started"},
                {.stdout_ = PIPE, .pass_fds = leash.fds(), .kill_group = true});
    EXPECT_EQ(child.std_out().readline(), "started\n");
    pollfd ended{child.pidfd(), POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 60'000), 1);
    child.kill(); // before the leader is reaped: right on every kernel
    EXPECT_EQ(child.wait(), 0);
    EXPECT_TRUE(leash.all_gone());
}

TEST(Popen, a_signal_races_with_the_end_and_with_reaping_without_harm) {
    for (int i = 0; i < 100; ++i) {
        Popen child({"true"});
        std::thread reaper([&] {
            while (!child.poll()) {}
        });
        while (!child.returncode()) child.send_signal(SIGCONT);
        reaper.join();
        EXPECT_EQ(child.returncode(), 0);
    }
}

} // namespace
} // namespace sennit::subprocess
