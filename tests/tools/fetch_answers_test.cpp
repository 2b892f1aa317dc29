// `sennit fetch` and servers that misbehave: F43 of the guarantees. Whatever they answer, a file is there byte for byte or it is
// not, and there is a sentence and an exit status that tell so.
#include "fetch_run.hpp"

#include "support/watchdog.hpp"

#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using sennit::testing::Watchdog;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Request = TestServer::Request;
using Client = TestServer::Client;

const std::string whole = some_bytes(700'000), changed = some_bytes(650'000, 2);

std::string range_of(std::size_t from, std::size_t last, std::size_t length) {
    return "Content-Range: bytes " + std::to_string(from) + "-" + std::to_string(last) + "/" + std::to_string(length);
}

// Half of the file and then no more; what comes next is up to the test.
void send_half(Client& client, const std::vector<std::string>& headers = {"ETag: \"a\""}) {
    client.send(head("200 OK", whole.size(), headers));
    client.send(std::string_view(whole).substr(0, whole.size() / 2));
    client.close();
}

struct Case {
    const char* name;
    TestServer::Handler handler;
    bool ok;
    std::string text; // of the sentence; of the right content if ok
    std::vector<std::string> options = {};
    int requests = -1; // that it takes; -1: any
};

// Answers that are wrong when they come for the rest of a file, and what is right then: the whole file, from the beginning.
TestServer::Handler wrong_rest(std::function<void(const Request&, Client&)> rest) {
    return [rest = std::move(rest)](const Request& r, Client& c) {
        if (r.number == 1) return send_half(c);
        if (!r.header("range").empty()) return rest(r, c);
        c.send(answer("200 OK", whole, {"ETag: \"a\""}));
    };
}

