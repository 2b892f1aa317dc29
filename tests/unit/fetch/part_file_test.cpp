#include "tools/fetch/part_file.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace sennit::tools {
namespace {

class PartFileTest : public ::testing::Test {
  protected:
    PartFileTest() : path_(::mkdtemp(name_)), folder_(path_, false) {}
    ~PartFileTest() override { std::filesystem::remove_all(path_); }
    [[nodiscard]] bool exists(const std::string& name) const { return std::filesystem::exists(path_ + "/" + name); }
    [[nodiscard]] std::string content(const std::string& name) const {
        std::ostringstream text;
        text << std::ifstream(path_ + "/" + name, std::ios::binary).rdbuf();
        return text.str();
    }
    void put(const std::string& name, std::string_view text) const { std::ofstream(path_ + "/" + name) << text; }
    [[nodiscard]] std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
    }

    char name_[32] = "/tmp/sennit-part-XXXXXX";
    std::string path_;
    TargetFolder folder_;
    const std::string url_ = "https://example.org/x", long_ = std::string(600'000, 'x');
};

TEST_F(PartFileTest, that_is_small_is_written_only_when_it_is_whole) {
    PartFile part(folder_, "x", url_);
    part.describe(4, "\"e\"", "");
    EXPECT_EQ(part.write("abcd"), 0);
    EXPECT_EQ(files(), 0U);
    EXPECT_EQ(part.flush(), 0);
    EXPECT_EQ(content("x.part"), "abcd");
    EXPECT_EQ(files(), 1U);
}
TEST_F(PartFileTest, has_a_folder_that_tells_who_asks_often_what_was_not_there_a_moment_ago) {
    put("there", "");
    constexpr std::int64_t begin = 1'000'000'000'000, second = 1'000'000'000;
    int unknown = 0;
    while (!folder_.lacked("x", begin)) ASSERT_LT(++unknown, 1'000);
    EXPECT_GT(unknown, 10) << "one file is no reason to read a long folder";
    EXPECT_FALSE(folder_.lacked("there", begin));
    EXPECT_TRUE(folder_.lacked("y", begin + second));
    put("y", "");
    EXPECT_FALSE(folder_.lacked("y", begin + second + 1)) << "that is too long ago";
    for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(folder_.lacked("y", begin + second + 2));
    EXPECT_TRUE(folder_.lacked("x", begin + second + 2));
}
TEST_F(PartFileTest, has_a_folder_that_tells_nothing_of_a_long_list) {
    for (const char* name : {"1", "2", "3"}) put(name, "");
    TargetFolder short_lists(path_, false, 4), long_lists(path_, false, 5); // with . and ..
    bool told = false;
    for (int i = 0; i < 100; ++i) {
        EXPECT_FALSE(short_lists.lacked("x", 1));
        told |= long_lists.lacked("x", 1);
    }
    EXPECT_TRUE(told);
}
TEST_F(PartFileTest, is_taken_up_where_it_was_kept) {
    {
        PartFile part(folder_, "x", url_);
        part.describe(1'000'000, "\"e\"", "");
        EXPECT_EQ(part.write(long_), 0);
        EXPECT_TRUE(part.has_record_file());
        EXPECT_TRUE(part.keep());
    }
    PartFile other(folder_, "x", "https://example.org/other");
    EXPECT_EQ(other.take_up(), 0);
    PartFile part(folder_, "x", url_);
    EXPECT_EQ(part.take_up(), 600'000);
    EXPECT_EQ(part.record()->etag, "\"e\"");
    PartFile second(folder_, "x", url_); // while the first has it
    EXPECT_EQ(second.take_up(), 0);
    EXPECT_EQ(second.flush(), PartFile::in_use);
}
TEST_F(PartFileTest, of_a_killed_run_is_taken_up_as_far_as_it_was_written) {
    {
        PartFile part(folder_, "x", url_);
        part.describe(1'000'000, "", "Sat, 01 Aug 2026 10:00:00 GMT");
        EXPECT_EQ(part.write(long_), 0);
    }
    PartFile part(folder_, "x", url_);
    EXPECT_EQ(part.take_up(), static_cast<std::int64_t>(2 * PartFile::piece_bytes));
}
TEST_F(PartFileTest, of_another_boot_counts_only_as_far_as_it_was_synced) {
    ResumeRecord record;
    record.url = url_;
    record.length = 1000;
    record.etag = "\"e\"";
    record.synced = 10;
    record.boot = "another";
    put("x.part", std::string(500, 'x'));
    put("x.part-info", record.encode());
    EXPECT_EQ(PartFile(folder_, "x", url_).take_up(), 10);
    EXPECT_EQ(content("x.part").size(), 10U);
}
TEST_F(PartFileTest, that_cannot_be_resumed_does_not_stay) {
    PartFile part(folder_, "x", url_);
    part.describe(1'000'000, "", "");
    EXPECT_EQ(part.write(long_), 0);
    EXPECT_TRUE(exists("x.part"));
    EXPECT_FALSE(part.keep());
    EXPECT_EQ(files(), 0U);
}
TEST_F(PartFileTest, replaces_what_an_earlier_run_has_left_and_nothing_else) {
    put("x.part", "old");
    put("x.part-info", "old");
    PartFile part(folder_, "x", url_);
    EXPECT_EQ(part.write("new"), 0);
    EXPECT_EQ(part.flush(), 0);
    EXPECT_EQ(content("x.part"), "new");
    EXPECT_FALSE(exists("x.part-info"));

    put("victim", "precious");
    std::filesystem::create_symlink("victim", path_ + "/y.part");
    std::filesystem::create_symlink("victim", path_ + "/y.part-info");
    PartFile link(folder_, "y", url_);
    EXPECT_EQ(link.take_up(), 0);
    EXPECT_EQ(link.flush(), ELOOP);
    std::filesystem::create_directory(path_ + "/z.part");
    EXPECT_NE(PartFile(folder_, "z", url_).flush(), 0);
    std::filesystem::create_hard_link(path_ + "/victim", path_ + "/w.part");
    EXPECT_EQ(PartFile(folder_, "w", url_).flush(), EEXIST);
    EXPECT_EQ(content("victim"), "precious");
}
TEST_F(PartFileTest, that_comes_in_one_piece_has_no_name_until_it_is_finished) {
    put("old.part", "old");
    put("info.part-info", "old");
    while (!folder_.lacked("x", 1)) {}
    const std::size_t before = files();
    {
        PartFile part(folder_, "x", url_);
        part.describe(4, "\"e\"", "");
        EXPECT_EQ(part.write("abcd", true), 0);
        if (!part.is_nameless()) GTEST_SKIP() << "no files without a name here";
        EXPECT_EQ(part.size(), 4);
        EXPECT_EQ(files(), before);
        EXPECT_FALSE(part.keep()) << "nobody would find it";
        EXPECT_EQ(part.size(), 0);
    }
    PartFile pieces(folder_, "y", url_);
    EXPECT_EQ(pieces.write("ab"), 0);
    EXPECT_EQ(pieces.write("cd", true), 0);
    EXPECT_TRUE(pieces.is_nameless());
    EXPECT_EQ(files(), before);
    EXPECT_EQ(pieces.start_again(), 0);
    EXPECT_EQ(pieces.write(long_, true), 0);
    EXPECT_TRUE(pieces.is_nameless());
    PartFile large(folder_, "z", url_);
    large.describe(600'000, "\"e\"", "");
    EXPECT_EQ(large.write(long_.substr(0, 400'000)), 0);
    EXPECT_EQ(large.write(long_.substr(400'000), true), 0);
    EXPECT_FALSE(large.is_nameless());
    EXPECT_EQ(content("z.part"), long_);

    PartFile old(folder_, "old", url_), info(folder_, "info", url_);
    EXPECT_EQ(old.write("new", true), 0);
    EXPECT_EQ(content("old.part"), "new");
    EXPECT_EQ(info.write("new", true), 0);
    EXPECT_EQ(content("info.part"), "new");
    EXPECT_FALSE(exists("info.part-info"));
    folder_.name_all();
    PartFile named(folder_, "named", url_);
    EXPECT_EQ(named.write("abcd", true), 0);
    EXPECT_EQ(content("named.part"), "abcd");
}
TEST_F(PartFileTest, is_cut_and_started_again) {
    PartFile part(folder_, "x", url_);
    part.describe(1'000'000, "\"e\"", "");
    EXPECT_EQ(part.write(long_), 0);
    EXPECT_EQ(part.cut(590'000), 0);
    EXPECT_EQ(part.size(), 590'000);
    EXPECT_EQ(part.cut(5), 0);
    EXPECT_EQ(part.size(), 5);
    EXPECT_EQ(part.start_again(), 0);
    EXPECT_EQ(part.size(), 0);
    EXPECT_FALSE(exists("x.part-info"));
    EXPECT_EQ(content("x.part"), "");
}

} // namespace
} // namespace sennit::tools
