#include "support/tier.hpp"

#include <sennit/os/fd.hpp>
#include <sennit/os/spawn.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <initializer_list>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::os {
namespace {

using namespace std::chrono_literals;

// Everything that comes out of `fd` until its end.
std::string drain(int fd) {
    std::string all;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(fd, buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
    return all;
}

struct Answer {
    SpawnFailure failure;
    ExitStatus status;
    std::string out;
};

// Starts `argv` as `request` says, with its standard output in a pipe, and waits for its end.
Answer run(std::vector<const char*> argv, SpawnRequest request = {}) {
    argv.push_back(nullptr);
    if (request.file == nullptr) request.file = argv[0];
    request.argv = argv.data();
    Pipe pipe = make_pipe();
    std::vector<FdMapping> fds(request.fds.begin(), request.fds.end());
    fds.push_back({pipe.write_end.get(), 1});
    request.fds = fds;
    Answer answer;
    ChildProcess child;
    answer.failure = spawn(request, child);
    pipe.write_end.reset();
    answer.out = drain(pipe.read_end.get());
    if (child) answer.status = child.wait().value();
    return answer;
}

Answer shell(const char* script, SpawnRequest request = {}) { return run({"/bin/sh", "-c", script}, request); }

int open_descriptors() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return n;
}

TEST(Spawn, gives_the_output_and_the_exit_code) {
    const Answer a = shell("echo hello; exit 7");
    EXPECT_EQ(a.failure.step, SpawnStep::none);
    EXPECT_EQ(a.out, "hello\n");
    EXPECT_EQ(a.status.code, 7);
    EXPECT_FALSE(a.status.unknown);
}

TEST(Spawn, a_program_killed_by_a_signal_has_its_negative_number) {
    EXPECT_EQ(shell("kill -TERM $$").status.code, -SIGTERM);
    EXPECT_EQ(shell("kill -KILL $$").status.code, -SIGKILL);
}

TEST(Spawn, a_name_without_a_slash_is_looked_up_in_the_path_of_the_given_environment) {
    EXPECT_EQ(run({"true"}).status.code, 0);
    const char* env[] = {"PATH=/nowhere:/bin", "WHO=me", nullptr};
    SpawnRequest r;
    r.envp = env;
    EXPECT_EQ(run({"sh", "-c", "echo $WHO"}, r).out, "me\n");
    const char* lost[] = {"PATH=/nowhere", nullptr};
    r.envp = lost;
    const Answer a = run({"sh", "-c", "true"}, r);
    EXPECT_EQ(a.failure.step, SpawnStep::exec);
    EXPECT_EQ(a.failure.error, ENOENT);
    const char* without[] = {"X=1", nullptr};
    r.envp = without;
    EXPECT_EQ(run({"sh", "-c", "echo $X"}, r).out, "1\n"); // /bin:/usr/bin
}

TEST(Spawn, an_empty_entry_of_path_is_the_working_directory) {
    const char* env[] = {"PATH=/nowhere:", nullptr};
    SpawnRequest r;
    r.envp = env;
    r.cwd = "/bin";
    EXPECT_EQ(run({"sh", "-c", "echo found"}, r).out, "found\n");
}

TEST(Spawn, a_failed_execution_tells_step_and_errno_and_leaves_nothing) {
    static_cast<void>(run({"true"})); // whatever is made once is made now
    const int before = open_descriptors();
    Answer a = run({"/no/such/program"});
    EXPECT_EQ(a.failure.step, SpawnStep::exec);
    EXPECT_EQ(a.failure.error, ENOENT);
    a = run({"/etc/passwd"});
    EXPECT_EQ(a.failure.step, SpawnStep::exec);
    EXPECT_EQ(a.failure.error, EACCES);
    SpawnRequest r;
    r.cwd = "/no/such/directory";
    a = run({"true"}, r);
    EXPECT_EQ(a.failure.step, SpawnStep::cwd);
    EXPECT_EQ(a.failure.error, ENOENT);
    a = run({""});
    EXPECT_EQ(a.failure.error, ENOENT);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1); // no child, no zombie
    EXPECT_EQ(errno, ECHILD);
}

