#include "tools/fetch/content_range.hpp"

#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

TEST(ContentRange, reads_what_is_exactly_one_range) {
    const auto range = parse_content_range("bytes 5-9/10");
    ASSERT_TRUE(range);
    EXPECT_EQ(range->first, 5);
    EXPECT_EQ(range->last, 9);
    EXPECT_EQ(range->length, 10);
    EXPECT_EQ(parse_content_range("Bytes 0-0/*")->length, -1);
}
TEST(ContentRange, refuses_everything_else) {
    for (const char* text : {"",
                             "bytes",
                             "bytes ",
                             "bytes */10",
                             "bytes 5-9",
                             "bytes 5-9/",
                             "bytes 9-5/10",
                             "bytes 5-10/10",
                             "bytes -5-9/10",
                             "bytes 5--9/10",
                             "bytes +5-9/10",
                             "bytes 5-9/10 ",
                             "bytes  5-9/10",
                             "bytes=5-9/10",
                             "lines 5-9/10",
                             "bytes 5-9/10, 1-2/10",
                             "bytes 99999999999999999999-9/10",
                             "bytes 5-9/99999999999999999999",
                             "bytes 0x5-9/10",
                             "bytes 5-9/-1"})
        EXPECT_FALSE(parse_content_range(text)) << text;
}
TEST(ContentRange, knows_strong_etags) {
    EXPECT_TRUE(is_strong_etag("\"a-1\""));
    for (const char* text : {"", "\"", "\"\"", "W/\"a\"", "a", "\"a", "a\"", "\"a\"b\"", "\"a b\"", "\"a\nb\""})
        EXPECT_FALSE(is_strong_etag(text)) << text;
}

} // namespace
} // namespace sennit::tools
