#include "tools/map/inputs.hpp"

#include <sennit/base/errors.hpp>

#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace sennit::tools {
namespace {

using testing::ElementsAre;
using Rows = std::vector<std::vector<std::string>>;

Rows all(Inputs& inputs) {
    Rows rows;
    std::vector<std::string> row;
    bool cut = false;
    for (;;) {
        switch (inputs.next(row, cut)) {
        case Inputs::State::ready:
            rows.push_back(row);
            break;
        case Inputs::State::need_data:
            inputs.read();
            break;
        case Inputs::State::end:
            return rows;
        }
    }
}
InputSource list(std::vector<std::string> values, bool linked = false) {
    return {false, std::move(values), "", linked};
}

struct File {
    explicit File(const std::string& text) {
        ::close(::mkstemp(path));
        std::ofstream(path, std::ios::binary) << text;
    }
    ~File() { ::unlink(path); }
    char path[32] = "/tmp/sennit-inputs-XXXXXX";
};

TEST(Inputs, combine_the_last_source_varying_fastest) {
    Inputs inputs({list({"a", "b"}), list({"1", "2", "3"})}, '\n', -1);
    EXPECT_EQ(inputs.total(), 6U);
    EXPECT_THAT(all(inputs), ElementsAre(ElementsAre("a", "1"), ElementsAre("a", "2"), ElementsAre("a", "3"),
                                         ElementsAre("b", "1"), ElementsAre("b", "2"), ElementsAre("b", "3")));
}
TEST(Inputs, linked_ones_go_in_step_to_the_shortest) {
    Inputs inputs({list({"a", "b", "c"}), list({"1", "2"}, true)}, '\n', -1);
    EXPECT_EQ(inputs.total(), 2U);
    EXPECT_THAT(all(inputs), ElementsAre(ElementsAre("a", "1"), ElementsAre("b", "2")));
}
TEST(Inputs, an_empty_source_makes_no_job) {
    Inputs inputs({list({"a"}), list({})}, '\n', -1);
    EXPECT_EQ(inputs.total(), 0U);
    EXPECT_TRUE(all(inputs).empty());
}
TEST(Inputs, a_file_is_read_as_a_stream_and_combined) {
    const File file("x\ny\n");
    Inputs inputs({{true, {}, file.path, false}, list({"1", "2"})}, '\n', -1);
    EXPECT_EQ(inputs.total(), std::nullopt);
    EXPECT_THAT(all(inputs), ElementsAre(ElementsAre("x", "1"), ElementsAre("x", "2"), ElementsAre("y", "1"),
                                         ElementsAre("y", "2")));
    EXPECT_EQ(inputs.total(), 4U);
}
TEST(Inputs, know_their_number_once_the_end_was_read) {
    const File file("x\ny\nz");
    Inputs inputs({{true, {}, file.path, false}}, '\n', -1);
    while (inputs.may_read_ahead()) inputs.read();
    EXPECT_EQ(inputs.total(), 3U);
}
TEST(Inputs, refuse_a_file_that_is_not_there_and_standard_input_twice) {
    EXPECT_THROW(Inputs({{true, {}, "/nonexistent/x", false}}, '\n', -1), OSError);
    EXPECT_THROW(Inputs({{true, {}, "-", false}, {true, {}, "-", true}}, '\n', 0), UsageError);
}

} // namespace
} // namespace sennit::tools