TEST(Spawn, the_description_of_a_failure_names_the_file_or_the_directory) {
    SpawnRequest r;
    r.file = "/etc/passwd";
    EXPECT_NE(describe({SpawnStep::exec, EACCES}, r).find("'/etc/passwd'"), std::string::npos);
    r.cwd = "/nowhere";
    const std::string text = describe({SpawnStep::cwd, ENOENT}, r);
    EXPECT_NE(text.find("directory '/nowhere'"), std::string::npos) << text;
    r.cwd = nullptr;
    r.file = "no-such";
    EXPECT_NE(describe({SpawnStep::exec, ENOENT}, r).find("PATH"), std::string::npos);
}

TEST(Spawn, a_closed_directory_in_path_is_reported_before_a_missing_file) {
    char dir[] = "/tmp/sennit-spawn-XXXXXX";
    ASSERT_NE(::mkdtemp(dir), nullptr);
    ::chmod(dir, 0);
    const std::string path = std::string("PATH=") + dir + ":/nowhere";
    const char* env[] = {path.c_str(), nullptr};
    SpawnRequest r;
    r.envp = env;
    if (::geteuid() == 0) r.user = uid_t{65534}; // root may search every directory
    EXPECT_EQ(run({"prog"}, r).failure.error, EACCES);
    ::rmdir(dir);
}

