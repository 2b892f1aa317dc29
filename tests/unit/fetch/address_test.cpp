#include "tools/fetch/address.hpp"

#include <sennit/base/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Address, keeps_user_and_password_apart_from_the_url) {
    const Address a = Address::parse("HTTPS://me:s%40cret@Example.ORG:8443/x/../a%20b?q=1#part");
    EXPECT_EQ(a.url, "https://Example.ORG:8443/a%20b?q=1");
    EXPECT_EQ(a.origin, "https://example.org:8443");
    EXPECT_EQ(a.user, "me");
    EXPECT_EQ(a.password, "s@cret");
    EXPECT_EQ(a.path, "/a%20b");
    EXPECT_EQ(Address::parse("http://h/").origin, "http://h:80");
    EXPECT_FALSE(Address::parse("http://h/").has_user);
}
TEST(Address, resolves_what_is_relative_to_a_base) {
    EXPECT_EQ(Address::parse("../c?x", "https://h/a/b/").url, "https://h/a/c?x");
    EXPECT_EQ(Address::parse("//other/c", "https://h/a/b").url, "https://other/c");
    EXPECT_EQ(Address::parse("/", "https://h:1/a/b").url, "https://h:1/");
}
TEST(Address, of_the_same_server_is_taken_apart_alike_however_many_came_before) {
    const auto all_of = [](const Address& a) {
        return a.url + " " + a.scheme + " " + a.host + " " + a.origin + " " + a.path + " " + a.user + " " + a.password +
               (a.has_user ? " user" : "");
    };
    const auto taken_anew = [&](const std::string& text) {
        Address::parse("http://another.example/x");
        return all_of(Address::parse(text));
    };
    for (const std::string server : {"http://h", "HTTP://Example.ORG:80", "https://127.1:8443", "http://h:1",
                                     "http://h:12", "http://me:pw@h", "http://[::1]:7", "https://h"})
        for (const std::string path : {"/",       "/a",    "/a/b-c_d.tar.gz",
                                       "/a/",     "/..b",  "/a..b",
                                       "/a/../b", "/./a",  "//a",
                                       "/a//b",   "/a/.b", "/a%41",
                                       "/a b",    "/a?q",  "/a#f",
                                       "/a@b",    "/a:1",  "/\xc3\xa4",
                                       "/a;b",    "/~a",   "?q",
                                       "#f",      ""}) {
            const std::string wanted = taken_anew(server + path);
            Address::parse(server + "/first/one.txt");
            EXPECT_EQ(all_of(Address::parse(server + path)), wanted);
            EXPECT_EQ(all_of(Address::parse(server + path)), wanted);
        }
    Address::parse("http://h:1/x");
    EXPECT_EQ(Address::parse("http://h:12/x").origin, "http://h:12");
    EXPECT_THROW(Address::parse("http://h:1:/x"), UsageError);
    EXPECT_EQ(Address::parse("/y", "http://h:2/x").url, "http://h:2/y");
}
TEST(Address, is_only_http_and_https) {
    for (const char* text : {"",
                             "example.org",
                             "file:///etc/passwd",
                             "ftp://h/x",
                             "javascript:alert(1)",
                             "data:,x",
                             "https://",

                             "http://[::1",
                             "http://h:99999/",
                             "http://h:x/",
                             "http://a b/",
                             "gopher://h/",
                             "\x01",
                             "http://h/\n",
                             "http://h/\r\nHost: x",
                             "://x",
                             "dict://h",
                             "ldap://h",
                             "http//h",
                             "http://u%0Au@h/",
                             "http://%00/"})
        EXPECT_THROW(Address::parse(text), UsageError) << text;
    EXPECT_THROW(Address::parse(std::string("http://h/\0", 10)), UsageError);
    EXPECT_THROW(Address::parse("http://h/" + std::string(70'000, 'x')), UsageError);
    EXPECT_THROW(Address::parse("file:///etc/passwd", "https://h/"), UsageError);
}
TEST(Address, is_shown_without_secrets_even_if_it_is_none) {
    EXPECT_EQ(shown_url("https://me:secret@h/a@b"), "https://h/a@b");
    EXPECT_THAT(shown_url("ftp://me:se@cret@h:x:y"), Not(HasSubstr("cret")));
    EXPECT_EQ(shown_url("http://h/\x1b[2J"), "http://h/\\x1b[2J");
}

} // namespace
} // namespace sennit::tools
