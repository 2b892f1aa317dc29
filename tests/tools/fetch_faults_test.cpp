// `sennit fetch` when it is ended, killed, or has no room: F14 and F24 of the guarantees, and kill -9.
#include "fetch_run.hpp"

#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>

namespace sennit::tools {
namespace {

using sennit::testing::Watchdog;
using subprocess::PIPE;
using subprocess::Popen;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Request = TestServer::Request;
using Client = TestServer::Client;

constexpr std::size_t file_bytes = 2'000'000;

std::string path_of(int i) { return "/f" + std::to_string(i); }
std::string file(int i) { return some_bytes(file_bytes, static_cast<unsigned>(i)); }

// Files of two megabytes, of which a client gets one and a half until it is let go on.
class HalfServer {
  public:
    [[nodiscard]] std::string list(int files) const {
        std::string urls;
        for (int i = 0; i < files; ++i) urls += server_.url(path_of(i)) + '\n';
        return urls;
    }
    void let_go() { open_ = true; }
    /// To clients that have gone.
    [[nodiscard]] std::int64_t sent() {
        server_.wait_until_idle();
        return server_.sent();
    }

  private:
    std::atomic<bool> open_{false};
    TestServer server_{[this](const Request& r, Client& c) {
        const int i = std::atoi(r.path.c_str() + 2);
        const std::string body = file(i), etag = "\"" + std::to_string(i) + "\"";
        if (open_) return answer_well(r, c, body, etag);
        c.send(head("200 OK", body.size(), {"ETag: " + etag}) + body.substr(0, file_bytes * 3 / 4));
        c.wait_until_gone();
    }};
};

std::int64_t size_of(const std::string& path) {
    std::error_code none;
    const auto size = std::filesystem::file_size(path, none);
    return none ? 0 : static_cast<std::int64_t>(size);
}

// Every file under its own name is right.
void expect_whole_files(const Folder& folder, int files) {
    for (int i = 0; i < files; ++i) {
        const std::string path = folder / ("d" + path_of(i));
        if (std::filesystem::exists(path)) {
            EXPECT_TRUE(content(path) == file(i)) << path;
        }
    }
}

TEST(FetchKill, in_mid_run_leaves_what_resume_goes_on_with) {
    constexpr int files = 6;
    for (int trial = 0; trial < by_tier(1, 10, 30); ++trial) {
        Watchdog::kick();
        const Folder folder;
        HalfServer server;
        std::ofstream(folder / "urls") << server.list(files);
        Popen fetch({sennit_program, "fetch", "-j", std::to_string(files), "-d", folder / "d", "-i", folder / "urls"},
                    {.stdout_ = PIPE, .stderr_ = PIPE});
        // Five of six pieces are written when that much is there: more than half of each file.
        constexpr std::int64_t there = 5 * 256 * 1024;
        for (int i = 0; i < files;)
            if (size_of(folder / ("d" + path_of(i) + ".part")) >= there)
                ++i;
            else
                look_again();
        fetch.kill();
        fetch.communicate();
        EXPECT_EQ(fetch.returncode(), -SIGKILL);
        for (int i = 0; i < files; ++i) EXPECT_FALSE(std::filesystem::exists(folder / ("d" + path_of(i))));

        server.let_go();
        const std::int64_t before = server.sent();
        const Ran ran = run_fetch({"-j4", "--resume", "--json", "-d", folder / "d", "-i", folder / "urls"});
        EXPECT_EQ(ran.status, 0) << ran.err;
        EXPECT_LE(server.sent() - before, files * (static_cast<std::int64_t>(file_bytes) - there + 1000));
        EXPECT_THAT(ran.out, HasSubstr("\"attempts\": 1"));
        EXPECT_EQ(names_in(folder / "d").size(), static_cast<std::size_t>(files));
        for (int i = 0; i < files; ++i) EXPECT_TRUE(content(folder / ("d" + path_of(i))) == file(i));
    }
}

#if defined(SENNIT_FAULT_POINTS)
// P17: a file has its name only when it is whole and synced.
TEST(FetchKill, at_each_step_of_a_files_end_leaves_it_whole_or_without_its_name) {
    constexpr int files = 3; // the last one is so small that it never has a record
    const auto body = [](int i) { return i < 2 ? file(i) : std::string("small"); };
    TestServer server([&](const Request& r, Client& c) {
        const int i = std::atoi(r.path.c_str() + 2);
        answer_well(r, c, body(i), "\"" + std::to_string(i) + "\"");
    });
    std::string urls;
    for (int i = 0; i < files; ++i) urls += server.url(path_of(i)) + '\n';
    for (const std::string point : {"written", "synced", "renamed"}) {
        for (int pass = 1; pass <= files; ++pass) {
            SCOPED_TRACE(point + ", pass " + std::to_string(pass));
            Watchdog::kick();
            const Folder folder;
            std::ofstream(folder / "urls") << urls;
            // One after the other, so that the passes before have to do with whole files.
            const int ended = subprocess::call(
                {sennit_program, "fetch", "-j1", "-q", "-d", folder / "d", "-i", folder / "urls"},
                {.extra_env = {{"SENNIT_FAULTS", "download." + point + "=kill@" + std::to_string(pass)}},
                 .stderr_ = subprocess::DEVNULL});
            EXPECT_EQ(ended, -SIGKILL);
            int named = 0;
            for (int i = 0; i < files; ++i) {
                const std::string path = folder / ("d" + path_of(i));
                if (!std::filesystem::exists(path)) continue;
                ++named;
                EXPECT_TRUE(content(path) == body(i)) << path;
            }
            const bool is_named = point == "renamed";
            if (point == "written") {
                EXPECT_LT(named, pass);
            } else {
                EXPECT_EQ(named, is_named ? pass : pass - 1);
            }

            const Ran ran = run_fetch({"--resume", "-d", folder / "d", "-i", folder / "urls"});
            EXPECT_EQ(ran.status, 0) << ran.err;
            EXPECT_EQ(names_in(folder / "d").size(), static_cast<std::size_t>(files));
            for (int i = 0; i < files; ++i) EXPECT_TRUE(content(folder / ("d" + path_of(i))) == body(i));
        }
    }
}
#endif

// F24: signals once or twice, at a random time.
TEST(F24FetchSignals, one_or_two_leave_whole_files_and_parts_that_can_be_gone_on_with) {
    constexpr int files = 8;
    std::mt19937 random(static_cast<unsigned>(by_tier(1, 2, 3)));
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int trial = 0; trial < by_tier(4, 60, 300); ++trial) {
        Watchdog::kick();
        const Folder folder;
        const int signal = signals[trial % 3];
        HalfServer server;
        std::ofstream(folder / "urls") << server.list(files);
        Popen fetch({sennit_program, "fetch", "-j4", "-d", folder / "d", "-i", folder / "urls", "--timeline",
                     folder / "t.html"},
                    {.stdout_ = PIPE, .stderr_ = PIPE});
        const std::int64_t there = static_cast<std::int64_t>(random() % 5 + 1) * 256 * 1024;
        while (size_of(folder / "d/f0.part") < there) look_again();
        if (trial % 2 == 0) server.let_go(); // the others go on meanwhile
        fetch.send_signal(signal);
        if (trial / 3 % 2 == 1) fetch.send_signal(signal);
        const auto [out, err] = fetch.communicate({}, std::chrono::minutes(1));
        EXPECT_EQ(fetch.returncode(), 128 + signal) << err;
        EXPECT_THAT(err, HasSubstr("interrupted by "));
        EXPECT_EQ(out, "");
        EXPECT_THAT(content(folder / "t.html"), HasSubstr("</html>"));
        expect_whole_files(folder, files);
        EXPECT_GE(size_of(folder / "d/f0.part"), there);

        server.let_go();
        const std::int64_t before = server.sent();
        const Ran ran = run_fetch({"-j4", "--resume", "-d", folder / "d", "-i", folder / "urls"});
        EXPECT_EQ(ran.status, 0) << ran.err;
        EXPECT_LE(server.sent() - before, files * static_cast<std::int64_t>(file_bytes + 1000) - there);
        EXPECT_EQ(names_in(folder / "d").size(), static_cast<std::size_t>(files));
        expect_whole_files(folder, files);
    }
}

TEST(F24FetchSignals, one_at_any_moment_of_a_short_life_leaves_no_half_file) {
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", "small")); });
    std::string urls;
    for (int i = 0; i < 50; ++i) urls += server.url(path_of(i)) + '\n';
    std::mt19937 random(static_cast<unsigned>(by_tier(1, 2, 3)));
    for (int trial = 0; trial < by_tier(8, 60, 300); ++trial) {
        Watchdog::kick();
        const Folder folder;
        std::ofstream(folder / "urls") << urls;
        Popen fetch({sennit_program, "fetch", "-d", folder / "d", "-i", folder / "urls"},
                    {.stdout_ = PIPE, .stderr_ = PIPE});
        const int requests = server.requests() + static_cast<int>(random() % 40);
        while (server.requests() < requests && !fetch.poll()) look_again();
        fetch.send_signal(SIGTERM);
        const auto [out, err] = fetch.communicate({}, std::chrono::minutes(1));
        EXPECT_THAT(*fetch.poll(), ::testing::AnyOf(0, 143, -SIGTERM)) << err;
        if (!std::filesystem::exists(folder / "d")) continue;
        for (const std::string& name : names_in(folder / "d")) {
            EXPECT_THAT(name, Not(HasSubstr(".part")));
            EXPECT_EQ(content(folder / ("d/" + name)), "small");
        }
    }
}

TEST(F24FetchSignals, kill_at_any_moment_among_many_small_files_leaves_whole_ones_that_resume_passes_over) {
    TestServer server([](const Request& r, Client& c) { c.send(answer("200 OK", r.path)); });
    std::string urls;
    constexpr int files = 300;
    for (int i = 0; i < files; ++i) urls += server.url(path_of(i)) + '\n';
    std::mt19937 random(static_cast<unsigned>(by_tier(1, 2, 3)));
    for (int trial = 0; trial < by_tier(4, 30, 150); ++trial) {
        Watchdog::kick();
        const Folder folder;
        std::ofstream(folder / "urls") << urls;
        const std::vector<std::string> args = {"-j8", "--resume", "-d", folder / "d", "-i", folder / "urls"};
        Popen fetch({sennit_program, "fetch", "-j8", "-d", folder / "d", "-i", folder / "urls"},
                    {.stdout_ = PIPE, .stderr_ = PIPE});
        const int requests = server.requests() + static_cast<int>(random() % files);
        while (server.requests() < requests && !fetch.poll()) look_again();
        fetch.send_signal(SIGKILL);
        fetch.communicate({}, std::chrono::minutes(1));
        if (std::filesystem::exists(folder / "d")) {
            for (const std::string& name : names_in(folder / "d")) {
                if (name.find(".part") != std::string::npos) continue;
                EXPECT_EQ(content(folder / ("d/" + name)), "/" + name);
            }
        }
        EXPECT_EQ(run_fetch(args).status, 0);
        const std::vector<std::string> names = names_in(folder / "d");
        EXPECT_EQ(names.size(), static_cast<std::size_t>(files));
        for (const std::string& name : names) EXPECT_EQ(content(folder / ("d/" + name)), "/" + name);
    }
}

// F14: no room on the disk, in a file system of one megabyte that is this test's own.
TEST(F14FetchDisk, that_is_full_is_told_and_leaves_no_half_file) {
    const Folder folder;
    std::filesystem::create_directory(folder / "d");
    const std::string own = "mount -t tmpfs -o size=1m none " + (folder / "d");
    if (subprocess::run({"unshare", "-rm", "sh", "-c", own}, {.capture_output = true}).returncode != 0)
        GTEST_SKIP() << "mounting is not permitted here";
    std::atomic<bool> announce{true};
    TestServer server([&](const Request& r, Client& c) {
        if (r.path == "/small") return c.send(answer("200 OK", "small"));
        if (announce) return c.send(answer("200 OK", file(1), {"ETag: \"a\""}));
        c.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + file(1)); // how much comes, nobody knows before
        c.close();
    });
    testing::FaultRow row("F14");
    for (const bool announced : {true, false}) {
        testing::FaultRow::Trial trial(row);
        trial.injected = 1;
        announce = announced;
        const std::string script = own + " && \"$0\" fetch -j1 -d " + (folder / "d") + " " + server.url("/large") +
                                   " " + server.url("/small") + "; echo status $?; ls " + (folder / "d");
        const subprocess::CompletedProcess ran =
            subprocess::run({"unshare", "-rm", "sh", "-c", script, sennit_program}, {.capture_output = true});
        EXPECT_EQ(ran.std_out, "status 1\nsmall\n") << ran.std_err;
        EXPECT_THAT(ran.std_err, HasSubstr("the disk is full: there is no room for "));
        EXPECT_EQ(split(ran.std_err).size(), 1U) << ran.std_err;
    }
}

