#include <sennit/multiprocessing/shareable_list.hpp>

#include "support/snapshot.hpp"

#include <sennit/base/errors.hpp>

#include <bit>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <string>
#include <vector>

namespace sennit::multiprocessing::shared_memory {
namespace {

using ShareableListTest = sennit::testing::SnapshotTest;

Bytes bytes(std::string_view text) {
    const auto* b = reinterpret_cast<const std::byte*>(text.data());
    return {b, b + text.size()};
}

Bytes from_hex(std::string_view hex) {
    Bytes image;
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        image.push_back(static_cast<std::byte>(digit(hex[i]) * 16 + digit(hex[i + 1])));
    return image;
}

// Made by CPython 3.12 and 3.13.
struct Vector {
    const char* name;
    std::vector<Item> items;
    const char* format;
    const char* image;
};
const std::vector<Vector>& vectors() {
    static const std::vector<Vector> all = {
        {"empty", {}, "", "00000000000000000000000000000000"},
        {"ints",
         {1, -1, INT64_MAX, INT64_MIN},
         "qqqq",
         "0400000000000000000000000000000008000000000000001000000000000000180000000000000020000000000000000100"
         "000000000000ffffffffffffffffffffffffffffff7f00000000000000807100000000000000710000000000000071000000"
         "00000000710000000000000000000000"},
        {"float",
         {1.5, std::numeric_limits<double>::infinity()},
         "dd",
         "0200000000000000000000000000000008000000000000001000000000000000000000000000f83f000000000000f07f6400"
         "00000000000064000000000000000000"},
        {"bools",
         {true, false},
         "xxxxxxx?xxxxxxx?",
         "0200000000000000000000000000000008000000000000001000000000000000000000000000000100000000000000007878"
         "78787878783f787878787878783f0000"},
        {"none",
         {nullptr},
         "xxxxxx?x",
         "01000000000000000000000000000000080000000000000000000000000000007878787878783f7803"},
        {"str_lengths",
         {"", "a", "1234567", "12345678", "123456789012345", "1234567890123456"},
         "8s8s8s16s16s24s",
         "0600000000000000000000000000000008000000000000001000000000000000180000000000000028000000000000003800"
         "0000000000005000000000000000000000000000000061000000000000003132333435363700313233343536373800000000"
         "0000000031323334353637383930313233343500313233343536373839303132333435360000000000000000387300000000"
         "000038730000000000003873000000000000313673000000000031367300000000003234730000000000010101010101"},
        {"bytes",
         {bytes(""), bytes("abc"), bytes("12345678")},
         "8s8s16s",
         "0300000000000000000000000000000008000000000000001000000000000000200000000000000000000000000000006162"
         "63000000000031323334353637380000000000000000387300000000000038730000000000003136730000000000020202"},
        {"mixed",
         {"howdy", bytes("HoWdY"), -273.154, 100, nullptr, true, 42},
         "8s8sdqxxxxxx?xxxxxxxx?q",
         "0700000000000000000000000000000008000000000000001000000000000000180000000000000020000000000000002800"
         "00000000000030000000000000003800000000000000686f776479000000486f5764590000005839b4c8761271c064000000"
         "00000000000000000000000000000000000000012a0000000000000038730000000000003873000000000000640000000000"
         "000071000000000000007878787878783f78787878787878783f710000000000000001020000030000"},
        {"non_ascii_fits",
         {"\u20ac"},
         "8s",
         "010000000000000000000000000000000800000000000000e282ac0000000000387300000000000001"},
    };
    return all;
}

TEST(ShareableListImage, is_what_cpython_makes_of_the_same_items) {
    for (const Vector& v : vectors()) {
        Bytes image(ShareableListView::image_bytes(v.items), std::byte{0xaa});
        ShareableListView::write_image(v.items, image);
        EXPECT_EQ(image, from_hex(v.image)) << v.name;
    }
}

TEST(ShareableListImage, of_cpython_is_read_as_it_was_meant) {
    for (const Vector& v : vectors()) {
        Bytes image = from_hex(v.image);
        const ShareableListView view(image);
        ASSERT_EQ(view.size(), v.items.size()) << v.name;
        EXPECT_EQ(view.format(), v.format) << v.name;
        for (std::size_t i = 0; i < view.size(); ++i) EXPECT_EQ(view.get(i), v.items[i]) << v.name << " " << i;
    }
}

TEST(ShareableListImage, after_an_assignment_is_what_cpython_makes_of_the_same_one) {
    const struct {
        Item first, then;
        const char* image;
    } cases[] = {
        {"12345678", 5,
         "01000000000000000000000000000000100000000000000005000000000000000000000000000000710000000000000000"},
        {5, "abcdefgh", "0100000000000000000000000000000008000000000000006162636465666768387300000000000001"},
        {"12345678", "z",
         "0100000000000000000000000000000010000000000000007a000000000000000000000000000000313673000000000001"},
        {"abc", nullptr, "01000000000000000000000000000000080000000000000000000000000000007878787878783f7803"},
        {"abc", bytes("xyz"), "01000000000000000000000000000000080000000000000078797a0000000000387300000000000002"},
    };
    for (const auto& c : cases) {
        Bytes image(ShareableListView::image_bytes({&c.first, 1}));
        ShareableListView::write_image({&c.first, 1}, image);
        const ShareableListView view(image);
        view.set(0, c.then);
        EXPECT_EQ(view.get(0), c.then);
        Bytes theirs = from_hex(c.image);
        EXPECT_EQ(ShareableListView(theirs).get(0), c.then);
        EXPECT_EQ(ShareableListView(theirs).format(), view.format());
    }
}

TEST_F(ShareableListTest, gives_back_what_was_put_in_byte_for_byte) {
    const std::vector<Item> items = {nullptr,
                                     true,
                                     false,
                                     0,
                                     -1,
                                     INT64_MIN,
                                     2.5,
                                     "",
                                     std::string_view("\0", 1),
                                     std::string_view("a\0b\0\0", 5),
                                     std::string_view("12345678\0", 9),
                                     "gr\u00fc\u00df\u20ac\U0001F600",
                                     bytes(""),
                                     bytes(std::string_view("\0\0\0", 3)),
                                     bytes(std::string_view("\xff\0\xfe\0", 4))};
    ShareableList list(items);
    ShareableList same({.name = list.shm().name()});
    EXPECT_EQ(same.items(), items);
    for (std::size_t i = 0; i < items.size(); ++i) same[static_cast<std::ptrdiff_t>(i)] = items[i];
    EXPECT_EQ(list.items(), items);
}

TEST_F(ShareableListTest, an_item_may_change_its_type_within_its_place) {
    ShareableList list({"0123456789", 1, nullptr});
    EXPECT_EQ(list.format(), "16sqxxxxxx?x");
    list[0] = 5;
    EXPECT_EQ(list[0], Item(5));
    list[0] = "0123456789abcdef";
    EXPECT_EQ(list[0], Item("0123456789abcdef"));
    EXPECT_THROW(list[0] = "0123456789abcdefg", UsageError);
    EXPECT_EQ(list[0], Item("0123456789abcdef")) << "a refused one changes nothing";
    list[1] = "12345678";
    EXPECT_THROW(list[1] = "123456789", UsageError);
    list[2] = -2.5;
    EXPECT_EQ(list.format(), "16s8sd");
    EXPECT_EQ(list[-1], Item(-2.5));
    list[2] = list[1];
    EXPECT_EQ(list[2], Item("12345678"));
    EXPECT_THROW(static_cast<void>(list[3]), std::out_of_range);
    EXPECT_THROW(static_cast<void>(list[-4]), std::out_of_range);
}

TEST_F(ShareableListTest, counts_and_finds_as_python_compares) {
    const ShareableList list({1, 1.0, true, "1", nullptr, bytes("1"), 2, 0.5});
    EXPECT_EQ(list.count(1), 3U);
    EXPECT_EQ(list.count("1"), 1U);
    EXPECT_EQ(list.index(true), 0U);
    EXPECT_EQ(list.index(nullptr), 4U);
    EXPECT_EQ(list.index(0.5), 7U);
    EXPECT_EQ(list.count(std::int64_t{1} << 62), 0U);
    EXPECT_THROW(static_cast<void>(list.index("x")), std::out_of_range);
}

TEST_F(ShareableListTest, refuses_what_python_could_not_read) {
    EXPECT_THROW(ShareableList({"\xff"}), UsageError);
    EXPECT_THROW(ShareableList({"\xed\xa0\x80"}), UsageError) << "a surrogate";
    EXPECT_THROW(ShareableList({"\xc0\x80"}), UsageError) << "not the shortest form";
    EXPECT_THROW(ShareableList({Item(std::string(10'000'000, 'x'))}), UsageError);
    EXPECT_THROW(Item{std::numeric_limits<std::uint64_t>::max()}, UsageError);
    ShareableList list({"abc"});
    EXPECT_THROW(list[0] = "\xff", UsageError);
    EXPECT_EQ(list[0], Item("abc"));
}

TEST_F(ShareableListTest, attaching_to_what_is_no_list_is_refused) {
    SharedMemory block("", {.create = true, .size = 64});
    std::memset(block.buf().data(), 0xff, 64);
    EXPECT_THROW(ShareableList({.name = block.name()}), InvalidStateError);
    SharedMemory tiny("", {.create = true, .size = 8});
    EXPECT_THROW(ShareableList({.name = tiny.name()}), InvalidStateError);
    EXPECT_THROW(ShareableList({.name = "sennit_no_such_list"}), OSError);
}

TEST_F(ShareableListTest, a_moved_one_has_the_items) {
    ShareableList list({1, "two"});
    ShareableList moved = std::move(list);
    moved[0] = 3;
    EXPECT_EQ(moved.items(), (std::vector<Item>{3, "two"}));
}

} // namespace
} // namespace sennit::multiprocessing::shared_memory