std::vector<Case> cases() {
    const std::size_t n = whole.size();
    return {
        {"a body that is too short", [](const Request&, Client& c) { send_half(c); }, false, "ended before its end"},
        {"a body that is too long",
         [](const Request&, Client& c) {
             c.send(head("200 OK", 1000) + whole.substr(0, 3000));
             c.close();
         },
         true, whole.substr(0, 1000)},
        {"the rest, as it should be",
         [](const Request& r, Client& c) { r.number == 1 ? send_half(c) : answer_well(r, c, whole, "\"a\""); },
         true,
         whole,
         {"--retries=1"},
         2},
        {"200 to a range",
         wrong_rest([](const Request&, Client& c) { c.send(answer("200 OK", whole, {"ETag: \"a\""})); }),
         true,
         whole,
         {"--retries=1"},
         2},
        {"a rest that begins elsewhere",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from() + 1),
                           {"ETag: \"a\"", range_of(r.from() + 1, n - 1, n)}));
         }),
         true,
         whole,
         {"--retries=1"},
         3},
        {"a rest that ends elsewhere",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from(), 10),
                           {"ETag: \"a\"", range_of(r.from(), r.from() + 9, n)}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest of another length",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from()),
                           {"ETag: \"a\"", range_of(r.from(), n - 1, n + 1)}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest of unknown length",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from()),
                           {"ETag: \"a\"",
                            "Content-Range: bytes " + std::to_string(r.from()) + "-" + std::to_string(n - 1) + "/*"}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest whose two lengths differ",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from(), 5),
                           {"ETag: \"a\"", range_of(r.from(), n - 1, n)}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"206 without Content-Range",
         wrong_rest([](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from()), {"ETag: \"a\""}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest in several parts",
         wrong_rest([](const Request&, Client& c) {
             c.send(answer("206 Partial Content", "--x\r\n",
                           {"ETag: \"a\"", "Content-Type: multipart/byteranges; boundary=x"}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest under another ETag",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", std::string(n - r.from(), 'z'),
                           {"ETag: \"b\"", range_of(r.from(), n - 1, n)}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest under no ETag",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", std::string(n - r.from(), 'z'), {range_of(r.from(), n - 1, n)}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest that is packed",
         wrong_rest([n](const Request& r, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(r.from()),
                           {"ETag: \"a\"", "Content-Encoding: gzip", range_of(r.from(), n - 1, n)}));
         }),
         true,
         whole,
         {"--retries=1"}},
        {"a rest with more than it announces",
         wrong_rest([n](const Request& r, Client& c) {
             char size[32];
             std::snprintf(size, sizeof size, "%zx\r\n", n - r.from() + 5);
             c.send("HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n" +
                    range_of(r.from(), n - 1, n) + "\r\n\r\n" + size + whole.substr(r.from()) + "extra\r\n0\r\n\r\n");
         }),
         false,
         "more bytes came than",
         {"--retries=1"}},
        {"416 to a range",
         wrong_rest([](const Request&, Client& c) { c.send(answer("416 Range Not Satisfiable", "no")); }),
         true,
         whole,
         {"--retries=1"}},
        {"a file that has changed",
         [](const Request& r, Client& c) { r.number == 1 ? send_half(c) : answer_well(r, c, changed, "\"b\""); },
         true,
         changed,
         {"--retries=1"},
         2},
        {"a weak ETag, which promises nothing",
         [](const Request& r, Client& c) {
             if (r.number == 1) return send_half(c, {"ETag: W/\"a\""});
             c.send(r.header("range").empty() ? answer("200 OK", changed) : answer("400 Bad Request", ""));
         },
         true,
         changed,
         {"--retries=1"}},
        {"206 to who wants all",
         [n](const Request&, Client& c) {
             c.send(answer("206 Partial Content", whole.substr(5), {range_of(5, n - 1, n)}));
         },
         false, "though all was asked for"},
        {"chunks that are cut",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nabc");
             c.close();
         },
         false, "ended before its end"},
        {"no last chunk",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
             c.close();
         },
         false, "ended before its end"},
        {"chunks without a size",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nabc");
             c.close();
         },
         false, "chunk"},
        {"a reset in the middle",
         [](const Request&, Client& c) {
             send_half(c);
             c.reset();
         },
         false, ""},
        {"a reset before the answer", [](const Request&, Client& c) { c.reset(); }, false, ""},
        {"an end before the answer", [](const Request&, Client& c) { c.close(); }, false, "without an answer"},
        {"a reset, and then the rest",
         [](const Request& r, Client& c) {
             if (r.number < 3)
                 c.reset();
             else
                 answer_well(r, c, whole, "\"a\"");
         },
         true,
         whole,
         {"--retries=2"},
         3},
        {"silence after the head",
         [](const Request&, Client& c) {
             c.send(head("200 OK", 1000) + "abc");
             c.wait_until_gone();
         },
         false,
         "nothing has come for",
         {"--stall=200ms"}},
        {"silence",
         [](const Request&, Client& c) { c.wait_until_gone(); },
         false,
         "took too long",
         {"--timeout=200ms"}},
        {"a drip that never stops",
         [](const Request&, Client& c) {
             c.send(head("200 OK", 1'000'000'000));
             while (!c.gone()) {
                 c.send("x");
                 look_again();
             }
         },
         false,
         "took too long",
         {"--timeout=300ms"}},
        {"redirects without end",
         [](const Request& r, Client& c) { c.send(answer("302 Found", "", {"Location: " + r.path + "x"})); },
         false,
         "more than 10 redirects",
         {},
         11},
        {"a redirect to a file of ours",
         [](const Request&, Client& c) { c.send(answer("302 Found", "", {"Location: file:///etc/passwd"})); }, false,
         "only https:// and http://"},
        {"a redirect to nowhere", [](const Request&, Client& c) { c.send(answer("301 Moved", "")); }, false,
         "does not say where to"},
        {"a redirect to nonsense",
         [](const Request&, Client& c) { c.send(answer("302 Found", "", {"Location: http://[::1"})); }, false,
         "a redirect to http://[::1"},
        {"a redirect, and then the file",
         [](const Request& r, Client& c) {
             c.send(r.path == "/elsewhere" ? answer("200 OK", whole)
                                           : answer("307 Temporary Redirect", "moved", {"Location: elsewhere"}));
         },
         true,
         whole,
         {},
         2},
        {"404",
         [](const Request&, Client& c) { c.send(answer("404 Not Found", "no such thing")); },
         false,
         "404 Not Found",
         {"--retries=3"},
         1},
        {"404 with a page without end",
         [](const Request&, Client& c) {
             c.send(head("404 Not Found", 1'000'000'000));
             while (!c.gone()) c.send(whole);
         },
         false, "404 Not Found"},
        {"500, and then the file",
         [](const Request& r, Client& c) { c.send(r.number == 1 ? answer("500 Oops", "") : answer("200 OK", whole)); },
         true,
         whole,
         {"--retries=1"},
         2},
        {"500 each time",
         [](const Request&, Client& c) { c.send(answer("500 Oops", "")); },
         false,
         "500 Oops (3 attempts)",
         {"--retries=2"},
         3},
        {"503 for a year",
         [](const Request&, Client& c) { c.send(answer("503 Busy", "", {"Retry-After: 31536000"})); },
         false,
         "come back after 31536000 s",
         {"--retries=5"},
         1},
        {"503 for a moment",
         [](const Request& r, Client& c) {
             c.send(r.number == 1 ? answer("503 Busy", "", {"Retry-After: 0"}) : answer("200 OK", whole));
         },
         true,
         whole,
         {"--retries=1"},
         2},
        {"204", [](const Request&, Client& c) { c.send("HTTP/1.1 204 No Content\r\n\r\n"); }, false, "not a file"},
        {"gzip that is none",
         [](const Request&, Client& c) { c.send(answer("200 OK", "not packed at all", {"Content-Encoding: gzip"})); },
         false,
         "",
         {"--compressed"}},
        {"gzip that nobody asked for",
         [](const Request&, Client& c) { c.send(answer("200 OK", whole, {"Content-Encoding: gzip"})); }, true, whole},
        {"a head without end",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\n");
             for (int i = 0; i < 1000 && !c.gone(); ++i)
                 c.send("X-" + std::to_string(i) + ": " + std::string(1000, 'x') + "\r\n");
             c.close();
         },
         false, "256 KiB"},
        {"a line of a head without end",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\nX: ");
             for (int i = 0; i < 1000 && !c.gone(); ++i) c.send(std::string(1000, 'x'));
             c.close();
         },
         false, ""},
        {"hints without end",
         [](const Request&, Client& c) {
             while (!c.gone()) c.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
         },
         false, "256 KiB"},
        {"no HTTP at all",
         [](const Request&, Client& c) {
             c.send("SSH-2.0-OpenSSH_9.2\r\n");
             c.close();
         },
         false, "does not speak HTTP"},
        {"two lengths",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef");
         },
         false, "contradicts itself"},
        {"a negative length",
         [](const Request&, Client& c) { c.send("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabcdef"); }, false, ""},
        {"a length beyond all disks",
         [](const Request&, Client& c) {
             c.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nabc");
             c.close();
         },
         false, ""},
        {"an empty file", [](const Request&, Client& c) { c.send(answer("200 OK", "")); }, true, ""},
        {"HTTP/1.0, the end of which is the end",
         [](const Request&, Client& c) {
             c.send("HTTP/1.0 200 OK\r\n\r\nabc");
             c.close();
         },
         true, "abc"},
    };
}