TEST(Spawn, every_permutation_of_the_standard_streams_arrives) {
    // Three files, each with its digit; child stream i gets the file whose parent descriptor is perm[i].
    std::array<std::array<int, 3>, 6> perms{{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}};
    Fd keep[3];
    Fd file[3];
    Pipe answer = make_pipe();
    answer.write_end = duplicate(answer.write_end.get(), 50);
    for (int i = 0; i < 3; ++i) {
        keep[i] = duplicate(i, 20);
        char name[] = "/tmp/sennit-fd-XXXXXX";
        file[i] = duplicate(Fd(::mkstemp(name)).get(), 30);
        ::unlink(name);
        const char digit = static_cast<char>('0' + i);
        ASSERT_EQ(::pwrite(file[i].get(), &digit, 1, 0), 1);
    }
    std::vector<std::string> got;
    for (int i = 0; i < 3; ++i) ::dup3(file[i].get(), i, O_CLOEXEC); // close-on-exec: only the mapping opens them
    for (const auto& perm : perms) {
        const FdMapping fds[] = {{perm[0], 0}, {perm[1], 1}, {perm[2], 2}, {answer.write_end.get(), 7}};
        const char* argv[] = {"/bin/sh", "-c", "exec 4<&0 5<&1 6<&2; for i in 4 5 6; do head -c1 /dev/fd/$i >&7; done",
                              nullptr};
        SpawnRequest r;
        r.file = argv[0];
        r.argv = argv;
        r.fds = fds;
        ChildProcess child;
        if (spawn(r, child).step != SpawnStep::none) continue;
        child.wait();
        char buffer[8];
        const ssize_t n = ::read(answer.read_end.get(), buffer, sizeof buffer);
        got.emplace_back(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
    }
    for (int i = 0; i < 3; ++i) ::dup2(keep[i].get(), i);
    EXPECT_EQ(got, (std::vector<std::string>{"012", "021", "102", "120", "201", "210"}));
}

TEST(Spawn, a_mapping_may_go_to_any_number_and_from_one_source_to_many) {
    const Pipe in = make_pipe();
    ASSERT_EQ(::write(in.write_end.get(), "xy", 2), 2);
    const FdMapping fds[] = {{in.read_end.get(), 9}, {in.read_end.get(), 0}, {in.read_end.get(), in.read_end.get()}};
    SpawnRequest r;
    r.fds = fds;
    EXPECT_EQ(shell("head -c1 <&9; head -c1", r).out, "xy");
}

TEST(Spawn, a_mapping_from_a_closed_descriptor_fails_at_the_step_fds) {
    const FdMapping fds[] = {{999, 5}};
    SpawnRequest r;
    r.fds = fds;
    const Answer a = run({"true"}, r);
    EXPECT_EQ(a.failure.step, SpawnStep::fds);
    EXPECT_EQ(a.failure.error, EBADF);
}

TEST(Spawn, only_given_descriptors_reach_the_child) {
    const Fd open_one(::dup(0)); // not close-on-exec
    const Fd kept = duplicate(0, 40);
    const int keep[] = {kept.get()};
    SpawnRequest r;
    r.keep_fds = keep;
    const std::string list = "for f in /proc/self/fd/*; do [ -e $f ] && printf '%s ' ${f##*/}; done";
    EXPECT_EQ(shell(list.c_str(), r).out, "0 1 2 " + std::to_string(kept.get()) + " ");
    r.close_fds = false;
    r.keep_fds = {};
    const std::string all = shell(list.c_str(), r).out;
    EXPECT_NE(all.find(" " + std::to_string(open_one.get()) + " "), std::string::npos) << all;
    EXPECT_EQ(all.find(" " + std::to_string(kept.get()) + " "), std::string::npos) << all;
}

TEST(Spawn, a_kept_descriptor_that_is_not_open_fails_at_the_step_fds) {
    const int keep[] = {777};
    SpawnRequest r;
    r.keep_fds = keep;
    EXPECT_EQ(run({"true"}, r).failure.step, SpawnStep::fds);
}

TEST(Spawn, hundreds_of_kept_descriptors_arrive) {
    std::vector<Fd> fds;
    std::vector<int> keep;
    for (int i = 0; i < 200; ++i) {
        fds.push_back(duplicate(0, 100 + 2 * i));
        keep.push_back(fds.back().get());
    }
    SpawnRequest r;
    r.keep_fds = keep;
    EXPECT_EQ(shell("n=0; for f in /proc/self/fd/*; do [ -e $f ] && n=$((n+1)); done; echo $n", r).out, "203\n");
}

TEST(Spawn, directory_umask_session_and_group_are_as_asked) {
    SpawnRequest r;
    r.cwd = "/usr";
    r.umask = mode_t{0137};
    EXPECT_EQ(shell("pwd; umask", r).out, "/usr\n0137\n");
    r = {};
    r.new_session = true;
    EXPECT_EQ(shell("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && echo leader", r).out, "leader\n");
    r = {};
    r.process_group = 0;
    EXPECT_EQ(shell("set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 != $6 ] && echo group", r).out, "group\n");
    r.process_group = 0x3ffffff;
    EXPECT_EQ(run({"true"}, r).failure.step, SpawnStep::session);
}

TEST(Spawn, credentials_are_taken_or_refused_with_their_step) {
    SpawnRequest r;
    if (::geteuid() == 0) {
        r.user = uid_t{65534};
        r.group = gid_t{65533};
        r.extra_groups = std::vector<gid_t>{65531, 65532};
        EXPECT_EQ(shell("id -u; id -g; id -G", r).out, "65534\n65533\n65533 65531 65532\n");
        r.extra_groups = std::vector<gid_t>{};
        EXPECT_EQ(shell("id -G", r).out, "65533\n");
    } else {
        r.user = uid_t{0};
        const Answer a = run({"true"}, r);
        EXPECT_EQ(a.failure.step, SpawnStep::credentials);
        EXPECT_EQ(a.failure.error, EPERM);
    }
}

// The lines SigBlk, SigIgn, SigCgt of a child.
std::string signal_lines(const SpawnRequest& r) {
    return run({"/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}, r).out;
}

TEST(Spawn, the_child_has_no_blocked_signals_and_default_dispositions) {
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &block, &before);
    auto* const pipe_before = std::signal(SIGPIPE, SIG_IGN);
    auto* const term_before = std::signal(SIGTERM, [](int) {});
    SpawnRequest r;
    const std::string restored = signal_lines(r);
    r.restore_signals = false;
    const std::string kept = signal_lines(r);
    std::signal(SIGPIPE, pipe_before);
    std::signal(SIGTERM, term_before);
    sigset_t after;
    ::pthread_sigmask(SIG_SETMASK, &before, &after);
    EXPECT_EQ(restored, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    EXPECT_EQ(kept, "SigBlk:\t0000000000000200\nSigIgn:\t0000000000001000\n");
    EXPECT_EQ(sigismember(&after, SIGUSR1), 1); // the caller's mask is as before
    EXPECT_EQ(sigismember(&after, SIGUSR2), 0);
}

TEST(Spawn, a_handler_of_the_parent_never_runs_in_the_child) {
    static volatile std::sig_atomic_t runs_elsewhere = 0;
    static pid_t me = 0;
    me = ::getpid();
    const pid_t group = ::getpgrp();
    ::setpgid(0, 0); // the signals below go to this process and its children alone
    auto* const before = std::signal(SIGCONT, [](int) {
        if (::getpid() != me) runs_elsewhere = 1;
    });
    std::jthread sender([](std::stop_token stop) {
        while (!stop.stop_requested()) ::killpg(0, SIGCONT); // hits the child whatever it is just doing
    });
    for (int i = 0; i < 50; ++i) static_cast<void>(run({"true"}));
    sender.request_stop();
    sender.join();
    std::signal(SIGCONT, before);
    ::setpgid(0, group);
    EXPECT_EQ(runs_elsewhere, 0);
}

// Runs `body` in a forked process whose system calls `refused` fail with `error`, as in an older container; true when body
// does.
bool holds_where_refused(std::initializer_list<int> refused, unsigned error, bool (*body)()) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
        for (const int number : refused) {
            program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
            program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error));
        }
        program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
        const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
        if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
            ::_exit(2);
        ::_exit(body() ? 0 : 1);
    }
    int status = -1;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool spawns_right() {
    std::signal(SIGTERM, [](int) {});
    const Fd open_one(::dup(0));
    const Fd kept = duplicate(0, 60);
    const int keep[] = {kept.get()};
    SpawnRequest r;
    r.keep_fds = keep;
    const Answer a = shell("for f in /proc/self/fd/*; do [ -e $f ] && printf '%s ' ${f##*/}; done; kill -TERM $$", r);
    const Answer lost = run({"/no/such/program"});
    return a.out == "0 1 2 " + std::to_string(kept.get()) + " " && a.status.code == -SIGTERM &&
           lost.failure.step == SpawnStep::exec && lost.failure.error == ENOENT;
}

