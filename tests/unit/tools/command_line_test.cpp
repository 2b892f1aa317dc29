#include "tools/map/command_line.hpp"

#include <sennit/base/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Words = std::vector<std::string>;

TEST(CommandLine, ends_options_at_the_command) {
    const auto o = parse_map({"-j3", "-k", "grep", "-k", "--summary", ":::", "-x", "--"});
    ASSERT_TRUE(o);
    EXPECT_EQ(o->slots, 3U);
    EXPECT_TRUE(o->keep_order);
    EXPECT_FALSE(o->summary);
    EXPECT_THAT(o->words, ElementsAre("grep", "-k", "--summary"));
    EXPECT_THAT(o->sources.at(0).values, ElementsAre("-x", "--"));
}
TEST(CommandLine, takes_what_stands_behind_two_dashes_as_the_command) {
    EXPECT_THAT(parse_map({"-0", "--", "-odd", "{}"})->words, ElementsAre("-odd", "{}"));
    EXPECT_THAT(parse_map({"-0", "--summary", "--timeline", "f", "--", "sha256sum", "{}"})->words,
                ElementsAre("sha256sum", "{}"));
}
TEST(CommandLine, reads_all_kinds_of_sources) {
    const auto o = parse_map({"-a", "f", "echo", ":::", "a", "b", ":::+", "1", "2", "::::", "g", "-"});
    ASSERT_EQ(o->sources.size(), 5U);
    EXPECT_EQ(o->sources[0].path, "f");
    EXPECT_TRUE(o->sources[2].linked);
    EXPECT_FALSE(o->sources[3].linked);
    EXPECT_EQ(o->sources[4].path, "-");
    EXPECT_EQ(parse_map({"-a", "f", "-a", "g", "echo"})->sources.size(), 2U);
    EXPECT_EQ(parse_map({"echo"})->sources.at(0).path, "-");
    EXPECT_TRUE(parse_map({"echo", ":::"})->sources.at(0).values.empty());
}
TEST(CommandLine, has_a_sentence_for_each_slip) {
    const std::pair<Words, const char*> slips[] = {
        {{}, "no command"},
        {{":::", "a"}, "no command"},
        {{"--retires", "3", "echo"}, "--retires"},
        {{"-j", "x", "echo"}, "-j: 'x'"},
        {{"-j"}, "-j"},
        {{"--timeout", "soon", "echo"}, "--timeout: 'soon'"},
        {{"--timeout", "0", "echo"}, "--timeout"},
        {{"--resume", "echo"}, "--joblog"},
        {{"--shell", "ls", "echo"}, "--shell"},
        {{"-u", "-k", "echo"}, "-u"},
        {{"echo", ":::+", "a"}, ":::"},
        {{"echo", "::::"}, "needs a file"},
        {{"--load", "-1", "echo"}, "load"},
        {{"-N5", "echo"}, "-N"},
    };
    for (const auto& [words, sentence] : slips) {
        try {
            parse_map(words);
            ADD_FAILURE() << "accepted: " << testing::PrintToString(words);
        } catch (const UsageError& error) {
            EXPECT_THAT(error.what(), HasSubstr(sentence));
        }
    }
}
TEST(CommandLine, explains_every_option_in_its_help) {
    for (const std::string& name : map_option_names())
        EXPECT_TRUE(map_help.find(" " + name) != std::string_view::npos) << name;
    EXPECT_FALSE(parse_map({"--help"}));
    EXPECT_FALSE(parse_map({"-j2", "-h", "echo"}));
}

} // namespace
} // namespace sennit::tools