// F43, tier 1: each once.
TEST(F43FetchAnswers, leave_the_whole_file_or_none_and_a_sentence) {
    for (int round = 0; round < by_tier(1, 5, 20); ++round)
        for (const Case& one : cases()) {
            SCOPED_TRACE(one.name);
            Watchdog::kick();
            const Folder folder;
            TestServer server(one.handler);
            std::vector<std::string> args = {"-d", folder.path(), "--retry-delay=1ms"};
            args.insert(args.end(), one.options.begin(), one.options.end());
            if (std::none_of(args.begin(), args.end(), [](const std::string& a) { return a.starts_with("--retries"); }))
                args.emplace_back("--retries=0");
            args.push_back(server.url("/f.bin"));
            const Ran ran = run_fetch(args);
            EXPECT_EQ(ran.status, one.ok ? 0 : 1) << ran.err;
            EXPECT_EQ(std::filesystem::exists(folder / "f.bin"), one.ok) << ran.err;
            EXPECT_EQ(ran.out, "");
            if (one.ok) {
                EXPECT_TRUE(content(folder / "f.bin") == one.text);
                EXPECT_EQ(ran.err, "");
                EXPECT_THAT(names_in(folder.path()), ElementsAre("f.bin"));
            } else {
                EXPECT_THAT(ran.err, HasSubstr(one.text));
                EXPECT_EQ(split(ran.err).size(), 1U) << ran.err;
                EXPECT_THAT(ran.err, HasSubstr(server.url("/f.bin")));
            }
            if (one.requests >= 0) {
                EXPECT_EQ(server.requests(), one.requests);
            }
        }
}

