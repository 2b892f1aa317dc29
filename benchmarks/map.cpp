// Thousands of commands, two at a time: sennit map, its limit, and what one would type instead.
//
// The limit is this program itself, started as `map --limit true|true-N|echo COUNT`: a bare loop of posix_spawn, so that it pays for
// its own start as all the others do.
#include "common/bench.hpp"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using bench::Board;
using bench::seconds;

constexpr int jobs = 2000;
using Words = std::vector<std::string>;

// ---- the limit

std::vector<char*> pointers(const Words& words) {
    std::vector<char*> all;
    for (const std::string& word : words) all.push_back(const_cast<char*>(word.c_str()));
    all.push_back(nullptr);
    return all;
}

void limit_true(int count, bool with_argument) {
    int running = 0;
    for (int i = 0; i < count; ++i) {
        if (running == 2) waitpid(-1, nullptr, 0), --running;
        Words words{"true"};
        if (with_argument) words.push_back(std::to_string(i + 1));
        pid_t pid = 0;
        if (posix_spawnp(&pid, "true", nullptr, nullptr, pointers(words).data(), environ) != 0)
            bench::die("posix_spawnp");
        ++running;
    }
    while (running-- > 0) waitpid(-1, nullptr, 0);
}

// Each command's output through a pipe of its own, printed in order.
void limit_echo(int count) {
    struct Job {
        int index;
        pid_t pid;
        int fd;
    };
    std::vector<std::string> output(static_cast<std::size_t>(count));
    std::vector<bool> done(static_cast<std::size_t>(count));
    std::vector<Job> live;
    int next = 0, printed = 0;
    while (printed < count) {
        while (live.size() < 2 && next < count) {
            int fd[2];
            if (pipe2(fd, O_CLOEXEC) != 0) bench::die("pipe2");
            posix_spawn_file_actions_t actions;
            posix_spawn_file_actions_init(&actions);
            posix_spawn_file_actions_adddup2(&actions, fd[1], 1);
            const Words words{"sh", "-c", "echo " + std::to_string(next + 1)};
            pid_t pid = 0;
            if (posix_spawnp(&pid, "sh", &actions, nullptr, pointers(words).data(), environ) != 0)
                bench::die("posix_spawnp");
            posix_spawn_file_actions_destroy(&actions);
            close(fd[1]);
            live.push_back({next++, pid, fd[0]});
        }
        std::vector<pollfd> ready;
        for (const Job& job : live) ready.push_back({job.fd, POLLIN, 0});
        poll(ready.data(), ready.size(), -1);
        for (std::size_t i = live.size(); i-- > 0;) {
            if (ready[i].revents == 0) continue;
            char piece[4096];
            const ssize_t n = read(live[i].fd, piece, sizeof piece);
            const auto index = static_cast<std::size_t>(live[i].index);
            if (n > 0) {
                output[index].append(piece, static_cast<std::size_t>(n));
                continue;
            }
            close(live[i].fd);
            waitpid(live[i].pid, nullptr, 0);
            done[index] = true;
            live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
        }
        for (; printed < count && done[static_cast<std::size_t>(printed)]; ++printed)
            std::fputs(output[static_cast<std::size_t>(printed)].c_str(), stdout);
    }
}

// ---- the contest

std::string folder;

// Commands a second. `lines`: how many its output must have.
double rate(const Words& words, long lines) {
    const std::string out = folder + "/out", in = folder + "/numbers";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, in.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const double begin = seconds();
    pid_t pid = 0;
    int status = 0;
    const int error = posix_spawnp(&pid, words[0].c_str(), &actions, nullptr, pointers(words).data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0 || waitpid(pid, &status, 0) != pid || status != 0) bench::die((words[0] + " failed").c_str());
    const double time = seconds() - begin;
    long seen = 0;
    std::ifstream result(out);
    for (std::string line; std::getline(result, line);) ++seen;
    if (seen != lines) bench::die((words[0] + ": wrong output").c_str());
    return jobs / time;
}

