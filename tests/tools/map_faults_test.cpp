// `sennit map` when things go wrong: F6, F9, F17, F24, F42 and the names of F43 of the guarantees, each by its number:
// SENNIT_FAULT_TIER=2 ./test tools -R F42
#include "map_run.hpp"

#include "support/fault_row.hpp"
#include "support/watchdog.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <unistd.h>

namespace sennit::tools {
namespace {

using sennit::testing::FaultRow;
using sennit::testing::Watchdog;
using subprocess::PIPE;
using subprocess::Popen;
using ::testing::HasSubstr;

// Waits until the file has so many lines.
void wait_for_lines(const std::string& path, std::size_t lines) {
    for (;;) {
        const std::string text = content(path);
        if (static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) >= lines) return;
        look_again();
    }
}
void wait_until_gone(const std::string& pids) {
    for (const std::string& pid : split(pids))
        while (std::filesystem::exists("/proc/" + pid) &&
               content("/proc/" + pid + "/stat").find(") Z ") == std::string::npos)
            look_again();
}

// F24: signals once or twice, at a random time.
TEST(F24MapSignals, one_or_two_end_the_jobs_and_leave_everything_whole) {
    std::mt19937 random(static_cast<unsigned>(by_tier(1, 2, 3)));
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    FaultRow row("F24");
    for (int trial = 0; trial < by_tier(6, 60, 300); ++trial) {
        Watchdog::kick(); // a trial is progress, though it is others that work
        const Folder folder;
        const int signal = signals[trial % 3];
        const bool twice = trial / 3 % 2 == 1;
        std::ofstream(folder / "inputs") << numbers(100'000);
        // Each job says who it is and leaves a grandchild; every eighth does not care for TERM.
        Popen map({sennit_program, "map", "-j4", "--joblog", folder / "log", "--results", folder / "r", "--timeline",
                   folder / "t.html", "-a", folder / "inputs", "sh", "-c",
                   "test $(({} % 8)) = 0 && trap '' TERM; sleep 300 > /dev/null 2>&1 & echo $! >> " +
                       (folder / "pids") + "; echo {}; test {} -lt 20 || wait",
                   "sh"},
                  {.stdout_ = PIPE, .stderr_ = PIPE});
        wait_for_lines(folder / "pids", random() % 23 + 1); // 19 that end, and four that wait
        FaultRow::Trial settling(row);
        settling.injected = twice ? 2 : 1;
        map.send_signal(signal);
        if (twice) map.send_signal(signal);
        const auto [out, err] = map.communicate({}, std::chrono::minutes(1));
        EXPECT_EQ(map.returncode(), 128 + signal) << "trial " << trial;
        const std::vector<std::string> printed = split(out), log = split(content(folder / "log"));
        ASSERT_GE(log.size(), 1U);
        EXPECT_EQ(printed.size(), log.size() - 1) << err; // what is logged was printed, and the other way round
        EXPECT_EQ(content(folder / "log").back(), '\n');
        EXPECT_THAT(content(folder / "t.html"), HasSubstr("</html>"));
        for (const auto& file : std::filesystem::recursive_directory_iterator(folder / "r"))
            EXPECT_EQ(file.path().string().find(".part"), std::string::npos);
        wait_until_gone(content(folder / "pids"));
    }
}

// F24: in its first milliseconds, before there is anything to end, or when all is over.
TEST(F24MapSignals, one_at_any_moment_of_a_short_life_leaves_nothing_half_done) {
    std::mt19937 random(static_cast<unsigned>(by_tier(1, 2, 3)));
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    FaultRow row("F24");
    for (int trial = 0; trial < by_tier(12, 60, 300); ++trial) {
        Watchdog::kick(); // a trial is progress, though it is others that work
        const Folder folder;
        const int signal = signals[trial % 3];
        Popen map({sennit_program, "map", "-j2", "-k", "--joblog", folder / "log", "--results", folder / "r",
                   "--timeline", folder / "t.html", "sh", "-c",
                   "sleep 0.01 & echo $! >> " + (folder / "pids") + "; echo {}; wait", ":::", "1", "2", "3"},
                  {.stdout_ = PIPE, .stderr_ = PIPE});
        os::poll_fds({}, std::chrono::microseconds(random() % 30'000)); // the random moment
        FaultRow::Trial settling(row);
        settling.injected = 1;
        map.send_signal(signal);
        const auto [out, err] = map.communicate({}, std::chrono::minutes(1));
        const int status = map.returncode().value_or(-1000);
        // Before it takes signals it ends by this one; when all is done it may not see it any more.
        EXPECT_TRUE(status == -signal || status == 128 + signal || status == 0) << status << err;
        const std::vector<std::string> printed = split(out), log = split(content(folder / "log"));
        EXPECT_EQ(printed.size(), log.empty() ? 0 : log.size() - 1) << err;
        EXPECT_TRUE(printed == split(numbers(static_cast<int>(printed.size())))) << out;
        if (status != -signal) {
            EXPECT_THAT(content(folder / "t.html"), HasSubstr("</html>"));
        }
        if (std::filesystem::exists(folder / "r")) {
            for (const auto& file : std::filesystem::recursive_directory_iterator(folder / "r"))
                EXPECT_EQ(file.path().string().find(".part"), std::string::npos);
        }
        wait_until_gone(content(folder / "pids"));
    }
}

// F42: killed in the middle, then resumed; every second time with -k.
TEST(F42MapKilled, a_log_from_which_resume_finishes_exactly_the_rest) {
    std::mt19937 random(7);
    const int jobs = 400, slots = 4;
    FaultRow row("F42");
    for (int trial = 0; trial < by_tier(3, 20, 200); ++trial) {
        Watchdog::kick(); // a trial is progress, though it is others that work
        const Folder folder;
        const bool in_order = trial % 2 == 1;
        const std::string log = folder / "log", out = folder / "out", runs = folder / "runs";
        std::ofstream(folder / "inputs") << numbers(jobs);
        std::ofstream(runs).flush();
        std::vector<std::string> args{sennit_program,    "map",     "-j" + std::to_string(slots),
                                      "--joblog",        log,       "-a",
                                      folder / "inputs", "--shell", "echo {} >> " + runs + "; sleep 0.00{}; echo {}"};
        if (in_order) args.insert(args.begin() + 2, "-k");
        struct Kill {
            std::size_t runs; // how many there had been
            std::set<std::string> logged;
        };
        std::vector<Kill> kills;
        FaultRow::Trial whole_run(row);
        const auto logged = [&log] {
            std::set<std::string> sequences;
            const std::vector<std::string> lines = split(content(log));
            for (std::size_t i = 1; i < lines.size(); ++i)
                EXPECT_TRUE(sequences.insert(lines[i].substr(0, lines[i].find('\t'))).second) << lines[i];
            return sequences;
        };
        for (std::size_t lines = 0;;) {
            const std::string line = "exec \"$@\" >> " + out;
            std::vector<std::string> whole{"sh", "-c", line, "sh"};
            std::vector<std::string> resumed = args;
            if (!kills.empty()) resumed.insert(resumed.begin() + 2, "--resume");
            whole.insert(whole.end(), resumed.begin(), resumed.end());
            Popen map(whole);
            lines += random() % 150 + 1;
            if (lines >= jobs) {
                EXPECT_EQ(map.wait(), 0);
                break;
            }
            wait_for_lines(log, lines);
            map.kill();
            map.wait();
            ++whole_run.injected;
            kills.push_back({split(content(runs)).size(), logged()});
            lines = kills.back().logged.size();
        }
        EXPECT_EQ(logged().size(), static_cast<std::size_t>(jobs));

        std::vector<std::string> said = split(content(out));
        if (!in_order) {
            std::sort(said.begin(), said.end(),
                      [](const std::string& x, const std::string& y) { return std::stoi(x) < std::stoi(y); });
        }
        const std::size_t all = said.size();
        said.erase(std::unique(said.begin(), said.end()), said.end());
        EXPECT_EQ(said, split(numbers(jobs))) << "no output is lost, and with -k it is in order";
        EXPECT_LE(all - said.size(), kills.size()) << "at most the job between its output and its line is said again";

        const std::vector<std::string> ran = split(content(runs));
        for (const Kill& kill : kills)
            for (std::size_t i = kill.runs; i < ran.size(); ++i)
                EXPECT_FALSE(kill.logged.contains(ran[i])) << ran[i] << " was done and ran again";
        // What ran when it was killed, and what had ended when others had taken the slots and was not yet noted down.
        EXPECT_LE(ran.size(), static_cast<std::size_t>(jobs) + kills.size() * 2 * slots);
        EXPECT_FALSE(std::filesystem::exists(log + ".kept"));
    }
}

// F42: with -k, jobs are done long before their turn to be printed. They don't run again, whether killed or interrupted.
TEST(F42MapKilled, jobs_done_before_their_turn_are_printed_from_what_was_kept) {
    FaultRow row("F42");
    for (const int signal : {SIGKILL, SIGINT}) {
        for (const std::string speaks : {"echo $1; echo error $1 >&2", ":"}) {
            const Folder folder;
            const std::string log = folder / "log", kept = log + ".kept", runs = folder / "runs", go = folder / "go";
            std::vector<std::string> args{sennit_program,
                                          "map",
                                          "-j2",
                                          "-k",
                                          "--joblog",
                                          log,
                                          "-a",
                                          folder / "inputs",
                                          "sh",
                                          "-c",
                                          "echo $1 >> " + runs + "; test $1 != 1 || until test -e " + go +
                                              "; do sleep 0.01; done; " + speaks,
                                          "sh"};
            std::ofstream(folder / "inputs") << numbers(50);
            Popen map(args, {.stdout_ = PIPE, .stderr_ = PIPE});
            if (speaks == ":")
                wait_for_lines(log, 50);
            else
                wait_for_lines(kept, std::size_t{49 * 4}); // numbers, two outputs, an end
            FaultRow::Trial settling(row);
            settling.injected = 1;
            map.send_signal(signal);
            EXPECT_EQ(map.communicate().std_out, "");
            std::ofstream(go).flush();
            args.insert(args.begin() + 2, "--resume");
            const subprocess::CompletedProcess rest = subprocess::run(args, {.capture_output = true});
            EXPECT_EQ(rest.returncode, 0);
            std::string errors;
            for (int i = 1; i <= 50; ++i) errors += "error " + std::to_string(i) + "\n";
            EXPECT_EQ(rest.std_out, speaks == ":" ? "" : numbers(50));
            EXPECT_EQ(rest.std_err, speaks == ":" ? "" : errors);
            std::map<std::string, int> count;
            for (const std::string& run : split(content(runs))) ++count[run];
            EXPECT_EQ(count.size(), 50U);
            for (const auto& [job, n] : count) EXPECT_EQ(n, job == "1" ? 2 : 1) << job;
            EXPECT_EQ(split(content(log)).size(), 51U);
            EXPECT_FALSE(std::filesystem::exists(kept));
        }
    }
}

// F6: what the jobs started in their groups is gone soon after `map` was killed: by us, when so many have started, or by the
// job itself as soon as it has started something.
TEST(F6MapKilled, leaves_no_orphan) {
    FaultRow row("F6");
    for (int trial = 0; trial < by_tier(14, 70, 1'500); ++trial) {
        Watchdog::kick(); // a trial is progress, though it is others that work
        const Folder folder;
        const bool by_job = trial % 7 == 6;
        const std::string pids = folder / "pids";
        Popen map({sennit_program, "map", "-j3", "sh", "-c",
                   "sleep 1000 & echo $! >> " + pids + "; " + (by_job ? "kill -KILL $PPID; " : "") + "echo $$ >> " +
                       pids + "; wait",
                   ":::", "1", "2", "3"},
                  {.stdout_ = PIPE});
        wait_for_lines(pids, by_job ? 1 : static_cast<std::size_t>(trial % 7 + 1));
        FaultRow::Trial settling(row);
        settling.injected = 1;
        map.kill();
        map.wait();
        wait_until_gone(content(pids));
    }
}

// F42: many lines of many jobs at once, in groups and line by line.
TEST(F42MapOutput, never_mixes_lines) {
    const int lines = by_tier(20'000, 125'000, 125'000); // of eight jobs: a million
    FaultRow row("F42");
    for (const char* const option : {"--line-buffer", "-k"}) {
        FaultRow::Trial all_lines(row);
        all_lines.injected = 7; // jobs that write at the same time as one
        const Ran ran = run_map({"-j8", option, "sh", "-c", "seq -f \"$1-%06.0f-" + std::string(60, 'x') + "\" $2",
                                 "sh", ":::", "1", "2", "3", "4", "5", "6", "7", "8", ":::", std::to_string(lines)});
        std::map<char, int> seen;
        for (const std::string& line : split(ran.out)) {
            ASSERT_EQ(line.size(), 69U) << line;
            char number[16];
            std::snprintf(number, sizeof number, "%06d", ++seen[line[0]]);
            ASSERT_EQ(line.substr(1), "-" + std::string(number) + "-" + std::string(60, 'x'));
        }
        EXPECT_EQ(seen.size(), 8U);
        for (const auto& [job, n] : seen) EXPECT_EQ(n, lines);
    }
}

std::size_t occurrences(const std::string& text, const std::string& of) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(of, at)) != std::string::npos; at += of.size()) ++n;
    return n;
}

std::string hostile_name(std::mt19937& random) {
    static const std::vector<std::string> parts{
        " ",           "'", "\"", "\\",  "$(id)",    "`id`", ";",    "&",        "|",         "\n",           "\t",
        "\r",          "*", "?",  "[a]", "{}",       "{.}",  "{1}",  "{#}",      "-rf",       "--",           ":::",
        "~",           "!", "#",  "%s",  "\x1b[31m", "\x7f", "\xff", "\xc3\x28", "é",         "\xe2\x80\xae", "😀",
        "a",           "/", "..", "=",   "<",        ">",    "(",    ")",        "</script>", "<!--",         "&lt;",
        "\xe2\x80\xa8"};
    std::string name;
    for (std::size_t n = random() % 9; n > 0; --n) name += parts[random() % parts.size()];
    return name;
}

// Each with a NUL behind it.
std::string hostile_names(int count, unsigned seed) {
    std::mt19937 random(seed);
    std::string names;
    for (int i = 0; i < count; ++i) names += hostile_name(random) + '\0';
    return names;
}

// The names of F43: they arrive unaltered.
TEST(F43MapNames, hostile_ones_arrive_as_they_are) {
    FaultRow row("F43"); // a trial is a name
    for (int trial = 0; trial < by_tier(1, 5, 20); ++trial) {
        Watchdog::kick(); // a trial is progress, though it is others that work
        const int names = trial == 0 ? 10'000 : 2'000;
        const std::string input = hostile_names(names, static_cast<unsigned>(trial + 1));
        row.trials(names, names);
        const Folder folder;
        const Ran ran = run_map({"-j2", "-k", "-0", "--joblog", folder / "log", "printf", "%s\\0"}, input);
        EXPECT_EQ(ran.status, 0);
        EXPECT_TRUE(ran.out == input);
        EXPECT_EQ(split(content(folder / "log")).size(),
                  static_cast<std::size_t>(names + 1)); // a line each, whatever is in the name
        EXPECT_EQ(content(folder / "log").find('\x1b'), std::string::npos);
    }
}

// ... and are quoted for a shell, in HTML and in JSON.
TEST(F43MapNames, hostile_ones_are_data_to_shells_pages_and_json) {
    FaultRow row("F43");
    for (int trial = 0; trial < by_tier(1, 5, 20); ++trial) {
        Watchdog::kick(); // a trial is progress, though it is others that work
        const int names = by_tier(500, 2'000, 2'000);
        const std::string input = hostile_names(names, static_cast<unsigned>(trial + 101));
        row.trials(names, names);
        const Folder folder;
        std::string in_brackets = "<";
        for (const char c : input) in_brackets += c == '\0' ? std::string(">\0<", 3) : std::string(1, c);
        in_brackets.pop_back();
        const Ran shell = run_map({"-j2", "-k", "-0", "--shell", "printf '<%s>\\0' {}"}, input);
        EXPECT_EQ(shell.status, 0);
        EXPECT_TRUE(shell.out == in_brackets);

        const Ran json = run_map({"-j2", "-k", "-0", "--json", "--timeline", folder / "t.html", "printf", "%s"}, input);
        const std::string page = content(folder / "t.html"); // its own elements: the rows, the run, the program
        EXPECT_EQ(occurrences(page, "</script>"), 3U);
        EXPECT_EQ(occurrences(page, "<!--"), 0U);
        EXPECT_EQ(occurrences(page, "\x1b"), 0U);
        std::ofstream(folder / "names", std::ios::binary) << input;
        const auto checked = subprocess::run({"python3", "-c", R"(
import base64, json, sys
names = open(sys.argv[1], 'rb').read().split(b'\0')[:-1]
def raw(value): return base64.b64decode(value['base64']) if isinstance(value, dict) else value.encode()
jobs = [json.loads(line) for line in sys.stdin.read().split('\n') if line]
assert len(jobs) == len(names), (len(jobs), len(names))
for name, job in zip(names, jobs):
    assert [raw(i) for i in job['inputs']] == [name], (name, job)
    assert raw(job['stdout']) == name and raw(job['command'][2]) == name, (name, job)
)",
                                              folder / "names"},
                                             {.input = json.out, .capture_output = true});
        EXPECT_EQ(checked.returncode, 0) << checked.std_err;
    }
}

// F17: few descriptors. It works, with fewer jobs at once, or says in a sentence that it can't; it never loses a job.
TEST(F17MapDescriptors, few_of_them_mean_fewer_jobs_at_once_or_a_sentence) {
    FaultRow row("F17");
    const Folder folder;
    const std::string log = folder / "log";
    std::ofstream(folder / "inputs") << numbers(12);
    // What of it opens descriptors of its own, alone and all together.
    const std::vector<std::vector<std::string>> options{
        {},
        {"--joblog", log},
        {"--results", folder / "r"},
        {"--timeline", folder / "t.html"},
        {"-k"},
        {"--line-buffer"},
        {"--json"},
        {"--retries", "1"},
        {"--joblog", log, "--results", folder / "r", "--timeline", folder / "t.html", "-k"},
    };
    for (const std::vector<std::string>& some : options) {
        bool worked = false, refused = false;
        for (int limit = 3; limit <= 43; limit += testing::fault_tier() == 1 ? 8 : 1) {
            Watchdog::kick();
            std::filesystem::remove(log);
            std::filesystem::remove_all(folder / "r");
            const std::string with = std::to_string(limit) + (some.empty() ? "" : " " + some.front());
            std::vector<std::string> words{
                "sh",   "-c",           "ulimit -n " + std::to_string(limit) + "; exec \"$@\"",
                "sh",   sennit_program, "map",
                "-j20", "-a",           folder / "inputs"};
            words.insert(words.end(), some.begin(), some.end());
            words.insert(words.end(), {"sh", "-c", "sleep 0.01; echo {}"});
            FaultRow::Trial trial(row);
            const auto done = subprocess::run(words, {.capture_output = true, .timeout = std::chrono::minutes(1)});
            trial.injected = 1;
            if (done.returncode == 0) {
                worked = true;
                EXPECT_EQ(split(done.std_out).size(), 12U) << with;
                if (std::filesystem::exists(log)) {
                    EXPECT_EQ(split(content(log)).size(), 13U) << with;
                }
            } else {
                refused = true;
                EXPECT_FALSE(worked) << with << ": " << done.std_err; // more descriptors are never worse
                EXPECT_TRUE(done.returncode == 255 || done.returncode == 127)
                    << with << ": " << done.returncode << done.std_err;
                EXPECT_NE(done.std_err, "") << with;
            }
        }
        EXPECT_TRUE(worked) << (some.empty() ? "without options" : some.front());
        EXPECT_TRUE(refused);
    }
}

// P22: no process for a while. (Another user's, for root has no such limit, and one's own has processes already.)
TEST(F9MapProcesses, a_limit_of_them_shrinks_what_runs_at_once) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be a user without processes";
    const auto as_nobody = [](std::vector<std::string> words) {
        words.insert(words.begin(),
                     {"setpriv", "--reuid=65533", "--clear-groups", "prlimit", "--nproc=8", sennit_program});
        return subprocess::run(
            words, {.input = numbers(60), .capture_output = true, .timeout = std::chrono::minutes(1), .cwd = "/"});
    };
    if (as_nobody({"--version"}).returncode != 0) GTEST_SKIP() << "other users can't execute this build";
    FaultRow row("F9");
    FaultRow::Trial trial(row);
    trial.injected = 1;
    const subprocess::CompletedProcess done = as_nobody({"map", "-j50", "--json", "sh", "-c", "exec sleep 0.05"});
    EXPECT_EQ(done.returncode, 0) << done.std_err;
    EXPECT_EQ(split(done.std_out).size(), 60U);
    EXPECT_THAT(done.std_err, HasSubstr("at once for now, of 50: Resource temporarily unavailable"));
}

// P21: memory does not grow with what was read, run or held back.
TEST(MapMemory, is_bounded_on_long_lists_and_behind_a_slow_job) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer keeps freed memory";
#endif
    const int jobs = by_tier(3'000, 20'000, 200'000);
    const auto peak = [](const std::vector<std::string>& args, const std::string& input) {
        std::vector<std::string> whole{"python3", "-c",
                                       "import resource, subprocess, sys\nr = subprocess.run(sys.argv[1:], stdin=0, "
                                       "stdout=subprocess.DEVNULL)\nprint(resource.getrusage(resource.RUSAGE_CHILDREN)."
                                       "ru_maxrss)\nsys.exit(r.returncode)",
                                       sennit_program, "map"};
        whole.insert(whole.end(), args.begin(), args.end());
        const auto done = subprocess::run(whole, {.input = input, .capture_output = true});
        EXPECT_EQ(done.returncode, 0) << done.std_err;
        return std::stol(done.std_out);
    };
    const std::string line(200, 'x');
    std::string few, many;
    for (int i = 0; i < jobs; ++i) (i < jobs / 10 ? few : many) += line + "\n";
    const long small = peak({"-j2", "-k", "-N0", "true"}, few);
    EXPECT_LT(peak({"-j2", "-k", "-N0", "true"}, few + many), small + 12'000);
    EXPECT_LT(peak({"-j2", "-k", "--shell", "test {#} != 1 || sleep 0.5; head -c 300000 /dev/zero"}, numbers(400)),
              small + 40'000);
}

} // namespace
} // namespace sennit::tools
