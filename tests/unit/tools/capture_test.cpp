#include "tools/map/capture.hpp"

#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

std::string read(const Capture& capture) {
    Capture::Reader reader(capture);
    std::string all;
    char piece[7001];
    while (const std::size_t n = reader.read(piece, sizeof piece)) all.append(piece, n);
    return all;
}

TEST(Capture, keeps_little_in_memory_and_much_on_disk_byte_for_byte) {
    Spool spool("/tmp");
    Capture one(spool), two(spool);
    std::string first, second;
    for (int i = 0; i < 400; ++i) {
        const std::string piece(static_cast<std::size_t>(i * 7 % 3001), static_cast<char>('a' + i % 26));
        one.append(piece);
        first += piece;
        two.append(piece + "\n");
        second += piece + "\n";
        EXPECT_TRUE(first.size() > Spool::memory_of_one || one.in_memory());
        EXPECT_LE(one.memory().size(), Spool::memory_of_one);
    }
    EXPECT_FALSE(one.in_memory());
    EXPECT_EQ(read(one), first);
    EXPECT_EQ(read(two), second);
    EXPECT_EQ(read(one), first); // reading takes nothing away
}
TEST(Capture, gives_memory_and_disk_back) {
    Spool spool("/tmp");
    {
        Capture one(spool), two(spool);
        one.append(std::string(500'000, 'x'));
        two.append("y");
        EXPECT_GE(spool.bytes_on_disk(), 400'000);
        Capture moved(std::move(one));
        moved = std::move(two);
        EXPECT_EQ(spool.bytes_on_disk(), 0);
        EXPECT_EQ(read(moved), "y");
    }
    EXPECT_EQ(spool.memory_used, 0U);
}
TEST(Capture, goes_to_disk_when_all_together_are_much) {
    Spool spool("/tmp");
    spool.memory_used = Spool::memory_of_all;
    Capture one(spool);
    one.append("abc");
    EXPECT_FALSE(one.in_memory());
    EXPECT_EQ(read(one), "abc");
    one.clear();
    spool.memory_used = 0;
}
TEST(Capture, knows_UTF_8_across_its_pieces) {
    Spool spool("/tmp");
    Capture good(spool), bad(spool);
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "€";
    good.append(text);
    bad.append(text.substr(0, text.size() - 1));
    EXPECT_TRUE(is_utf8(good));
    EXPECT_FALSE(is_utf8(bad));
}

} // namespace
} // namespace sennit::tools
