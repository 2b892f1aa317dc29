#include "tools/fetch/checksums.hpp"

#include <sennit/base/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

const std::string a(64, 'a'), b(64, 'b');

TEST(Checksums, reads_what_sha256sum_writes) {
    const Checksums list =
        Checksums::parse("# made today\n" + a + "  one two.txt\r\n\n" + std::string(64, 'B') + " *dir/binary\n\\" + a +
                             "  new\\nline\\\\\nSHA256 (tagged (x) = y) = " + b,
                         "SUMS");
    EXPECT_EQ(list.size(), 4U);
    EXPECT_EQ(*list.find("one two.txt"), a);
    EXPECT_EQ(*list.find("binary"), b);
    EXPECT_EQ(*list.find("new\nline\\"), a);
    EXPECT_EQ(*list.find("tagged (x) = y"), b);
    EXPECT_EQ(list.find("other"), nullptr);
}
TEST(Checksums, names_the_line_that_is_none) {
    for (const std::string& line :
         {a, a + " x", a + "  ", a.substr(1) + "  x", "g" + a.substr(1) + "  x", "\\" + a + "  x\\",
          "\\" + a + "  x\\y", std::string("SHA256 (x) = ") + a.substr(1), std::string("MD5 (x) = 0")}) {
        try {
            Checksums::parse(b + "  fine\n" + line + "\n", "SUMS");
            FAIL() << line;
        } catch (const UsageError& error) {
            EXPECT_THAT(error.what(), testing::HasSubstr("SUMS, line 2: "));
        }
    }
    EXPECT_NO_THROW(Checksums::parse(a + "  x\n" + a + "  x\n", ""));
    EXPECT_THROW(Checksums::parse(a + "  x\n" + b + "  x\n", ""), UsageError);
}

} // namespace
} // namespace sennit::tools