TEST(Spawn, holds_where_a_sandbox_refuses_the_newer_system_calls) {
    EXPECT_TRUE(holds_where_refused({SYS_clone3, SYS_close_range}, ENOSYS, spawns_right));
    EXPECT_TRUE(holds_where_refused({SYS_clone3, SYS_close_range}, EPERM, spawns_right));
}

TEST(Spawn, holds_under_valgrind_whose_clone_shares_no_memory) {
    if (testing::sanitized()) GTEST_SKIP() << "valgrind can't run sanitizers";
    if (run({"valgrind", "--version"}).failure.step != SpawnStep::none) GTEST_SKIP() << "valgrind is not installed";
    char self[4096] = {};
    ASSERT_GT(::readlink("/proc/self/exe", self, sizeof self - 1), 0);
    const Answer a = run({"valgrind", "-q", "--error-exitcode=99", "--tool=none", "--log-file=/dev/null", self,
                          "--gtest_filter=Spawn.gives_the*:Spawn.a_failed_exec*:Spawn.only_given*:Spawn.many_threads*:"
                          "Spawn.wait_ends*:Spawn.a_group*"});
    EXPECT_EQ(a.status.code, 0) << a.out;
}

TEST(Spawn, wait_ends_at_its_deadline_and_signals_end_the_child) {
    const char* argv[] = {"/bin/sleep", "1000", nullptr};
    SpawnRequest r;
    r.file = argv[0];
    r.argv = argv;
    ChildProcess child;
    ASSERT_EQ(spawn(r, child).step, SpawnStep::none);
    EXPECT_GT(child.pid(), 0);
    EXPECT_FALSE(child.try_wait().has_value());
    EXPECT_FALSE(child.wait(10ms).has_value());
    EXPECT_EQ(child.send_signal(9999), EINVAL);
    EXPECT_EQ(child.send_signal(SIGTERM), 0);
    EXPECT_EQ(child.wait(60s).value().code, -SIGTERM);
    EXPECT_EQ(child.send_signal(SIGTERM), 0); // nobody there, nothing happens
}