TEST(F14FetchDisk, a_file_beyond_the_limit_of_the_process_is_told_and_its_beginning_kept) {
    TestServer server([](const Request& r, Client& c) {
        if (r.path == "/small") return c.send(answer("200 OK", "small"));
        if (r.path == "/large") return answer_well(r, c, file(1), "\"a\"");
        c.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + file(1));
        c.close();
    });
    testing::FaultRow row("F14");
    testing::Random random(testing::seed());
    for (int n = testing::by_tier(1, 18, 90); n > 0; --n) {
        const Folder folder;
        testing::FaultRow::Trial trial(row);
        trial.injected = 2;
        const std::uint64_t blocks = 40 + random.below(3'800); // of 512 bytes: somewhere in the file
        SCOPED_TRACE(blocks);
        const subprocess::CompletedProcess ran = subprocess::run(
            {"sh", "-c", "ulimit -f " + std::to_string(blocks) + "; exec \"$@\"", "sh", sennit_program, "fetch", "-d",
             folder.path(), server.url("/large"), server.url("/endless"), server.url("/small")},
            {.capture_output = true});
        EXPECT_EQ(ran.returncode, 2) << ran.std_err;
        EXPECT_THAT(ran.std_err, HasSubstr("ulimit -f"));
        EXPECT_EQ(split(ran.std_err).size(), 2U) << ran.std_err;
        const auto kept = ElementsAre("large.part", "large.part-info", "small");
        if (blocks > 512) // a piece
            EXPECT_THAT(names_in(folder.path()), kept);
        else // a beginning so short need not be kept
            EXPECT_THAT(names_in(folder.path()), ::testing::AnyOf(kept, ElementsAre("small")));
        EXPECT_EQ(run_fetch({"-d", folder.path(), "--resume", server.url("/large")}).status, 0);
        EXPECT_TRUE(content(folder / "large") == file(1));
    }
}