bool there(const char* program) {
    return std::system((std::string("command -v ") + program + " > /dev/null").c_str()) == 0;
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 4 && std::string(argv[1]) == "--limit") {
        const std::string what = argv[2];
        if (what == "echo")
            limit_echo(std::atoi(argv[3]));
        else
            limit_true(std::atoi(argv[3]), what == "true-N");
        return 0;
    }

    char name[] = "/tmp/sennit-bench-map-XXXXXX";
    folder = mkdtemp(name);
    const std::string self = "/proc/self/exe";
    char path[4096];
    const ssize_t length = readlink(self.c_str(), path, sizeof path);
    const std::string limit(path, static_cast<std::size_t>(length));
    const std::string sennit = limit.substr(0, limit.rfind("/benchmarks/")) + "/sennit";
    const std::string count = std::to_string(jobs);
    {
        std::ofstream numbers(folder + "/numbers"), trues(folder + "/true.mk"), echoes(folder + "/echo.mk");
        for (std::ofstream* file : {&trues, &echoes}) {
            *file << "all:";
            for (int i = 1; i <= jobs; ++i) *file << " t" << i;
            *file << '\n';
        }
        for (int i = 1; i <= jobs; ++i) {
            numbers << i << '\n';
            trues << "t" << i << ":\n\t@true\n";
            echoes << "t" << i << ":\n\t@sh -c 'echo " << i << "'\n";
        }
    }
    // GNU parallel's request to be cited, and the shell that it starts.
    setenv("PARALLEL_HOME", folder.c_str(), 1);
    setenv("PARALLEL_SHELL", "/bin/sh", 1);
    std::ofstream(folder + "/will-cite");

    Board board;
    const auto add = [&board](const std::string& in_case, const std::string& who, const Words& words, long lines,
                              int nth) {
        if (there(words[0].c_str()))
            board.add(
                in_case, who, "commands/s", [words, lines] { return rate(words, lines); }, nth);
    };
    const std::string bare = "2000 x true", argument = "2000 x true N", echo = "2000 x sh -c 'echo N'";
    add(bare, "posix_spawn, 2 at a time (limit)", {limit, "--limit", "true", count}, 0, 1);
    add(bare, "sennit map -j2 -N0", {sennit, "map", "-j2", "-N0", "true"}, 0, 1);
    add(bare, "make -j2", {"make", "-s", "-j2", "-f", folder + "/true.mk"}, 0, 1);
    add(bare, "xargs -P2 -I{}", {"xargs", "-P2", "-I{}", "true"}, 0, 1);
    add(bare, "xargs -P2 -n1 (true N)", {"xargs", "-P2", "-n1", "true"}, 0, 1);
    add(bare, "GNU parallel -j2 (true N)", {"parallel", "-j2", "true", "{}"}, 0, 3);

    add(argument, "posix_spawn, 2 at a time (limit)", {limit, "--limit", "true-N", count}, 0, 1);
    add(argument, "sennit map -j2", {sennit, "map", "-j2", "true"}, 0, 1);
    add(argument, "xargs -P2 -n1", {"xargs", "-P2", "-n1", "true"}, 0, 1);

    add(echo, "posix_spawn + pipes, in order (limit)", {limit, "--limit", "echo", count}, jobs, 1);
    add(echo, "sennit map -j2 -k", {sennit, "map", "-j2", "-k", "sh", "-c", "echo {}"}, jobs, 1);
    add(echo, "make -j2 -Otarget (any order)", {"make", "-s", "-j2", "-Otarget", "-f", folder + "/echo.mk"}, jobs, 1);
    add(echo, "xargs -P2 (mixed)", {"xargs", "-P2", "-I{}", "sh", "-c", "echo {}"}, jobs, 1);
    add(echo, "GNU parallel -j2 -k", {"parallel", "-j2", "-k", "sh", "-c", "'echo {}'"}, jobs, 3);
    const int result = board.run(argc, argv);
    static_cast<void>(std::system(("rm -rf " + folder).c_str()));
    return result;
}
