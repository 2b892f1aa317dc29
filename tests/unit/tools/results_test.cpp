#include "tools/map/results.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

namespace sennit::tools {
namespace {

TEST(Results, give_every_input_one_safe_name) {
    EXPECT_EQ(Results::name_of("a b"), "a b");
    EXPECT_EQ(Results::name_of("a/b\\c\td"), "a\\_b\\\\c\\td");
    EXPECT_EQ(Results::name_of(".."), "\\..");
    EXPECT_EQ(Results::name_of("."), "\\.");
    EXPECT_EQ(Results::name_of(""), "\\empty");
    const std::string x = Results::name_of(std::string(1000, 'x')), y = Results::name_of(std::string(1001, 'x'));
    EXPECT_LE(x.size(), 255U);
    EXPECT_NE(x, y);
}
TEST(Results, store_whole_files_and_replace_older_ones) {
    char name[] = "/tmp/sennit-results-XXXXXX";
    const std::string folder = ::mkdtemp(name);
    Spool spool("/tmp");
    const std::vector<std::string> inputs{"a/b", ".."};
    const Results results(folder + "/x/y");
    const auto content = [&](const char* file) {
        std::ostringstream text;
        text << std::ifstream(folder + "/x/y/1/a\\_b/2/\\../" + file).rdbuf();
        return text.str();
    };
    for (const std::uint64_t sequence : {1U, 2U}) {
        Capture out(spool), err(spool);
        out.append("out" + std::to_string(sequence));
        JobRecord record;
        record.sequence = sequence;
        record.inputs = inputs;
        results.store(record, out, err);
        EXPECT_EQ(content("stdout"), "out" + std::to_string(sequence));
        EXPECT_EQ(content("stderr"), "");
        EXPECT_EQ(content("seq"), std::to_string(sequence));
    }
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
        files += entry.is_regular_file() ? 1 : 0;
    EXPECT_EQ(files, 3);
    std::filesystem::remove_all(folder);
}

} // namespace
} // namespace sennit::tools