TEST(FetchFaults, a_folder_that_cannot_be_written_is_told_for_each_file) {
    const Folder folder;
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", "x")); });
    std::ofstream(folder / "file") << "x";
    const Ran ran = run_fetch({"-d", folder / "file/d", server.url("/f")});
    EXPECT_EQ(ran.status, 255);
    EXPECT_THAT(ran.err, HasSubstr("cannot make the folder"));
}

TEST(FetchFaults, a_reader_of_its_output_that_goes_ends_it) {
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", "x")); });
    const Folder folder;
    std::string urls;
    for (int i = 0; i < 200; ++i) urls += server.url(path_of(i)) + '\n';
    std::ofstream(folder / "urls") << urls;
    const subprocess::CompletedProcess ran =
        subprocess::run({"sh", "-c", "{ \"$@\"; echo $? > \"$0\"; } | true", folder / "status", sennit_program, "fetch",
                         "--json", "-d", folder / "d", "-i", folder / "urls"},
                        {.capture_output = true});
    EXPECT_EQ(ran.std_err, "");
    EXPECT_EQ(content(folder / "status"), "141\n");
}

// How many at once, and in what time.
TEST(FetchLimits, at_once_and_per_host_are_kept) {
    std::atomic<int> now{0}, most{0};
    TestServer server([&](const Request&, Client& c) {
        const int n = ++now;
        for (int seen = most; seen < n && !most.compare_exchange_weak(seen, n);) {}
        for (int i = 0; i < 5; ++i) look_again();
        --now;
        c.send(answer("200 OK", "x"));
    });
    const auto most_of = [&](const std::vector<std::string>& options) {
        const Folder folder;
        most = 0;
        std::vector<std::string> args = options;
        args.insert(args.end(), {"-d", folder.path()});
        for (int i = 0; i < 40; ++i) args.push_back(server.url(path_of(i), i % 2 == 0 ? "127.0.0.1" : "localhost"));
        EXPECT_EQ(run_fetch(args).status, 0);
        return most.load();
    };
    EXPECT_LE(most_of({"-j5"}), 5);
    EXPECT_LE(most_of({"-j20", "--per-host=2"}), 4);
    EXPECT_GT(most_of({"-j20"}), 4);
}

