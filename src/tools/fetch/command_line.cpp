#include "tools/fetch/command_line.hpp"

#include "tools/common/arguments.hpp"
#include "tools/common/quoting.hpp"
#include "tools/common/units.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/os/file.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <system_error>

namespace sennit::tools {

const std::string_view fetch_help = R"(sennit fetch: download many files at once, each whole or not at all

  sennit fetch [OPTION ...] URL ...
  sennit fetch [OPTION ...] -i FILE           a URL a line; '-' is standard input

Examples
  sennit fetch https://example.org/a.iso
  sennit fetch -j 32 -d mirror -i urls.txt              32 at once, into the folder mirror
  sennit fetch --resume -d mirror -i urls.txt           go on after Ctrl-C, a kill or a lost network
  sennit fetch --sha256 SHA256SUMS -i urls.txt          only what has the right checksum gets its name
  sennit fetch --limit-rate 2M --per-host 2 -i urls.txt
  sennit fetch -o latest.tar.gz https://example.org/download?id=17
  sennit fetch --header @secret https://example.org/private.zip    a header from a file, not for all to see in ps
  sennit fetch --json -i urls.txt | jq -r 'select(.ok | not).url'
  sennit fetch --timeline run.html -i urls.txt

A file is fetched as NAME.part, a small one maybe without a name, and gets its own only when all of it is there, has the right
checksum and is on the disk.
What is there already is left alone: see --resume and --overwrite. NAME is the last part of the URL's path; characters
that a name should not have are written as %XX, and a name that occurs twice gets a number.

What to fetch
  -i, --input FILE      URLs, one a line; empty lines and those that begin with '#' are passed over
  -0, --null            URLs of -i end in NUL instead of a newline
  -d, --dir DIR         into this folder, which is made if need be. Default: the working directory
  -o, --output NAME     the name for one URL
  --content-disposition the server may name the file (made safe as the others)
  --resume              pass over files that are there; go on with those that were begun. That needs a server that answers
                        with exactly the bytes asked for, and a strong ETag or date to know them by; else it starts again
  --overwrite           replace files that are there, when the new ones are whole
  --sha256 FILE         check against this list of checksums (as sha256sum writes them); a file it lacks is not fetched

How
  -j, --jobs N          so many at once. Default: 8
  --per-host N          so many at once from one host. Default: no limit but -j
  --retries N           try a failed download up to N times more, if that may help (a broken connection, a time-out,
                        408, 429, 500, 502, 503, 504), from where it broke. Default: 3
  --retry-delay D       before the first of them; twice as long before each next one, up to a minute, some of it by chance. A
                        server's Retry-After counts if it is longer. Default: 1s
  --timeout D           end an attempt after D (90, 1.5s, 2m). Default: no limit
  --stall D             end an attempt when nothing has come for D. Default: 30s
  --connect-timeout D   Default: 30s
  --limit-rate B        bytes a second (512K, 2M) of all downloads together
  --compressed          let the server compress, and decompress what comes
  --header H            send this header ('Name: value', or @FILE with one a line). Redirected to another host it is left out,
                        but for Accept and its like
  --user-agent TEXT     Default: sennit and its version
  --cacert FILE         trust the authorities of this file (PEM) instead of the system's
  --insecure            do not check who the server is. Told on each run

Looking
  --json                a line of JSON for each file, and one for all
  --summary             at the end: files, bytes, rate; by default on a terminal
  --timeline FILE.html  a page that shows what was fetched when
  -q, --quiet           nothing but errors
  --progress, --no-progress   the progress lines: by default on a terminal
  --dry-run             print which URL would go to which file
  -h, --help

http_proxy, https_proxy and no_proxy in the environment are heeded.

Exit status: the number of failed downloads, 101 for more than 100; 255 for wrong use or when sennit itself failed; 130 after
Ctrl-C, 143 after TERM. Then what was begun is kept for --resume. The second Ctrl-C ends at once.
)";

namespace {

struct Raw { // as written on the command line
    std::string jobs, per_host, retries, retry_delay, timeout, stall, connect, rate;
    std::vector<std::string> headers;
    bool null = false, progress = false, no_progress = false, help = false;
};

void declare(CLI::App& app, Raw& raw, FetchOptions& o) {
    app.set_help_flag();
    app.add_option("urls", o.urls);
    app.add_flag("-h,--help", raw.help);
    app.add_option("-i,--input", o.lists)->allow_extra_args(false);
    app.add_flag("-0,--null", raw.null);
    app.add_option("-d,--dir", o.folder);
    app.add_option("-o,--output", o.output);
    app.add_flag("--content-disposition", o.disposition);
    app.add_flag("--resume", o.resume);
    app.add_flag("--overwrite", o.overwrite);
    app.add_option("--sha256", o.sha256);
    app.add_option("-j,--jobs", raw.jobs);
    app.add_option("--per-host", raw.per_host);
    app.add_option("--retries", raw.retries);
    app.add_option("--retry-delay", raw.retry_delay);
    app.add_option("--timeout", raw.timeout);
    app.add_option("--stall", raw.stall);
    app.add_option("--connect-timeout", raw.connect);
    app.add_option("--limit-rate", raw.rate);
    app.add_flag("--compressed", o.compressed);
    app.add_option("--header", raw.headers)->allow_extra_args(false);
    app.add_option("--user-agent", o.user_agent);
    app.add_option("--cacert", o.ca_file);
    app.add_flag("--insecure", o.insecure);
    app.add_flag("--json", o.json);
    app.add_flag("--summary", o.summary);
    app.add_option("--timeline", o.timeline);
    app.add_flag("-q,--quiet", o.quiet);
    app.add_flag("--progress", raw.progress);
    app.add_flag("--no-progress", raw.no_progress);
    app.add_flag("--dry-run", o.dry_run);
}

bool is_token(std::string_view text) { // RFC 9110, 5.6.2
    static constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               others.find(c) != std::string_view::npos;
    });
}

