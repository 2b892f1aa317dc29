#include "tools/map/command_line.hpp"

#include "tools/common/arguments.hpp"
#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sennit/base/errors.hpp>
#include <sennit/os/cpu_count.hpp>

namespace sennit::tools {

const std::string_view map_help = R"(sennit map: run a command once for each input, many at once

  sennit map [OPTION ...] COMMAND [ARG ...] ::: INPUT ...
  sennit map [OPTION ...] COMMAND [ARG ...] < LIST          an input a line

Examples
  sennit map gzip -9 ::: *.log                        compress files, as many at once as there are cores
  find . -name '*.png' -print0 | sennit map -0 optipng {}
  sennit map -j 4 convert {} -resize 50% small/{/.}.jpg ::: photos/*.png
  sennit map -k --shell 'sort {} | uniq -c > {.}.counts' ::: *.txt
  sennit map echo {1}-{2} ::: a b ::: 1 2 3           every combination: a-1 a-2 a-3 b-1 b-2 b-3
  sennit map --retries 3 --timeout 30s --joblog log curl -sfO {} < urls
  sennit map --joblog log --resume curl -sfO {} < urls      goes on where the last run was stopped
  sennit map --summary --timeline run.html make -C {} ::: */

The command is run as it stands, without a shell. Placeholders in it:
  {}  the input                 {/}  without its folder           {#}  the number of the job
  {.} without its extension     {//} its folder                   {%}  the number of its slot, 1 to N
  {1} the first input ...       {/.} without folder and extension  {2.} {2/} {2//} {2/.} likewise
Without any, the input is the last argument. A placeholder stays inside its argument, whatever characters the input has.

Inputs
  ::: INPUT ...         these. A second ':::' gives every combination; ':::+' goes in step with the one before
  :::: FILE ...         the lines of files ('-' is standard input); '::::+' in step
  -a, --arg-file FILE   the same, before the command
  -0, --null            inputs end in NUL instead of a newline (find -print0)
  -I TEXT               TEXT stands for the input instead of {}
  -N0                   run the command once an input, but do not append the input
  --shell TEXT          run TEXT by /bin/sh instead of a command. Inputs are quoted: never read as shell syntax. To
                        calculate with one: $(expr {} % 7); {} can't stand in $((...)), {#} and {%} can

Running
  -j, --jobs N          so many at once: a number, 150% (of the cores), +1 or -1 (more or fewer than the cores), 0 (as many as
                        possible). Default: the cores that this process may use
  --retries N           run a failed job up to N times more
  --timeout D           end a job after D (90, 1.5s, 2m): its whole process group, TERM, then KILL
  --grace D             between TERM and KILL. Default: 2s
  --halt WHEN           never (the default); soon: start no more after a failure; now: end what runs, too. With a reason:
                        soon,fail=3  now,success=1  now,done=10
  --delay D             at least D between two starts
  --load L              start no job while L threads or more run or want to (a number, or 80% of the cores)
  --memfree B           start no job while less than B (500M, 2G) of memory is available

Output: that of a job comes out as one piece when it has ended, never mixed with another's
  -k, --keep-order      in the order of the inputs
  --line-buffer, --lb   line by line, as it comes: lines of jobs alternate, but stay whole
  -u, --ungroup         straight through, mixed as it comes
  --results DIR         also into files: DIR/1/INPUT/stdout, stderr, seq
  --json                one line of JSON a job instead
  --dry-run             print the commands, run nothing

Looking
  --joblog FILE         a line for each job that has ended, in GNU parallel's columns
  --resume              skip the jobs that are in the job log, and go on with it
  --resume-failed       the same, but run again those that failed
  --summary             at the end: jobs, failures, time, CPU use, rate, the slowest five
  --timeline FILE.html  a page that shows who ran what when
  --progress, --no-progress   the progress line: by default on a terminal
  -h, --help

Exit status: the number of failed jobs, 101 for more than 100; 255 for wrong use or when sennit itself failed; 130 after
Ctrl-C, 143 after TERM. The first Ctrl-C ends the jobs with TERM, then KILL; the second kills them at once.
)";

namespace {

struct Raw { // as written on the command line
    std::string jobs, inserted, retries, timeout, grace, halt, delay, load, memory;
    std::vector<std::string> files;
    bool null = false, progress = false, no_progress = false, help = false;
};

void declare(CLI::App& app, Raw& raw, MapOptions& o) {
    app.set_help_flag();
    app.prefix_command();
    app.add_flag("-h,--help", raw.help);
    app.add_option("-a,--arg-file", raw.files)->allow_extra_args(false);
    app.add_flag("-0,--null", raw.null);
    app.add_option("-I", o.replace);
    app.add_option("-N", raw.inserted);
    app.add_option("--shell", o.shell_text);
    app.add_option("-j,--jobs", raw.jobs);
    app.add_option("--retries", raw.retries);
    app.add_option("--timeout", raw.timeout);
    app.add_option("--grace", raw.grace);
    app.add_option("--halt", raw.halt);
    app.add_option("--delay", raw.delay);
    app.add_option("--load", raw.load);
    app.add_option("--memfree", raw.memory);
    app.add_flag("-k,--keep-order", o.keep_order);
    app.add_flag("--line-buffer,--lb", o.line_buffer);
    app.add_flag("-u,--ungroup", o.ungroup);
    app.add_option("--results", o.results);
    app.add_flag("--json", o.json);
    app.add_flag("--dry-run", o.dry_run);
    app.add_option("--joblog", o.job_log);
    app.add_flag("--resume", o.resume);
    app.add_flag("--resume-failed", o.resume_failed);
    app.add_flag("--summary", o.summary);
    app.add_option("--timeline", o.timeline);
    app.add_flag("--progress", raw.progress);
    app.add_flag("--no-progress", raw.no_progress);
}

bool is_separator(std::string_view word) {
    return word == ":::" || word == ":::+" || word == "::::" || word == "::::+";
}

// ::: a b :::+ c d :::: file -
void parse_sources(const std::vector<std::string>& words, std::size_t at, std::vector<InputSource>& sources) {
    while (at < words.size()) {
        const std::string& kind = words[at++];
        const bool files = kind.starts_with("::::"), linked = kind.back() == '+';
        if (linked && sources.empty())
            throw UsageError("'" + kind + "' has nothing before it to go in step with; write '" +
                             kind.substr(0, kind.size() - 1) + "'");
        if (files) {
            if (at == words.size() || is_separator(words[at])) throw UsageError("'" + kind + "' needs a file");
            for (; at < words.size() && !is_separator(words[at]); ++at) {
                sources.emplace_back();
                sources.back().is_file = true;
                sources.back().path = words[at];
                sources.back().linked = linked;
            }
        } else {
            sources.emplace_back();
            sources.back().linked = linked;
            for (; at < words.size() && !is_separator(words[at]); ++at) sources.back().values.push_back(words[at]);
        }
    }
}

double parse_load(std::string_view text, unsigned cores) {
    const bool percent = text.ends_with('%');
    const std::string number(text.substr(0, text.size() - (percent ? 1 : 0)));
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    if (number.empty() || *end != '\0' || !(value > 0))
        throw UsageError("--load: '" + for_terminal(text) + "' is not a load: write 3.5, or 80% of the cores");
    return percent ? value * cores / 100 : value;
}

} // namespace

std::vector<std::string> map_option_names() {
    Raw raw;
    MapOptions options;
    CLI::App app;
    declare(app, raw, options);
    return option_names(app);
}

std::optional<MapOptions> parse_map(std::vector<std::string> arguments) {
    Raw raw;
    MapOptions o;
    CLI::App app;
    declare(app, raw, o);
    parse_arguments(app, std::move(arguments));
    std::vector<std::string> rest = app.remaining();
    if (raw.help) return std::nullopt;

    // Options end at the command. What begins with a dash before it, and is no option, is a slip and not a command.
    if (!rest.empty() && rest.front() == "--")
        rest.erase(rest.begin());
    else if (!rest.empty() && rest.front().size() > 1 && rest.front().front() == '-')
        throw UsageError("unknown option " + shell_word(rest.front()) +
                         " (a command that begins with a dash goes behind --)");

    o.use_shell = app.count("--shell") > 0;
    const auto sources = std::find_if(rest.begin(), rest.end(), is_separator);
    o.words.assign(rest.begin(), sources);
    if (o.use_shell && !o.words.empty())
        throw UsageError("--shell has the whole command in its TEXT; what is " + shell_word(o.words.front()) +
                         " for? Inputs stand behind ':::'");
    if (!o.use_shell && o.words.empty())
        throw UsageError("there is no command to run. Write one, as in: sennit map gzip -9 ::: *.log");
    for (const std::string& file : raw.files) {
        o.sources.emplace_back();
        o.sources.back().is_file = true;
        o.sources.back().path = file;
    }
    parse_sources(rest, static_cast<std::size_t>(sources - rest.begin()), o.sources);
    if (o.sources.empty()) {
        o.sources.emplace_back();
        o.sources.back().is_file = true;
        o.sources.back().path = "-";
    }

    if (!raw.inserted.empty()) {
        if (raw.inserted != "0" && raw.inserted != "1")
            throw UsageError("-N: '" + for_terminal(raw.inserted) +
                             "': a job has one input of each source (1), or it is not inserted (0)");
        o.insert = raw.inserted == "1";
    }
    o.separator = raw.null ? '\0' : '\n';
    o.cores = static_cast<unsigned>(os::usable_cpu_count());
    o.slots = raw.jobs.empty() ? o.cores : parse_jobs(raw.jobs, o.cores);
    if (!raw.retries.empty()) o.retries = static_cast<unsigned>(parse_whole(raw.retries, "--retries", 0, 1'000'000));
    if (!raw.timeout.empty()) {
        o.timeout_ns = parse_duration(raw.timeout, "--timeout");
        if (o.timeout_ns == 0) throw UsageError("--timeout: no job can end in no time; leave it out for no limit");
    }
    if (!raw.grace.empty()) o.grace_ns = parse_duration(raw.grace, "--grace");
    if (!raw.halt.empty()) o.halt = HaltRule::parse(raw.halt);
    if (!raw.delay.empty()) o.delay_ns = parse_duration(raw.delay, "--delay");
    if (!raw.memory.empty()) o.memory_bytes = parse_bytes(raw.memory, "--memfree");
    if (!raw.load.empty()) o.load = parse_load(raw.load, o.cores);
    if (raw.progress && raw.no_progress) throw UsageError("--progress and --no-progress exclude each other");
    if (raw.progress) o.progress = MapOptions::Show::always;
    if (raw.no_progress) o.progress = MapOptions::Show::never;
    o.resume |= o.resume_failed;
    if (o.resume && o.job_log.empty()) throw UsageError("--resume needs the --joblog FILE of the run that it resumes");
    if (o.ungroup && (o.keep_order || o.json || o.line_buffer || !o.results.empty()))
        throw UsageError("-u lets output pass untouched: it excludes -k, --line-buffer, --json and --results");
    if (o.line_buffer && o.json) throw UsageError("--line-buffer and --json exclude each other");
    return o;
}

} // namespace sennit::tools
