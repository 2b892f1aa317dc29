#include <sennit/asyncio/stream_buffer.hpp>

#include <gtest/gtest.h>
#include <string>

namespace sennit::asyncio {
namespace {

using namespace std::string_literals;

TEST(StreamBuffer, gives_what_has_come_up_to_n_and_nothing_only_at_the_end) {
    StreamBuffer b;
    EXPECT_EQ(b.take_some(0), ""); // without waiting
    EXPECT_EQ(b.take_some(10), std::nullopt);
    b.feed("line1");
    b.feed("line2");
    EXPECT_EQ(b.take_some(7), "line1li");
    EXPECT_EQ(b.take_some(7), "ne2");
    EXPECT_EQ(b.take_some(7), std::nullopt);
    b.feed("x");
    b.feed_eof();
    EXPECT_FALSE(b.at_eof());
    EXPECT_EQ(b.take_some(7), "x");
    EXPECT_TRUE(b.at_eof());
    EXPECT_EQ(b.take_some(7), "");
}

TEST(StreamBuffer, gives_all_only_at_the_end) {
    StreamBuffer b(3);
    b.feed("beyond any limit");
    EXPECT_EQ(b.take_all(), std::nullopt);
    b.feed_eof();
    EXPECT_EQ(b.take_all(), "beyond any limit");
    EXPECT_EQ(b.take_all(), "");
}

TEST(StreamBuffer, gives_exactly_n_or_the_partial_data_in_the_error) {
    StreamBuffer b(4);
    EXPECT_EQ(b.take_exactly(0), "");
    b.feed("abcdef");
    EXPECT_EQ(b.take_exactly(7), std::nullopt);
    EXPECT_EQ(b.take_exactly(5), "abcde"); // more than the limit, which is for separators
    b.feed_eof();
    try {
        b.take_exactly(3);
        FAIL() << "should have thrown";
    } catch (const IncompleteReadError& e) {
        EXPECT_EQ(e.partial(), "f");
        EXPECT_EQ(e.expected(), 3U);
        EXPECT_STREQ(e.what(), "the stream ended after 1 of the 3 bytes asked for; partial() has them");
    }
    EXPECT_TRUE(b.at_eof());
}

TEST(StreamBuffer, finds_a_separator_that_comes_in_pieces) {
    StreamBuffer b;
    const Separators end("\r\n\r\n");
    StreamBuffer::Search search;
    for (const char c : "GET / HTTP/1.1\r\nHost: x\r\n\r"s) {
        b.feed({&c, 1});
        ASSERT_EQ(b.take_until(end, search), std::nullopt);
    }
    b.feed("\nbody");
    EXPECT_EQ(b.take_until(end, search), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(b.view(), "body");
}

TEST(StreamBuffer, of_several_separators_the_match_that_ends_first_counts) {
    const Separators both{"</tag>", "<br>", ">"};
    StreamBuffer b;
    StreamBuffer::Search search;
    b.feed("one<br>two</tag>");
    EXPECT_EQ(b.take_until(both, search), "one<br>");
    search = {};
    EXPECT_EQ(b.take_until({"</tag>", "ag"}, search), "two</tag"); // within the longer one
    EXPECT_THROW(Separators(""), UsageError);
    EXPECT_THROW(Separators({"a", ""}), UsageError);
    EXPECT_THROW(Separators(std::initializer_list<std::string_view>{}), UsageError);
}

TEST(StreamBuffer, an_end_before_the_separator_gives_the_partial_data_in_the_error) {
    StreamBuffer b;
    StreamBuffer::Search search;
    b.feed("some data");
    EXPECT_EQ(b.take_until("AAA", search), std::nullopt);
    b.feed_eof();
    try {
        b.take_until("AAA", search);
        FAIL() << "should have thrown";
    } catch (const IncompleteReadError& e) {
        EXPECT_EQ(e.partial(), "some data");
        EXPECT_EQ(e.expected(), std::nullopt);
    }
    EXPECT_TRUE(b.empty());
}

TEST(StreamBuffer, a_separator_beyond_the_limit_leaves_the_data_readable) {
    StreamBuffer b(7);
    StreamBuffer::Search search;
    b.feed("some data");
    try {
        b.take_until("A", search);
        FAIL() << "should have thrown";
    } catch (const LimitOverrunError& e) {
        EXPECT_EQ(e.consumed(), 9U);
    }
    b.feed("A");
    search = {};
    EXPECT_THROW(b.take_until("A", search), LimitOverrunError); // found, but too far
    EXPECT_EQ(b.take_some(9), "some data");
    search = {};
    EXPECT_EQ(b.take_until("A", search), "A");
    // Exactly at the limit is still within it.
    b.feed("1234567A");
    search = {};
    EXPECT_EQ(b.take_until("A", search), "1234567A");
}

TEST(StreamBuffer, lines_end_with_the_newline_and_the_last_one_without) {
    StreamBuffer b;
    StreamBuffer::Search search;
    b.feed("chunk1 ");
    EXPECT_EQ(b.take_line(search), std::nullopt);
    b.feed("chunk2 \n\n chunk3");
    EXPECT_EQ(b.take_line(search), "chunk1 chunk2 \n");
    search = {};
    EXPECT_EQ(b.take_line(search), "\n");
    search = {};
    EXPECT_EQ(b.take_line(search), std::nullopt);
    b.feed_eof();
    EXPECT_EQ(b.take_line(search), " chunk3");
    search = {};
    EXPECT_EQ(b.take_line(search), "");
}

TEST(StreamBuffer, a_line_beyond_the_limit_is_dropped_and_the_next_one_is_read) {
    StreamBuffer b(3);
    StreamBuffer::Search search;
    b.feed("li");
    b.feed("ne1\nline2\nab\n");
    EXPECT_THROW(b.take_line(search), LimitOverrunError);
    search = {};
    EXPECT_THROW(b.take_line(search), LimitOverrunError);
    search = {};
    EXPECT_EQ(b.take_line(search), "ab\n");
    search = {};
    b.feed("endless");
    EXPECT_THROW(b.take_line(search), LimitOverrunError);
    EXPECT_TRUE(b.empty());
    EXPECT_THROW(StreamBuffer(0), UsageError);
}

TEST(StreamBuffer, what_was_read_makes_room_and_an_empty_one_gives_its_memory_back) {
    StreamBuffer b;
    std::string sent;
    std::string got;
    for (int i = 0; i < 10'000; ++i) {
        const std::string piece(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26));
        sent += piece;
        b.feed(piece);
        if (i % 3 != 0) got += b.take(static_cast<std::size_t>(i % 101));
        ASSERT_LE(b.prepare(1).size(), 64U * 1024 + b.size()) << "the buffer grows without need at " << i;
        b.commit(0);
    }
    got += b.take(b.size());
    EXPECT_TRUE(got == sent);
    b.release_if_empty();
    b.feed("again");
    EXPECT_EQ(b.view(), "again");
    EXPECT_FALSE(b.is_full());
    b.feed(std::string(2 * default_limit, 'x'));
    EXPECT_TRUE(b.is_full());
}

TEST(StreamBuffer, room_that_is_lent_stays_where_it_is_while_the_rest_is_taken_out) {
    StreamBuffer b;
    b.feed("before ");
    const std::span<char> room = b.prepare(100);
    EXPECT_EQ(b.take_some(100), "before ");
    EXPECT_EQ(b.take_some(100), std::nullopt);
    b.release_if_empty();
    std::string_view("after").copy(room.data(), 5);
    b.commit(5);
    EXPECT_EQ(b.take_some(100), "after");
}

} // namespace
} // namespace sennit::asyncio
