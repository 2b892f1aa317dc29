#include "tools/common/quoting.hpp"

#include <sennit/subprocess.hpp>

#include <gtest/gtest.h>
#include <random>

namespace sennit::tools {
namespace {

TEST(Quoting, leaves_plain_words_and_quotes_others_as_GNU_parallel_does) {
    EXPECT_EQ(shell_word("a-b_c.d+e/f9"), "a-b_c.d+e/f9");
    EXPECT_EQ(shell_word("a b"), "'a b'");
    EXPECT_EQ(shell_word("it's"), "'it'\"'\"'s'");
    EXPECT_EQ(shell_word("'"), "\"'\"");
    EXPECT_EQ(shell_word(""), "''");
    EXPECT_EQ(shell_word("$x;é"), "'$x;é'");
}
TEST(Quoting, makes_one_clean_line_of_anything) {
    EXPECT_EQ(shell_word("a\nb\tc"), "$'a\\nb\\tc'");
    EXPECT_EQ(shell_word("\xff'\\\x1b"), "$'\\xff\\'\\\\\\x1b'");
    EXPECT_EQ(shell_word("\xe2\x80\xae"), "$'\\xe2\\x80\\xae'"); // would turn the direction of the text
}
TEST(Quoting, is_read_back_by_bash_as_it_was) {
    std::mt19937 random(1);
    std::string script, expected;
    for (int i = 0; i < 500; ++i) {
        std::string word;
        for (std::size_t n = random() % 12; n > 0; --n) {
            static constexpr std::string_view odd = "ab '\"\\$`\n\t\r;&|*?[]{}~#!\x01\x7f\xc3\xa9\xff\x80";
            word += odd[random() % odd.size()];
        }
        script += "printf '%s\\0' " + shell_word(word) + "\n";
        expected += word + '\0';
    }
    const auto bash = subprocess::run({"bash"}, {.input = script, .capture_output = true});
    EXPECT_EQ(bash.std_out, expected);
}
TEST(Quoting, knows_UTF_8) {
    EXPECT_TRUE(is_utf8("aé€😀"));
    for (const std::string_view bad :
         {"\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\xc3", "a\x80"})
        EXPECT_FALSE(is_utf8(bad));
}
TEST(Quoting, writes_JSON_that_is_JSON) {
    std::string json;
    append_json_bytes(json, "a\"\\\n\x01\x7fé");
    EXPECT_EQ(json, "\"a\\\"\\\\\\n\\u0001\\u007fé\"");
    json.clear();
    append_json_bytes(json, "\xff\xfe");
    EXPECT_EQ(json, "{\"base64\": \"//4=\"}");
}
TEST(Quoting, shows_no_control_character_to_a_terminal) {
    EXPECT_EQ(for_terminal("a\x1b[2Jb\xc2\x9b\xff"), "a\\x1b[2Jb\\xc2\\x9b\\xff");
    EXPECT_EQ(for_terminal("abcdef", 4), "abc…");
    EXPECT_EQ(for_terminal("éééé", 4), "éééé");
}
TEST(Quoting, escapes_HTML) { EXPECT_EQ(for_html("<a b='\"&>"), "&lt;a b=&#39;&quot;&amp;&gt;"); }

} // namespace
} // namespace sennit::tools