TEST(Spawn, a_group_signal_reaches_grandchildren) {
    const char* argv[] = {"/bin/sh", "-c", "sleep 1000 & echo $!; wait", nullptr};
    Pipe pipe = make_pipe();
    const FdMapping fds[] = {{pipe.write_end.get(), 1}};
    SpawnRequest r;
    r.file = argv[0];
    r.argv = argv;
    r.fds = fds;
    r.process_group = 0;
    ChildProcess child;
    ASSERT_EQ(spawn(r, child).step, SpawnStep::none);
    pipe.write_end.reset();
    char buffer[32];
    ASSERT_GT(::read(pipe.read_end.get(), buffer, sizeof buffer), 0); // the grandchild runs
    EXPECT_EQ(child.send_signal_to_group(SIGKILL), 0);
    EXPECT_EQ(drain(pipe.read_end.get()), ""); // ends: nobody holds the pipe
    EXPECT_EQ(child.wait().value().code, -SIGKILL);
}

TEST(Spawn, a_status_that_somebody_else_took_is_unknown) {
    const char* argv[] = {"/bin/true", nullptr};
    SpawnRequest r;
    r.file = argv[0];
    r.argv = argv;
    ChildProcess child;
    ASSERT_EQ(spawn(r, child).step, SpawnStep::none);
    ASSERT_EQ(::waitpid(child.pid(), nullptr, 0), child.pid());
    EXPECT_TRUE(child.wait().value().unknown);
    auto* const before = std::signal(SIGCHLD, SIG_IGN); // the kernel takes it
    ASSERT_EQ(spawn(r, child).step, SpawnStep::none);
    EXPECT_TRUE(child.wait().value().unknown);
    std::signal(SIGCHLD, before);
}

TEST(Spawn, the_status_tells_processor_time_and_memory) {
    const Answer a = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done");
    EXPECT_GT(a.status.user_ns + a.status.system_ns, 0);
    EXPECT_GT(a.status.max_rss_bytes, 100'000);
}

TEST(Spawn, a_child_bound_to_its_thread_dies_with_it) {
    const char* argv[] = {"/bin/sleep", "1000", nullptr};
    SpawnRequest r;
    r.file = argv[0];
    r.argv = argv;
    r.parent_death_signal = SIGKILL;
    ChildProcess child;
    std::thread([&] { static_cast<void>(spawn(r, child)); }).join();
    ASSERT_TRUE(child);
    EXPECT_EQ(child.wait(60s).value().code, -SIGKILL);
}

TEST(Spawn, a_released_child_is_reaped_by_a_later_spawn) {
    const char* argv[] = {"/bin/true", nullptr};
    SpawnRequest r;
    r.file = argv[0];
    r.argv = argv;
    ChildProcess child;
    ASSERT_EQ(spawn(r, child).step, SpawnStep::none);
    const pid_t pid = child.pid();
    const Fd pidfd = duplicate(child.pidfd());
    release_to_reaper(std::move(child));
    pollfd ended{pidfd.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&ended, 1, 60'000), 1);
    static_cast<void>(run({"true"}));
    EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST(Spawn, many_threads_spawn_at_once_and_each_gets_its_own_answer) {
    std::vector<std::thread> threads;
    std::array<int, 4> right{};
    for (std::size_t t = 0; t < right.size(); ++t) {
        threads.emplace_back([&right, t] {
            for (int i = 0; i < 25; ++i) {
                const std::string word = std::to_string(t) + "." + std::to_string(i);
                const std::string script = "echo " + word + "; exit " + std::to_string(i);
                const Answer a = shell(script.c_str());
                right[t] += a.out == word + "\n" && a.status.code == i;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(right, (std::array<int, 4>{25, 25, 25, 25}));
}

TEST(Spawn, a_descriptor_limit_is_an_error_and_the_same_call_works_afterwards) {
    static_cast<void>(run({"true"}));
    const char* argv[] = {"/bin/true", nullptr};
    SpawnRequest r;
    r.file = argv[0];
    r.argv = argv;
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const Fd lowest(::dup(0));
    rlimit tight = before;
    tight.rlim_cur = static_cast<rlim_t>(lowest.get()) + 1;
    ::setrlimit(RLIMIT_NOFILE, &tight);
    ChildProcess child;
    const SpawnFailure refused = spawn(r, child);
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(refused.step, SpawnStep::resources);
    EXPECT_EQ(refused.error, EMFILE);
    EXPECT_FALSE(child);
    ASSERT_EQ(spawn(r, child).step, SpawnStep::none);
    EXPECT_EQ(child.wait().value().code, 0);
}

} // namespace
} // namespace sennit::os