TEST(F43FetchAnswers, what_was_kept_is_gone_on_with_and_not_fetched_again) {
    const Folder folder;
    TestServer server(
        [](const Request& r, Client& c) { r.number == 1 ? send_half(c) : answer_well(r, c, whole, "\"a\""); });
    const std::vector<std::string> args = {"-d", folder.path(), "--retries=0", "--resume", server.url("/f.bin")};
    const Ran first = run_fetch(args);
    EXPECT_EQ(first.status, 1);
    EXPECT_THAT(first.err, HasSubstr("341.8 KiB are kept: --resume goes on from there"));
    EXPECT_THAT(names_in(folder.path()), ElementsAre("f.bin.part", "f.bin.part-info"));
    const std::int64_t before = server.sent();
    EXPECT_EQ(run_fetch(args).status, 0);
    EXPECT_LT(server.sent() - before, static_cast<std::int64_t>(whole.size() / 2) + 1000);
    EXPECT_TRUE(content(folder / "f.bin") == whole);
    EXPECT_THAT(names_in(folder.path()), ElementsAre("f.bin"));
    const int requests = server.requests();
    EXPECT_EQ(run_fetch(args).status, 0); // it is there
    EXPECT_EQ(server.requests(), requests);
}

TEST(F43FetchAnswers, a_part_that_was_tampered_with_does_not_pass_the_checksum_and_is_fetched_again) {
    const Folder folder;
    TestServer server(
        [](const Request& r, Client& c) { r.number == 1 ? send_half(c) : answer_well(r, c, whole, "\"a\""); });
    std::ofstream(folder / "whole") << whole;
    const std::string hash = subprocess::check_output({"sha256sum", folder / "whole"}).substr(0, 64);
    std::ofstream(folder / "sums") << hash << "  f.bin\n";
    const std::vector<std::string> args = {"-d",       folder / "d",    "--retries=0",       "--resume",
                                           "--sha256", folder / "sums", server.url("/f.bin")};
    EXPECT_EQ(run_fetch(args).status, 1);
    std::fstream(folder / "d/f.bin.part", std::ios::in | std::ios::out | std::ios::binary) << "tampered";
    const Ran ran = run_fetch(args);
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_TRUE(content(folder / "d/f.bin") == whole);
}

TEST(F43FetchAnswers, a_wrong_or_missing_checksum_leaves_no_file) {
    const Folder folder;
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", whole)); });
    std::ofstream(folder / "sums") << std::string(64, 'a') << "  f.bin\n";
    const Ran wrong = run_fetch({"-d", folder / "d", "--sha256", folder / "sums", server.url("/f.bin")});
    EXPECT_EQ(wrong.status, 1);
    EXPECT_THAT(wrong.err, HasSubstr("its SHA-256 is "));
    const Ran missing = run_fetch({"-d", folder / "d", "--sha256", folder / "sums", server.url("/g.bin")});
    EXPECT_EQ(missing.status, 1);
    EXPECT_THAT(missing.err, HasSubstr("no line for g.bin"));
    EXPECT_EQ(server.requests(), 1);
    EXPECT_THAT(names_in(folder / "d"), ElementsAre());
}

TEST(F43FetchAnswers, credentials_go_to_their_own_host_only) {
    const Folder folder;
    TestServer other([](const Request&, Client& c) { c.send(answer("200 OK", "x")); });
    TestServer first(
        [&](const Request&, Client& c) { c.send(answer("302 Found", "", {"Location: " + other.url("/x")})); });
    std::string url = first.url("/f");
    url.insert(url.find("//") + 2, "me:secret@");
    const Ran ran = run_fetch({"-d", folder.path(), "--header", "Authorization: Bearer secret", "--header",
                               "X-Api-Key: secret", "--header", "Cookie: secret", "--header", "Accept: text/plain",
                               "--json", url, "ftp://me:secret@h/x"});
    EXPECT_EQ(ran.status, 1) << ran.err;
    EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("secret")));
    EXPECT_EQ(first.log().at(0).header("x-api-key"), "secret");
    EXPECT_EQ(first.log().at(0).header("cookie"), "secret");
    const Request seen = other.log().at(0);
    for (const auto& [name, value] : seen.headers) EXPECT_THAT(value, Not(HasSubstr("secret"))) << name;
    EXPECT_EQ(seen.header("authorization"), "");
    EXPECT_EQ(seen.header("accept"), "text/plain");
    EXPECT_EQ(content(folder / "f"), "x");
}

