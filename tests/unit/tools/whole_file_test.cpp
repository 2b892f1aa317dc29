#include "tools/common/whole_file.hpp"

#include <sennit/base/errors.hpp>

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

TEST(WholeFile, is_there_only_when_it_is_whole) {
    char name[] = "/tmp/sennit-whole-XXXXXX";
    const std::filesystem::path folder = ::mkdtemp(name);
    {
        WholeFile dropped(folder / "a");
        dropped.write(std::string(200'000, 'x'));
        EXPECT_FALSE(std::filesystem::exists(folder / "a"));
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    for (const std::size_t bytes : {200'000U, 3U}) { // the second replaces the first
        WholeFile file(folder / "a");
        file.write(std::string(bytes, 'y'));
        file.commit();
        EXPECT_EQ(std::filesystem::file_size(folder / "a"), bytes);
    }
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
    std::filesystem::remove_all(folder);
}
TEST(WholeFile, writes_a_device_in_place) {
    WholeFile file("/dev/null");
    file.write("x");
    file.commit();
    EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}
TEST(WholeFile, says_when_it_cannot_be) { EXPECT_THROW(WholeFile("/nonexistent/a"), OSError); }

} // namespace
} // namespace sennit::tools
