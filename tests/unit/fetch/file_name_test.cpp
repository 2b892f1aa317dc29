#include "tools/fetch/file_name.hpp"

#include "tools/common/quoting.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using testing::EndsWith;
using testing::Optional;

// What every name must be, whatever it was made from.
void expect_safe(const std::string& name) {
    EXPECT_FALSE(name.empty());
    EXPECT_LE(name.size() + record_suffix.size() + 1, 255U) << name;
    EXPECT_NE(name, ".");
    EXPECT_NE(name, "..");
    EXPECT_EQ(name.find('/'), std::string::npos);
    EXPECT_EQ(name.find('\0'), std::string::npos);
    EXPECT_NE(name.front(), '.');
    EXPECT_NE(name.front(), '-');
    EXPECT_TRUE(is_utf8(name));
    EXPECT_EQ(for_terminal(name), name);
    EXPECT_FALSE(name.ends_with(part_suffix));
    EXPECT_FALSE(name.ends_with(record_suffix));
}

TEST(FileName, is_the_last_part_of_the_path) {
    EXPECT_EQ(file_name_of_path("/a/b/c.iso"), "c.iso");
    EXPECT_EQ(file_name_of_path("/a/b%20c.tar.gz?x=1/2#f"), "b c.tar.gz");
    EXPECT_EQ(file_name_of_path("/stra%C3%9Fe.txt"), "straße.txt");
    EXPECT_EQ(file_name_of_path("/100%"), "100%");
    EXPECT_EQ(file_name_of_path("/"), "index.html");
    EXPECT_EQ(file_name_of_path(""), "index.html");
    EXPECT_EQ(file_name_of_path("/a/b/"), "index.html");
}
TEST(FileName, is_one_safe_segment_whatever_the_url_says) {
    const std::vector<std::string> paths = {"/..",
                                            "/.",
                                            "/...",
                                            "/%2e%2e",
                                            "/%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
                                            "/..%2f..%2f.ssh%2fauthorized_keys",
                                            "/a%00b",
                                            "/%00",
                                            "/.bashrc",
                                            "/-rf",
                                            "/--help",
                                            "/~root",
                                            "/a%0Ab",
                                            "/%1b[2J",
                                            "/%0d",
                                            "/%7f",
                                            "/%c2%9b",
                                            "/%e2%80%aefdp.exe",
                                            "/\xff\xfe",
                                            "/%ff",
                                            "/%80%80",
                                            "/a\\b",
                                            "/..\\..\\x",
                                            "/x.part",
                                            "/x.part-info",
                                            "/.part",
                                            "/" + std::string(5000, 'x'),
                                            "/" + std::string(5000, 'x') + ".tar.gz",
                                            "/" + std::string(240, '%') + "41",
                                            "/%F0%9F%98%80" + std::string(300, 'y') + ".txt"};
    for (const std::string& path : paths) {
        SCOPED_TRACE(path.substr(0, 60));
        expect_safe(file_name_of_path(path));
    }
    std::string emoji;
    for (int i = 0; i < 100; ++i) emoji += "%F0%9F%98%80";
    expect_safe(file_name_of_path("/" + emoji));
    expect_safe(file_name_of_path("/" + emoji + ".zip"));
    EXPECT_EQ(file_name_of_path("/%2E%2E%2Fetc%2Fpasswd"), "%2E.%2Fetc%2Fpasswd");
    EXPECT_EQ(file_name_of_path("/.bashrc"), "%2Ebashrc");
    EXPECT_EQ(file_name_of_path("/a%00b"), "a%00b");
}
TEST(FileName, keeps_the_extension_of_a_long_one) {
    EXPECT_THAT(file_name_of_path("/" + std::string(5000, 'x') + ".tar.gz"), EndsWith("x.tar.gz"));
    EXPECT_EQ(file_name_of_path("/" + std::string(5000, 'x') + ".tar.gz").size(), longest_file_name);
}
TEST(FileName, that_occurs_again_gets_a_number) {
    FileNames names;
    EXPECT_EQ(names.take("a.txt"), "a.txt");
    EXPECT_EQ(names.take("a-2.txt"), "a-2.txt");
    EXPECT_EQ(names.take("a.txt"), "a-3.txt");
    EXPECT_EQ(names.take("b.tar.gz"), "b.tar.gz");
    EXPECT_EQ(names.take("b.tar.gz"), "b-2.tar.gz");
    EXPECT_EQ(names.take("c"), "c");
    EXPECT_EQ(names.take("c"), "c-2");
    const std::string longest(longest_file_name, 'x');
    EXPECT_EQ(names.take(longest), longest);
    EXPECT_LE(names.take(longest).size(), longest_file_name);
    for (int i = 3; i < 20'000; ++i) EXPECT_EQ(names.take("c"), "c-" + std::to_string(i));
}
TEST(FileName, of_a_header_is_made_safe_as_well) {
    EXPECT_THAT(disposition_file_name("attachment; filename=a.zip"), Optional(std::string("a.zip")));
    EXPECT_THAT(disposition_file_name("attachment; FileName=\"a \\\"b\\\".zip\"; x"),
                Optional(std::string("a \"b\".zip")));
    EXPECT_THAT(disposition_file_name("attachment; filename=a.zip; filename*=UTF-8''%e2%82%ac.zip"),
                Optional(std::string("€.zip")));
    EXPECT_THAT(disposition_file_name("attachment; filename=\"../../.ssh/id\""),
                Optional(std::string("%2E.%2F..%2F.ssh%2Fid")));
    EXPECT_EQ(disposition_file_name("inline"), std::nullopt);
    EXPECT_EQ(disposition_file_name(""), std::nullopt);
    EXPECT_EQ(disposition_file_name("attachment; filename="), std::nullopt);
    EXPECT_EQ(disposition_file_name("attachment; filename*=ISO-8859-1''a"), std::nullopt);
    for (const char* value :
         {"; filename=\"", "; filename=\"\\", ";;;=", "; filename*=UTF-8''%00%2f", "; filename=\"\xff\""})
        if (const auto name = disposition_file_name(value)) expect_safe(*name);
}

} // namespace
} // namespace sennit::tools