TEST(F43FetchAnswers, a_user_and_password_of_the_url_are_sent) {
    const Folder folder;
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", "x")); });
    std::string url = server.url("/f");
    url.insert(url.find("//") + 2, "me:s%40cret@");
    EXPECT_EQ(run_fetch({"-d", folder.path(), url}).status, 0);
    EXPECT_EQ(server.log().at(0).header("authorization"), "Basic bWU6c0BjcmV0");
}

// F43: names of URLs.
TEST(F43FetchNames, a_hundred_hostile_urls_write_nothing_but_plain_files_in_the_folder) {
    const Folder folder;
    std::filesystem::create_directory(folder / "d");
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", "x")); });
    const std::string base = server.url("");
    std::string list;
    int urls = 0;
    const auto add = [&](const std::string& url) {
        list += url;
        list += '\0';
        ++urls;
    };
    for (const char* path : {"/..",          "/../../x",
                             "/%2e%2e",      "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
                             "/..%2f..%2fx", "/a/%2e%2e/%2e%2e/x",
                             "/.",           "/.ssh",
                             "/%00",         "/a%00b",
                             "/-rf",         "/--help",
                             "/%2d%2drm",    "/~",
                             "/a%0ab",       "/%1b%5b2J",
                             "/%e2%80%ae",   "/%c2%9b",
                             "/%ff%fe",      "/%c0%ae%c0%ae/",
                             "/a%5cb",       "/a\\b",
                             "/...",         "/ ",
                             "/%20",         "/x.part",
                             "/x",           "/x.part-info",
                             "/CON",         "/$(id)",
                             "/`id`",        "/;id",
                             "/|id",         "/&",
                             "/<script>",    "/'",
                             "/\"",          "/*",
                             "/?",           "/#",
                             "/%",           "/%zz",
                             "/%2",          "/a?../../x",
                             "/a#../../x",   "//x",
                             "///",          "/%2f",
                             "/%2f%2f",      "/%5c..%5c",
                             "/\xc3\xa9",    "/\xff"})
        add(base + path);
    for (const char* url : {"file:///etc/passwd",
                            "ftp://127.0.0.1/x",
                            "gopher://127.0.0.1/x",
                            "dict://127.0.0.1/x",
                            "ldap://h/",
                            "tftp://h/x",
                            "smb://h/x",
                            "scp://h/x",
                            "telnet://h",
                            "mqtt://h/x",
                            "rtsp://h/x",
                            "javascript:alert(1)",
                            "data:text/plain,x",
                            "about:blank",
                            "mailto:x@y",
                            "http:",
                            "http:/",
                            "://",
                            "/etc/passwd",
                            "x",
                            "-o",
                            "http://[::1",
                            "http://[x]/",
                            "http://127.0.0.1:99999/",
                            "http://127.0.0.1:-1/",
                            "http://127.0.0.1:x/",
                            "http://a b/",
                            "http://%00/",
                            "http://\x01/",
                            "http://h/\r\nHost: evil",
                            "http://h/\x1b[2J",
                            "http://u%0a@h/",
                            "view-source:http://h"})
        add(url);
    for (const std::size_t length : {200U, 230U, 240U, 255U, 256U, 1000U, 4000U}) {
        add(base + "/" + std::string(length, 'y'));
        add(base + "/" + std::string(length, 'y') + ".tar.gz");
    }
    add("http://h/" + std::string(100'000, 'z'));
    ASSERT_GE(urls, 100);
    const Ran ran = run_fetch(
        {"-j16", "-0", "-i", "-", "-d", folder / "d", "--retries=0", "--json", "--timeline", folder / "t.html"}, list);
    const std::vector<std::string> files = names_in(folder / "d");
    EXPECT_THAT(names_in(folder.path()), ElementsAre("d", "t.html"));
    EXPECT_GT(ran.status, 20);
    EXPECT_EQ(static_cast<int>(files.size()) + ran.status, urls) << ran.err;
    for (const std::string& name : files) {
        EXPECT_TRUE(std::filesystem::is_regular_file(std::filesystem::symlink_status(folder / ("d/" + name)))) << name;
        EXPECT_TRUE(name.front() != '-' && name.front() != '.') << name;
        EXPECT_EQ(content(folder / ("d/" + name)), "x") << name;
    }
    const std::string page = content(folder / "t.html");
    for (const std::string& text : {ran.out, ran.err, page}) EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    EXPECT_THAT(page, Not(HasSubstr("<script>/")));
    EXPECT_THAT(ran.out, Not(HasSubstr("root:")));
}

TEST(F43FetchNames, what_is_there_is_never_lost_and_links_are_not_followed) {
    const Folder folder;
    TestServer server([](const Request&, Client& c) {
        c.send(answer("200 OK", "new", {"Content-Disposition: attachment; filename=\"../x\""}));
    });
    std::ofstream(folder / "f") << "old";
    const Ran refused = run_fetch({"-d", folder.path(), server.url("/f")});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr("--overwrite replaces it"));
    EXPECT_EQ(content(folder / "f"), "old");
    EXPECT_EQ(run_fetch({"-d", folder.path(), "--resume", server.url("/f")}).status, 0);
    EXPECT_EQ(content(folder / "f"), "old");
    EXPECT_EQ(run_fetch({"-d", folder.path(), "--overwrite", server.url("/f")}).status, 0);
    EXPECT_EQ(content(folder / "f"), "new");

    std::filesystem::create_symlink("f", folder / "link");
    std::filesystem::create_symlink("f", folder / "g.part");
    std::ofstream(folder / "f") << "old";
    EXPECT_EQ(run_fetch({"-d", folder.path(), server.url("/link"), server.url("/g")}).status, 2);
    EXPECT_EQ(run_fetch({"-d", folder.path(), "--overwrite", server.url("/link")}).status, 0);
    EXPECT_EQ(content(folder / "f"), "old");
    EXPECT_EQ(content(folder / "link"), "new");

    const Ran named = run_fetch({"-d", folder / "n", "--content-disposition", server.url("/h")});
    EXPECT_EQ(named.status, 0) << named.err;
    EXPECT_THAT(names_in(folder / "n"), ElementsAre("%2E.%2Fx"));
    EXPECT_EQ(run_fetch({"-o", folder / "n/sub/name", server.url("/h")}).status, 0);
    EXPECT_EQ(content(folder / "n/sub/name"), "new");
}

// F43: certificates.
TEST(F43FetchNames, what_is_there_is_never_fetched_however_many_others_are) {
    const Folder folder;
    std::atomic<int> asked_for_it{0};
    TestServer server([&](const Request& r, Client& c) {
        if (r.path == "/there") ++asked_for_it;
        c.send(answer("200 OK", "new"));
    });
    std::ofstream(folder / "there") << "mine";
    std::vector<std::string> args = {"-j8", "-d", folder.path()};
    for (int i = 0; i < 300; ++i) args.push_back(server.url("/n" + std::to_string(i)));
    args.push_back(server.url("/there"));
    const Ran ran = run_fetch(args);
    EXPECT_EQ(ran.status, 1) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("is there: --resume passes over it"));
    EXPECT_EQ(asked_for_it, 0);
    EXPECT_EQ(content(folder / "there"), "mine");
    EXPECT_EQ(names_in(folder.path()).size(), 301U);
}

