#include "tools/fetch/answer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

TEST(Answer, is_the_last_of_several_heads) {
    Answer a;
    for (const char* line : {"HTTP/1.1 103 Early Hints\r\n", "ETag: \"early\"\r\n", "\r\n", "HTTP/1.1 200 OK\r\n",
                             "content-LENGTH: 7\r\n", "\r\n"})
        EXPECT_TRUE(a.line(line));
    EXPECT_EQ(a.status(), 200);
    EXPECT_EQ(a.content_length(), 7);
    EXPECT_EQ(a.etag(), "");
}
TEST(Answer, trusts_only_strong_validators) {
    Answer a;
    a.line("HTTP/2 200");
    a.line("ETag: W/\"x\"");
    EXPECT_EQ(a.strong_etag(), "");
    a.line("ETag: \"x\"");
    EXPECT_EQ(a.strong_etag(), "\"x\"");
    a.line("Last-Modified: Sat, 01 Aug 2026 10:00:00 GMT");
    EXPECT_EQ(a.strong_date(), "");
    a.line("Date: Sat, 01 Aug 2026 10:00:30 GMT");
    EXPECT_EQ(a.strong_date(), "");
    a.line("Date: Sat, 01 Aug 2026 10:01:00 GMT");
    EXPECT_EQ(a.strong_date(), "Sat, 01 Aug 2026 10:00:00 GMT");
    a.line("Last-Modified: yesterday, maybe");
    EXPECT_EQ(a.strong_date(), "");
}
TEST(Answer, that_contradicts_itself_or_has_no_end_is_refused) {
    Answer a;
    a.line("HTTP/1.1 200 OK");
    EXPECT_TRUE(a.line("Content-Length: 5"));
    EXPECT_TRUE(a.line("Content-Length: 5"));
    EXPECT_FALSE(a.line("Content-Length: 6"));
    Answer negative;
    EXPECT_FALSE(negative.line("Content-Length: -1"));
    EXPECT_FALSE(Answer(negative).line("Content-Length: 99999999999999999999"));
    EXPECT_FALSE(Answer(negative).line("Content-Length:"));
    Answer long_one;
    bool taken = true;
    for (int i = 0; i < 300 && taken; ++i) taken = long_one.line("X: " + std::string(1000, 'x'));
    EXPECT_FALSE(taken);
}
TEST(Answer, says_when_to_come_back) {
    Answer a;
    EXPECT_EQ(a.retry_after(0), -1);
    a.line("Retry-After: 120");
    EXPECT_EQ(a.retry_after(0), 120);
    a.line("Retry-After: Thu, 01 Jan 1970 00:10:00 GMT");
    EXPECT_EQ(a.retry_after(100), 500);
    EXPECT_EQ(a.retry_after(1000), 0);
    a.line("Retry-After: soon");
    EXPECT_EQ(a.retry_after(0), -1);
}

} // namespace
} // namespace sennit::tools