// The value may be a secret: messages do not repeat it.
void add_header(FetchOptions& o, std::string_view header) {
    const std::size_t colon = header.find(':');
    const std::string_view name = header.substr(0, colon);
    if (colon == std::string_view::npos || !is_token(name))
        throw UsageError("--header: write 'Name: value'; the one given has no name or no colon");
    const bool clean = std::none_of(header.begin(), header.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
    });
    if (!clean) throw UsageError("--header " + std::string(name) + ": a header is one line without control characters");
    const auto is = [&](std::string_view other) {
        return std::equal(name.begin(), name.end(), other.begin(), other.end(),
                          [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
    };
    for (const std::string_view own :
         {"range", "if-range", "accept-encoding", "transfer-encoding", "content-length", "te"})
        if (is(own))
            throw UsageError("--header " + std::string(name) +
                             ": sennit fetch sets this one by itself; see --resume and --compressed");
    o.headers.emplace_back(header);
}

void add_headers(FetchOptions& o, const std::string& text) {
    if (!text.starts_with('@')) return add_header(o, text);
    constexpr std::size_t most = 1024 * 1024;
    int error = 0;
    if (!os::open_file(text.c_str() + 1, O_RDONLY, error))
        throw UsageError("--header: cannot open " + shell_word(text.substr(1)) + ": " +
                         std::system_category().message(error));
    const std::string content = os::read_small_file(text.c_str() + 1, most);
    for (std::string_view rest = content; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (!line.empty()) add_header(o, line);
    }
}

std::int64_t some_time(const std::string& text, std::string_view option) {
    const std::int64_t ns = parse_duration(text, option);
    if (ns == 0)
        throw UsageError(std::string(option) + ": nothing can be done in no time; leave it out for the default");
    return ns;
}

} // namespace

std::vector<std::string> fetch_option_names() {
    Raw raw;
    FetchOptions options;
    CLI::App app;
    declare(app, raw, options);
    return option_names(app);
}

std::optional<FetchOptions> parse_fetch(std::vector<std::string> arguments) {
    Raw raw;
    FetchOptions o;
    CLI::App app;
    declare(app, raw, o);
    parse_arguments(app, std::move(arguments));
    if (raw.help) return std::nullopt;

    if (o.urls.empty() && o.lists.empty())
        throw UsageError("there is nothing to fetch. Write URLs, or -i FILE with one a line");
    if (std::count(o.lists.begin(), o.lists.end(), "-") > 1)
        throw UsageError("-i: standard input can be read only once");
    o.separator = raw.null ? '\0' : '\n';
    if (app.count("-o") > 0) {
        if (o.urls.size() != 1 || !o.lists.empty()) throw UsageError("-o names the file of one URL; there are more");
        const std::size_t slash = o.output.rfind('/');
        const std::string name = o.output.substr(slash + 1);
        if (name.empty() || name == "." || name == "..")
            throw UsageError("-o " + shell_word(o.output) + ": that is no name of a file");
        if (o.output == "-") throw UsageError("-o -: only a file can be whole or absent; to write to a pipe use curl");
        if (name.size() > 240)
            throw UsageError("-o: the name is too long: 240 bytes and '.part' are what there is room for");
        if (o.disposition) throw UsageError("-o and --content-disposition exclude each other");
    }
    constexpr std::int64_t most_jobs = 1000;
    if (!raw.jobs.empty()) o.jobs = static_cast<unsigned>(parse_whole(raw.jobs, "-j", 1, most_jobs));
    if (!raw.per_host.empty())
        o.per_host = static_cast<unsigned>(parse_whole(raw.per_host, "--per-host", 1, most_jobs));
    if (!raw.retries.empty()) o.retries = static_cast<unsigned>(parse_whole(raw.retries, "--retries", 0, 1'000'000));
    if (!raw.retry_delay.empty()) o.retry_delay_ns = parse_duration(raw.retry_delay, "--retry-delay");
    if (!raw.timeout.empty()) o.timeout_ns = some_time(raw.timeout, "--timeout");
    if (!raw.stall.empty()) o.stall_ns = some_time(raw.stall, "--stall");
    if (!raw.connect.empty()) o.connect_ns = some_time(raw.connect, "--connect-timeout");
    if (!raw.rate.empty()) {
        o.limit_rate = parse_bytes(raw.rate, "--limit-rate");
        if (o.limit_rate == 0) throw UsageError("--limit-rate: nothing would ever come; leave it out for no limit");
    }
    for (const std::string& header : raw.headers) add_headers(o, header);
    if (raw.progress && raw.no_progress) throw UsageError("--progress and --no-progress exclude each other");
    if (raw.progress && o.quiet) throw UsageError("--progress and -q exclude each other");
    if (raw.progress) o.progress = FetchOptions::Show::always;
    if (raw.no_progress || o.quiet) o.progress = FetchOptions::Show::never;
    if (o.user_agent.empty()) o.user_agent = "sennit/" SENNIT_VERSION;
    if (std::any_of(o.user_agent.begin(), o.user_agent.end(),
                    [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
        throw UsageError("--user-agent: a header is one line without control characters");
    return o;
}

} // namespace sennit::tools