TEST(F43FetchCertificates, that_are_bad_are_refused_and_only_they) {
    const auto make = [](const std::function<void(IdentityWish&)>& change, const Identity* issuer) {
        IdentityWish wish;
        wish.issuer = issuer;
        change(wish);
        return make_identity(wish);
    };
    const auto authority = [&](const std::string& name, const Identity* issuer,
                               const std::function<void(IdentityWish&)>& change) {
        return make(
            [&](IdentityWish& w) {
                w.common_name = name;
                w.authority = true;
                change(w);
            },
            issuer);
    };
    const auto plain = [](IdentityWish&) {};
    const Identity root = authority("root", nullptr, plain), stranger = authority("root", nullptr, plain),
                   old = authority("old", nullptr, [](IdentityWish&w) { w.from_days = -20, w.to_days = -10; }),
                   narrow = authority("narrow", &root, [](IdentityWish&w) { w.path_length = 0; }),
                   deep = authority("deep", &narrow, plain), no_authority = make(plain, &root);
    const auto with_chain = [](Identity identity, const std::string& chain) {
        identity.chain = chain;
        return identity;
    };
    const Folder folder;
    std::ofstream(folder / "ca.pem") << root.certificate << old.certificate;
    struct One {
        const char* name;
        Identity identity;
        bool good = false;
        const char* host = "127.0.0.1";
    };
    const std::vector<One> all = {
        {"a good one", make(plain, &root), true},
        {"a good one, by name", make([](IdentityWish& w) { w.names = "DNS:localhost"; }, &root), true, "localhost"},
        {"one that has ended", make([](IdentityWish& w) { w.from_days = -10, w.to_days = -1; }, &root)},
        {"one that has not begun", make([](IdentityWish& w) { w.from_days = 1; }, &root)},
        {"one signed by itself", make(plain, nullptr)},
        {"one of an unknown authority of the same name", make(plain, &stranger)},
        {"one for another host", make([](IdentityWish& w) { w.common_name = "x", w.names = "DNS:example.org"; }, &root),
         false, "localhost"},
        {"one for another address",
         make([](IdentityWish& w) { w.common_name = "x", w.names = "IP:127.0.0.2"; }, &root)},
        {"one for all hosts", make([](IdentityWish& w) { w.common_name = "x", w.names = "DNS:*"; }, &root), false,
         "localhost"},
        {"one for clients", make([](IdentityWish& w) { w.usage = "clientAuth"; }, &root)},
        {"one with a key that is too short", make([](IdentityWish& w) { w.rsa_bits = 1024; }, &root)},
        {"one signed with SHA-1", make([](IdentityWish& w) { w.sha1 = true; }, &root)},
        {"one that was changed after it was signed", make([](IdentityWish& w) { w.tampered = true; }, &root)},
        {"one of an authority that has ended", make(plain, &old)},
        {"one of who is no authority", with_chain(make(plain, &no_authority), no_authority.certificate)},
        {"one too far from its root", with_chain(make(plain, &deep), deep.certificate + narrow.certificate)},
    };
    for (const One& one : all) {
        SCOPED_TRACE(one.name);
        Watchdog::kick();
        std::filesystem::remove_all(folder / "d");
        TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", whole)); }, &one.identity);
        const std::string url = server.url("/f.bin", one.host);
        const Ran ran = run_fetch({"-d", folder / "d", "--retries=0", "--cacert", folder / "ca.pem", url});
        EXPECT_EQ(ran.status, one.good ? 0 : 1) << ran.err;
        EXPECT_EQ(server.requests(), one.good ? 1 : 0); // not even the request was sent
        if (one.good) {
            EXPECT_TRUE(content(folder / "d/f.bin") == whole);
            continue;
        }
        EXPECT_THAT(ran.err, HasSubstr("certificate")) << ran.err;
        EXPECT_THAT(names_in(folder / "d"), ElementsAre());
    }

    // Without --cacert nobody here is known; with --insecure anybody is, and that is told.
    const Identity good = make(plain, &root);
    TestServer server([](const Request&, Client& c) { c.send(answer("200 OK", whole)); }, &good);
    EXPECT_EQ(run_fetch({"-d", folder / "e", "--retries=0", server.url("/f.bin")}).status, 1);
    const Ran insecure = run_fetch({"-d", folder / "e", "-q", "--insecure", server.url("/f.bin")});
    EXPECT_EQ(insecure.status, 0);
    EXPECT_THAT(insecure.err, HasSubstr("--insecure: who the servers are is not checked"));

    TestServer old_tls([](const Request&, Client& c) { c.send(answer("200 OK", whole)); }, &good, "1.1");
    const Ran refused = run_fetch({"-d", folder / "e", "--retries=0", "--insecure", old_tls.url("/g.bin")});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr("no secure connection"));

    TestServer downgrade(
        [](const Request&, Client& c) { c.send(answer("302 Found", "", {"Location: http://127.0.0.1:1/x"})); }, &good);
    const Ran plain_text =
        run_fetch({"-d", folder / "e", "--retries=0", "--cacert", folder / "ca.pem", downgrade.url("/h.bin")});
    EXPECT_EQ(plain_text.status, 1);
    EXPECT_THAT(plain_text.err, HasSubstr("from https to plain http is not followed"));
    EXPECT_THAT(names_in(folder / "e"), ElementsAre("f.bin"));
}

} // namespace
} // namespace sennit::tools
