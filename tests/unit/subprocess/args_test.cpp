#include <sennit/subprocess/args.hpp>

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace sennit::subprocess {
namespace {

TEST(Args, are_made_from_a_list_a_vector_or_one_string) {
    EXPECT_EQ((Args{"a", std::string("b"), std::string_view("c")}.list()), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(Args(std::vector<std::string>{"a", "b"}).size(), 2U);
    EXPECT_TRUE(Args("one two").is_string());
    EXPECT_FALSE((Args{"one two"}.is_string()));
    EXPECT_EQ((Args{"x", "y"})[1], "y");
}

TEST(Args, are_written_as_a_shell_would_read_them) {
    EXPECT_EQ((Args{"ls", "-l", "/a_b.c:d@e%f+g=h,i"}.to_string()), "ls -l /a_b.c:d@e%f+g=h,i");
    EXPECT_EQ((Args{"echo", "", "a b", "$x", "it's"}.to_string()), "echo '' 'a b' '$x' 'it'\"'\"'s'");
    EXPECT_EQ(Args("echo $x | cat").to_string(), "echo $x | cat");
}

} // namespace
} // namespace sennit::subprocess
