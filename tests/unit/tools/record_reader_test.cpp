#include "tools/common/record_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

namespace sennit::tools {
namespace {

using testing::ElementsAre;
using State = RecordReader::State;

std::vector<std::string> split(std::string_view text, char separator, std::size_t step) {
    RecordReader reader(os::Fd(), "a test", separator);
    std::vector<std::string> records;
    std::string record;
    bool cut = false;
    for (;;) {
        switch (reader.next(record, cut)) {
        case State::record:
            records.push_back(record);
            break;
        case State::need_data:
            reader.feed(text.substr(0, step));
            text.remove_prefix(std::min(step, text.size()));
            break;
        case State::end:
            return records;
        }
    }
}

TEST(RecordReader, splits_lines_whatever_the_pieces_are) {
    for (const std::size_t step : {1U, 2U, 3U, 100U}) {
        EXPECT_THAT(split("a\n\nbc\nd", '\n', step), ElementsAre("a", "", "bc", "d"));
        EXPECT_THAT(split("a\nb\n", '\n', step), ElementsAre("a", "b"));
        EXPECT_THAT(split(std::string_view("a\nb\0\0c", 6), '\0', step), ElementsAre("a\nb", "", "c"));
        EXPECT_THAT(split("", '\n', step), ElementsAre());
        EXPECT_THAT(split("\n", '\n', step), ElementsAre(""));
    }
}
TEST(RecordReader, cuts_what_is_far_too_long_and_goes_on_behind_it) {
    RecordReader reader(os::Fd(), "a test", '\n');
    const std::string piece(100'000, 'x');
    std::string record;
    bool cut = false;
    for (int i = 0; i < 40; ++i) {
        reader.feed(piece);
        const State state = reader.next(record, cut);
        EXPECT_TRUE(state != State::record || cut);
        EXPECT_LE(reader.buffered(), 400'000U);
    }
    EXPECT_EQ(record.size(), RecordReader::longest_record);
    reader.feed("\nshort\n");
    ASSERT_EQ(reader.next(record, cut), State::record);
    EXPECT_EQ(record, "short");
    EXPECT_FALSE(cut);
}
TEST(RecordReader, counts_what_it_holds) {
    RecordReader reader(os::Fd(), "a test", '\n');
    reader.feed("a\nb\nc");
    reader.feed("");
    EXPECT_EQ(reader.buffered_records(), 3U);
    std::string record;
    bool cut = false;
    reader.next(record, cut);
    EXPECT_EQ(reader.buffered_records(), 2U);
}

} // namespace
} // namespace sennit::tools