TEST(FetchLimits, bytes_a_second_hold_for_all_together) {
    const Folder folder;
    const std::string body = some_bytes(50'000);
    TestServer server([&](const Request&, Client& c) { c.send(answer("200 OK", body)); });
    std::vector<std::string> args = {"-j4", "--limit-rate=400k", "--json", "-d", folder.path()};
    for (int i = 0; i < 8; ++i) args.push_back(server.url(path_of(i)));
    const Ran ran = run_fetch(args);
    EXPECT_EQ(ran.status, 0) << ran.err;
    const std::size_t at = ran.out.find("\"wall_seconds\": ");
    ASSERT_NE(at, std::string::npos);
    EXPECT_GE(std::atof(ran.out.c_str() + at + 16), 0.8); // 400,000 bytes, of which the last pieces may be a debt
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(content(folder / path_of(i)) == body);
}

TEST(FetchInputs, come_from_a_pipe_as_they_are_written) {
    const Folder folder;
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", "x")); });
    Popen fetch({sennit_program, "fetch", "-d", folder.path(), "-i", "-"},
                {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE});
    fetch.std_in().write("# a comment\n\n  " + server.url("/a") + " \r\n");
    while (!std::filesystem::exists(folder / "a")) look_again(); // while the pipe is open
    const auto [out, err] = fetch.communicate(server.url("/b") + "\n" + server.url("/b"));
    EXPECT_EQ(fetch.returncode(), 0) << err;
    EXPECT_THAT(names_in(folder.path()), ElementsAre("a", "b", "b-2"));
}

TEST(FetchInputs, are_only_shown_by_a_dry_run) {
    const Folder folder;
    const Ran ran =
        run_fetch({"--dry-run", "-d", folder / "d", "http://me:secret@h/a%20b?c", "http://h/a%20b", "nonsense"});
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(ran.out, "http://h/a%20b?c\t" + (folder / "d/a b") + "\nhttp://h/a%20b\t" + (folder / "d/a b-2") + "\n");
    EXPECT_THAT(names_in(folder.path()), ElementsAre());
}

} // namespace
} // namespace sennit::tools
