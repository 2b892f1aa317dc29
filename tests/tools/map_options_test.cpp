// Every option of `sennit map`, by running it.
#include "map_run.hpp"

#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace sennit::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::UnorderedElementsAre;

double seconds_of(const std::function<void()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(Map, runs_the_command_once_an_input) {
    const Ran ran = run_map({"-j2", "echo", "<{}>", ":::", "a b", "$(id)", ""});
    EXPECT_EQ(ran.status, 0);
    EXPECT_THAT(split(ran.out), UnorderedElementsAre("<a b>", "<$(id)>", "<>"));
    EXPECT_EQ(ran.err, "");
}
TEST(Map, reads_inputs_from_standard_input_and_files) {
    const Folder folder;
    std::ofstream(folder / "list") << "x\ny\n";
    EXPECT_EQ(run_map({"-k", "echo"}, "a\n\nb").out, "a\n\nb\n");
    EXPECT_EQ(run_map({"-k", "-0", "printf", "%s|"}, std::string("a\nb\0c", 5)).out, "a\nb|c|");
    EXPECT_EQ(run_map({"-k", "-a", folder / "list", "echo"}).out, "x\ny\n");
    EXPECT_EQ(run_map({"-k", "echo", "::::", folder / "list", ":::", "1", "2"}).out, "x 1\nx 2\ny 1\ny 2\n");
    EXPECT_EQ(run_map({"-k", "echo", "{2}{1}", ":::", "a", "b", ":::+", "1", "2"}).out, "1a\n2b\n");
    EXPECT_EQ(run_map({"echo"}, "").out, "");
}
TEST(Map, keeps_the_order_of_inputs_when_told_to) {
    EXPECT_EQ(run_map({"-j8", "-k", "sh", "-c", "sleep 0.$1; echo $1", "sh", ":::", "3", "2", "1", "0"}).out,
              "3\n2\n1\n0\n");
}
TEST(Map, takes_all_output_of_a_pipe_in_packets) {
    // dd makes its standard output one that gives a read one write at most, whatever room it has.
    EXPECT_EQ(run_map({"-N0", "--shell", "printf abcdefghi | dd bs=3 oflag=direct 2> /dev/null", ":::", "1"}).out,
              "abcdefghi");
}
TEST(Map, counts_slots_from_the_lowest_free_one) {
    EXPECT_EQ(run_map({"-j1", "echo", "{%}-{#}", ":::", "a", "b", "c"}).out, "1-1\n1-2\n1-3\n");
    for (const std::string& line : split(run_map({"-j3", "echo", "{%}", ":::", "1", "2", "3", "4", "5", "6", "7"}).out))
        EXPECT_THAT(line, MatchesRegex("[123]"));
}
TEST(Map, tells_the_number_of_failed_jobs_by_its_exit_status) {
    EXPECT_EQ(run_map({"sh", "-c", "exit {}", ":::", "0", "1", "2", "255"}).status, 3);
    EXPECT_EQ(run_map({"-N0", "false"}, numbers(100)).status, 100);
    EXPECT_EQ(run_map({"-N0", "false"}, numbers(150)).status, 101);
    EXPECT_EQ(run_map({"sh", "-c", "kill -9 $$", ":::", "1"}).status, 1);
}
TEST(Map, refuses_wrong_use_with_a_sentence_and_255) {
    for (const std::vector<std::string>& args :
         {std::vector<std::string>{}, {"--nonsense"}, {"no-such-program", ":::", "a"}}) {
        const Ran ran = run_map(args);
        EXPECT_EQ(ran.status, 255);
        EXPECT_THAT(ran.err, HasSubstr("sennit map: "));
    }
    EXPECT_THAT(run_map({"--help"}).out, HasSubstr("Examples"));
    EXPECT_EQ(run_map({"--help"}).status, 0);
}
TEST(Map, says_of_a_job_that_cannot_start_why) {
    const Ran ran = run_map({"-k", "{}", ":::", "/bin/echo", "/no/such", "/etc/passwd"});
    EXPECT_EQ(ran.status, 2);
    EXPECT_THAT(ran.err, HasSubstr("job 2 was not started: cannot execute '/no/such'"));
    EXPECT_THAT(ran.err, HasSubstr("job 3 was not started: cannot execute '/etc/passwd'"));
}
TEST(Map, keeps_output_and_errors_of_a_job_together_and_apart) {
    const Ran ran = run_map({"-j4", "sh", "-c", "for i in 1 2 3; do echo o$1; echo e$1 >&2; sleep 0.01; done", "sh",
                             ":::", "1", "2", "3", "4"});
    for (const auto& [text, letter] : {std::pair{ran.out, "o"}, {ran.err, "e"}}) {
        const std::vector<std::string> lines = split(text);
        ASSERT_EQ(lines.size(), 12U);
        for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(lines[i], lines[i / 3 * 3]);
        EXPECT_EQ(lines[0].substr(0, 1), letter);
    }
}
TEST(Map, passes_much_output_byte_for_byte) {
    const Ran ran = run_map({"-j3", "-k", "sh", "-c", "seq {}000000 {}200000", ":::", "1", "2", "3"});
    std::string expected;
    for (int i = 1; i <= 3; ++i)
        for (int n = i * 1'000'000; n <= i * 1'000'000 + 200'000; ++n) expected += std::to_string(n) + "\n";
    EXPECT_EQ(ran.out.size(), expected.size());
    EXPECT_TRUE(ran.out == expected);
}
TEST(Map, lets_lines_through_as_they_come) {
    const Ran ran = run_map({"-j2", "--line-buffer", "sh", "-c", "echo a$1; read x < $2; echo b$1; printf c", "sh",
                             ":::", "1", ":::", "/dev/null"});
    EXPECT_EQ(ran.out, "a1\nb1\nc");
    const Ran ordered = run_map({"-j2", "-k", "--lb", "sh", "-c", "sleep 0.$1; echo $1", "sh", ":::", "2", "1"});
    EXPECT_EQ(ordered.out, "2\n1\n");
}
TEST(Map, steps_aside_when_ungrouped) { EXPECT_EQ(run_map({"-u", "-j1", "echo", ":::", "a", "b"}).out, "a\nb\n"); }
TEST(Map, gives_jobs_an_empty_standard_input) { EXPECT_EQ(run_map({"-N0", "cat"}, "a\nb\n").out, ""); }
TEST(Map, runs_a_shell_text_with_inputs_that_are_data) {
    const Ran ran = run_map({"-k", "--shell", "echo {} \"{}\" '{}' | tr a-z A-Z", ":::", "a  b", "$(touch /tmp/x)",
                             "it's", "`id`", "\\", "*"});
    EXPECT_THAT(split(ran.out), ElementsAre("A  B A  B A  B", "$(TOUCH /TMP/X) $(TOUCH /TMP/X) $(TOUCH /TMP/X)",
                                            "IT'S IT'S IT'S", "`ID` `ID` `ID`", "\\ \\ \\", "* * *"));
}
TEST(Map, tries_failed_jobs_again) {
    const Folder folder;
    const Ran ran =
        run_map({"--retries", "3", "--joblog", folder / "log", "sh", "-c",
                 "echo x >> " + folder.path() + "/{}; echo said; test $(wc -l < " + folder.path() + "/{}) -ge 3",
                 ":::", "a", "b"});
    EXPECT_EQ(ran.status, 0);
    EXPECT_EQ(content(folder / "a"), "x\nx\nx\n");
    EXPECT_EQ(ran.out, "said\nsaid\n"); // the last attempt's
    EXPECT_EQ(split(content(folder / "log")).size(), 3U);
    EXPECT_EQ(run_map({"--retries", "2", "sh", "-c", "echo y >> " + (folder / "y") + "; false", ":::", "a"}).status, 1);
    EXPECT_EQ(content(folder / "y"), "y\ny\ny\n");
}
TEST(Map, ends_a_job_and_all_its_group_at_its_time_out) {
    const Folder folder;
    const double time = seconds_of([&] {
        const Ran ran =
            run_map({"--timeout", "1.5", "--grace", "100ms", "--joblog", folder / "log", "sh", "-c",
                     "trap '' TERM; sleep 100 & echo $! > " + (folder / "pid") + "; sleep 100", ":::", "a"});
        EXPECT_EQ(ran.status, 1);
    });
    EXPECT_LT(time, 20);
    EXPECT_THAT(content(folder / "log"), HasSubstr("\t-1\t9\tsh -c "));
    const std::string pid = split(content(folder / "pid")).at(0);
    while (std::filesystem::exists("/proc/" + pid)) look_again();
}
TEST(Map, does_not_wait_for_a_pipe_that_somebody_took_away_after_a_time_out) {
    const Folder folder;
    const double time = seconds_of([&] {
        const Ran ran =
            run_map({"--timeout", "1.5", "--grace", "100ms", "sh", "-c",
                     "setsid sleep 30 & echo $! > " + (folder / "pid") + "; echo hi; sleep 100", ":::", "a"});
        EXPECT_EQ(ran.status, 1);
        EXPECT_EQ(ran.out, "hi\n");
        EXPECT_THAT(ran.err, HasSubstr("has left the job's process group"));
    });
    EXPECT_LT(time, 20);
    subprocess::run({"kill", "-9", split(content(folder / "pid")).at(0)});
}
TEST(Map, waits_for_output_of_what_a_job_left_behind_and_then_ends_that) {
    const Folder folder;
    EXPECT_EQ(run_map({"sh", "-c", "(sleep 0.2; echo late) &", ":::", "a"}).out, "late\n");
    run_map({"sh", "-c", "sleep 1000 > /dev/null 2>&1 & echo $! > " + (folder / "pid"), ":::", "a"});
    const std::string pid = split(content(folder / "pid")).at(0);
    while (std::filesystem::exists("/proc/" + pid)) look_again();
}
TEST(Map, stops_early_as_told) {
    const Ran soon = run_map({"-j1", "--halt", "soon", "sh", "-c", "echo {}; test {} != 2", ":::", "1", "2", "3"});
    EXPECT_EQ(soon.out, "1\n2\n");
    EXPECT_EQ(soon.status, 1);
    const double time = seconds_of([&] {
        const Ran now =
            run_map({"-j2", "--halt", "now", "sh", "-c", "test {} != 2 && sleep 100", ":::", "1", "2", "3"});
        EXPECT_EQ(now.status, 1);
    });
    EXPECT_LT(time, 50);
    EXPECT_EQ(run_map({"-j1", "--halt", "soon,success=2", "echo", ":::", "1", "2", "3"}).out, "1\n2\n");
}
TEST(Map, logs_jobs_in_the_columns_of_GNU_parallel) {
    const Folder folder;
    EXPECT_EQ(run_map({"-j1", "--joblog", folder / "log", "sh", "-c", "printf abc; exit {}", ":::", "0", "3"}).status,
              1);
    const std::vector<std::string> lines = split(content(folder / "log"));
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_EQ(lines[0], "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand");
    EXPECT_THAT(lines[1],
                MatchesRegex("1\t:\t[0-9]+\\.[0-9]{3}\t +[0-9]+\\.[0-9]{3}\t0\t3\t0\t0\tsh -c 'printf abc; exit 0'"));
    EXPECT_THAT(lines[2], HasSubstr("\t3\t0\tsh -c 'printf abc; exit 3'"));
}
TEST(Map, resumes_and_refuses_to_when_the_jobs_are_others) {
    const Folder folder;
    const std::string log = folder / "log";
    EXPECT_EQ(run_map({"-k", "--joblog", log, "sh", "-c", "echo {}; test {} != 2", ":::", "1", "2"}).out, "1\n2\n");
    EXPECT_EQ(
        run_map({"-k", "--joblog", log, "--resume", "sh", "-c", "echo {}; test {} != 2", ":::", "1", "2", "3"}).out,
        "3\n");
    const Ran failed = run_map(
        {"-k", "--joblog", log, "--resume-failed", "sh", "-c", "echo {}; test {} != 2", ":::", "1", "2", "3", "4"});
    EXPECT_EQ(failed.out, "2\n4\n");
    EXPECT_EQ(failed.status, 1);
    const Ran other = run_map({"--joblog", log, "--resume", "echo", ":::", "1", "2", "3"});
    EXPECT_EQ(other.status, 255);
    EXPECT_EQ(other.out, "");
    EXPECT_THAT(other.err, HasSubstr("job 1 is now echo 1"));
}
TEST(Map, does_not_share_its_log) {
    const Folder folder;
    subprocess::Popen first(
        {sennit_program, "map", "--joblog", folder / "log", "sh", "-c", "echo up; sleep 100", ":::", "a"},
        {.stdout_ = subprocess::PIPE});
    while (content(folder / "log").empty()) look_again();
    const Ran second = run_map({"--joblog", folder / "log", "echo", ":::", "a"});
    EXPECT_EQ(second.status, 255);
    EXPECT_THAT(second.err, HasSubstr("another sennit map"));
    first.terminate();
    EXPECT_EQ(first.wait(), 143);
}
TEST(Map, leaves_time_between_starts) {
    EXPECT_GE(seconds_of([] { run_map({"-j4", "--delay", "50ms", "true", ":::", "1", "2", "3", "4", "5"}); }), 0.2);
}
TEST(Map, starts_under_a_load_and_memory_that_are_there) {
    EXPECT_EQ(run_map({"--load", "10000", "--memfree", "1K", "echo", ":::", "a"}).out, "a\n");
}
TEST(Map, goes_on_when_all_that_is_left_waits_for_nothing) {
    EXPECT_EQ(run_map({"-j1", "--retries", "1", "sh", "-c", "exit {}", ":::", "1"}).status, 1);
    EXPECT_EQ(run_map({"-j1", "--retries", "1", "--timeout", "50ms", "--halt", "now", "sleep", ":::", "9", "9"}).status,
              1);
    EXPECT_EQ(run_map({"-j1", "{}", ":::", "/no/such", "/no/such"}).status, 2);
}
TEST(Map, stores_results_in_files) {
    const Folder folder;
    EXPECT_EQ(run_map({"--results", folder / "r", "sh", "-c", "echo out {1}; echo err {2} >&2", ":::", "a/b", "..",
                       ":::", "x"})
                  .status,
              0);
    EXPECT_EQ(content(folder / "r/1/a\\_b/2/x/stdout"), "out a/b\n");
    EXPECT_EQ(content(folder / "r/1/a\\_b/2/x/stderr"), "err x\n");
    EXPECT_EQ(content(folder / "r/1/\\../2/x/seq"), "2");
}
TEST(Map, shows_what_it_would_run) {
    EXPECT_EQ(run_map({"--dry-run", "rm", "-r", "--", "{}", ":::", "a b", "it's", "\n"}).out,
              "rm -r -- 'a b'\nrm -r -- 'it'\"'\"'s'\nrm -r -- $'\\n'\n");
    EXPECT_EQ(split(run_map({"--dry-run", "echo"}, numbers(50'000)).out).size(), 50'000U);
}
TEST(Map, speaks_JSON_that_Python_reads) {
    const Folder folder;
    const Ran ran = run_map({"-k", "--json", "--summary", "sh", "-c", "printf '%s' \"$1\"; echo e >&2; exit 3", "sh",
                             ":::", "a\"\n\x01", "\xff"});
    EXPECT_EQ(ran.status, 2);
    const auto python = subprocess::run({"python3", "-c", R"(
import base64, json, sys
def text(v): return base64.b64decode(v['base64']) if isinstance(v, dict) else v.encode()
lines = [json.loads(line) for line in sys.stdin.buffer.read().decode().splitlines()]
jobs, summary = lines[:-1], lines[-1]['summary']
assert [text(j['stdout']) for j in jobs] == [b'a"\n\x01', b'\xff'], jobs
assert [text(j['inputs'][0]) for j in jobs] == [b'a"\n\x01', b'\xff'], jobs
assert all(j['exit'] == 3 and j['signal'] == 0 and j['stderr'] == 'e\n' and j['attempts'] == 1 for j in jobs), jobs
assert summary['jobs'] == 2 and summary['failed'] == 2 and len(summary['slowest']) == 2, summary
)"},
                                        {.input = ran.out, .capture_output = true});
    EXPECT_EQ(python.returncode, 0) << python.std_err;
    const Ran much = run_map(
        {"--json", "-N0", "--shell", "seq 100000; head -c 200001 /dev/zero | tr '\\0' '\\377' >&2", ":::", "a"});
    const auto big = subprocess::run({"python3", "-c", R"(
import base64, json, sys
job = json.loads(sys.stdin.read())
assert job['stdout'] == ''.join(f'{n}\n' for n in range(1, 100001))
assert base64.b64decode(job['stderr']['base64']) == b'\xff' * 200001
)"},
                                     {.input = much.out, .capture_output = true});
    EXPECT_EQ(big.returncode, 0) << big.std_err;
}
TEST(Map, sums_up_and_draws_a_timeline) {
    const Folder folder;
    const Ran ran = run_map({"--summary", "--timeline", folder / "t.html", "-N0", "true"}, numbers(20));
    EXPECT_THAT(ran.err, HasSubstr("20 jobs in "));
    EXPECT_THAT(ran.err, HasSubstr("slowest"));
    EXPECT_THAT(ran.err, HasSubstr(folder / "t.html"));
    EXPECT_THAT(content(folder / "t.html"), HasSubstr("</html>"));
}
TEST(Map, shows_progress_only_where_it_should) {
    EXPECT_EQ(run_map({"true", ":::", "1"}).err, "");
    EXPECT_THAT(run_map({"--progress", "sleep", ":::", "0.2"}).err, HasSubstr("0/1"));
    // On a terminal: script(1) makes one.
    const auto shown = [](const std::string& option) {
        return subprocess::run({"script", "-qec", sennit_program + " map " + option + " sleep ::: 0.2", "/dev/null"},
                               {.capture_output = true})
            .std_out;
    };
    EXPECT_THAT(shown(""), HasSubstr("0/1"));
    EXPECT_EQ(shown("--no-progress"), "");
}
TEST(Map, refuses_what_no_program_can_take_before_it_starts) {
    const std::string input = std::string("a\0b\n", 4) + std::string(131'072, 'x') + "\n" + std::string(131'071, 'y') +
                              "\n" + std::string(1'000'000, 'z') + "\nok\n";
    const Ran ran = run_map({"-k", "sh", "-c", "echo ${#1}", "sh"}, input);
    EXPECT_EQ(ran.out, "131071\n2\n");
    EXPECT_EQ(ran.status, 3);
    EXPECT_THAT(ran.err, HasSubstr("job 1 was not started: argument 4 contains a NUL byte"));
    EXPECT_THAT(ran.err, HasSubstr("job 2 was not started: argument 4 has 131,072 bytes"));
    EXPECT_THAT(ran.err, HasSubstr("job 4 was not started: an input is longer"));
}
TEST(Map, takes_an_endless_list_and_stops_when_nobody_reads) {
    const auto done = subprocess::run({"sh", "-c", "yes | " + sennit_program + " map -j2 echo | head -n 3"},
                                      {.capture_output = true, .timeout = std::chrono::minutes(2)});
    EXPECT_EQ(done.std_out, "y\ny\ny\n");
    EXPECT_EQ(done.std_err, "");
}
TEST(Map, says_when_the_disk_is_full) {
    const Ran log = run_map({"--joblog", "/dev/full", "true", ":::", "a"});
    EXPECT_EQ(log.status, 255);
    EXPECT_THAT(log.err, HasSubstr("No space left"));
    const auto out =
        subprocess::run({"sh", "-c", sennit_program + " map -j2 echo ::: a b c > /dev/full"}, {.capture_output = true});
    EXPECT_EQ(out.returncode, 255);
    EXPECT_THAT(out.std_err, HasSubstr("cannot write to standard output: No space left"));
}
TEST(Map, hashes_files_as_find_does) {
    const auto expected = subprocess::run(
        {"sh", "-c", "find /usr/include/linux -maxdepth 1 -type f -exec sha256sum {} \\;"}, {.capture_output = true});
    const auto ours = subprocess::run(
        {"sh", "-c",
         "find /usr/include/linux -maxdepth 1 -type f -print0 | " + sennit_program + " map -0 -- sha256sum {}"},
        {.capture_output = true});
    EXPECT_EQ(ours.returncode, 0);
    EXPECT_GT(split(ours.std_out).size(), 100U);
    EXPECT_EQ(sorted(split(ours.std_out)), sorted(split(expected.std_out)));
}

} // namespace
} // namespace sennit::tools
