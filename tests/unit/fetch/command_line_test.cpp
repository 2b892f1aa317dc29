#include "tools/fetch/command_line.hpp"

#include "tools/fetch/rate_limit.hpp"
#include "tools/fetch/report.hpp"

#include <sennit/base/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Words = std::vector<std::string>;

TEST(FetchLine, takes_urls_and_options_in_any_order) {
    const auto o = parse_fetch({"http://a/", "-j", "64", "--per-host=2", "http://b/", "-d", "out", "--timeout", "2m",
                                "--limit-rate", "1M", "--header", "A: b", "--header", "C: d", "-i", "-", "--resume"});
    ASSERT_TRUE(o);
    EXPECT_THAT(o->urls, ElementsAre("http://a/", "http://b/"));
    EXPECT_EQ(o->jobs, 64U);
    EXPECT_EQ(o->per_host, 2U);
    EXPECT_EQ(o->timeout_ns, 120'000'000'000);
    EXPECT_EQ(o->limit_rate, 1024 * 1024);
    EXPECT_THAT(o->headers, ElementsAre("A: b", "C: d"));
    EXPECT_TRUE(o->resume);
}
TEST(FetchLine, has_a_sentence_for_each_slip) {
    const std::vector<std::pair<Words, std::string>> slips = {
        {{}, "nothing to fetch"},
        {{"--frobnicate", "u"}, "frobnicate"},
        {{"-j", "0", "u"}, "-j"},
        {{"-j", "100000", "u"}, "-j"},
        {{"--timeout", "0", "u"}, "--timeout"},
        {{"--timeout", "soon", "u"}, "a duration"},
        {{"--limit-rate", "0", "u"}, "--limit-rate"},
        {{"--retries", "-1", "u"}, "--retries"},
        {{"-o", "x", "u", "v"}, "-o names the file of one URL"},
        {{"-o", "a/..", "u"}, "-o"},
        {{"-o", "-", "u"}, "curl"},
        {{"-o", std::string(250, 'x'), "u"}, "too long"},
        {{"-i", "-", "-i", "-"}, "only once"},
        {{"--header", "no colon", "u"}, "--header"},
        {{"--header", "A: b\r\nC: d", "u"}, "one line"},
        {{"--header", "Range: bytes=1-", "u"}, "by itself"},
        {{"--header", "@/nonexistent/file", "u"}, "cannot open"},
        {{"--user-agent", "a\nb", "u"}, "--user-agent"},
        {{"--progress", "-q", "u"}, "exclude"},
    };
    for (const auto& [words, part] : slips) {
        try {
            parse_fetch(words);
            FAIL() << part;
        } catch (const UsageError& error) {
            EXPECT_THAT(error.what(), HasSubstr(part));
        }
    }
    try {
        parse_fetch({"--header", "Authorization secret", "u"});
        FAIL();
    } catch (const UsageError& error) {
        EXPECT_THAT(error.what(), Not(HasSubstr("secret")));
    }
}
TEST(FetchLine, helps_with_every_option) {
    for (const std::string& name : fetch_option_names())
        EXPECT_TRUE(fetch_help.find(" " + name) != std::string_view::npos) << name;
    EXPECT_FALSE(parse_fetch({"--help"}));
    EXPECT_FALSE(parse_fetch({"-h", "u"}));
}

TEST(RateLimit, gives_out_what_time_brings) {
    RateLimit rate(1'000'000);
    std::int64_t now = 1, taken = 0;
    for (const std::int64_t end = now + 2'000'000'000; now < end;) {
        if (rate.take(16'384, now))
            taken += 16'384;
        else
            now = rate.next_ns(now);
    }
    EXPECT_NEAR(static_cast<double>(taken), 2'000'000, 70'000);
    now += 3'600'000'000'000; // no burst after a pause
    std::int64_t burst = 0;
    while (rate.take(1'000, now)) burst += 1'000;
    EXPECT_LE(burst, 51'000);
}

TEST(FetchProgress, fits_any_width) {
    FetchOptions options;
    options.urls = {"http://a/"};
    FetchReport report(options);
    FetchReport::State state;
    state.start = 1;
    state.now = 2'000'000'001;
    state.fetched = 3'000'000;
    state.running = 2;
    state.total = 10;
    const std::vector<FetchGlance> active = {{"a\x1b[2J-long-name-of-a-file-which-is-cut.tar.gz", 1'000'000, 4'000'000},
                                             {"b", 5, -1}};
    for (std::size_t columns = 1; columns < 200; ++columns)
        for (const std::string& line : report.lines(state, active, columns, false)) {
            EXPECT_LT(line.size(), std::max<std::size_t>(columns, 6) + 2) << line; // an ellipsis is three bytes
            EXPECT_THAT(line, Not(HasSubstr("\x1b")));
        }
    const std::vector<std::string> lines = report.lines(state, active, 100, false);
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_THAT(lines[0], HasSubstr(" 25% [###"));
    EXPECT_THAT(lines[0], HasSubstr("976.6 KiB / 3.8 MiB"));
    EXPECT_THAT(lines[2], HasSubstr("0/10 files  2.9 MiB"));
}

} // namespace
} // namespace sennit::tools
