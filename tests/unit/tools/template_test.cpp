#include "tools/map/template.hpp"

#include <sennit/base/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sennit::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Strings = std::vector<std::string>;

Strings list(const Arguments& arguments) {
    Strings all;
    for (std::size_t i = 0; i < arguments.size(); ++i) all.emplace_back(arguments[i]);
    return all;
}
Strings render(const Strings& words, const Strings& inputs, std::uint64_t sequence = 7, unsigned slot = 2) {
    Template t = Template::command(words);
    t.bind(inputs.size());
    Arguments arguments;
    t.render({inputs, sequence, slot}, arguments);
    return list(arguments);
}

TEST(Template, puts_the_input_last_where_no_placeholder_is) {
    EXPECT_THAT(render({"echo", "x"}, {"a b"}), ElementsAre("echo", "x", "a b"));
    EXPECT_THAT(render({"echo"}, {"a", "b"}), ElementsAre("echo", "a", "b"));
}
TEST(Template, keeps_an_input_inside_its_argument) {
    EXPECT_THAT(render({"echo", "<{}>"}, {"a  b\n'\"$(x)`y`\xff"}), ElementsAre("echo", "<a  b\n'\"$(x)`y`\xff>"));
    EXPECT_THAT(render({"{}", "-n"}, {"-rf"}), ElementsAre("-rf", "-n"));
    EXPECT_THAT(render({"echo", "{}{}"}, {"{}"}), ElementsAre("echo", "{}{}")); // an input is not looked into
    EXPECT_THAT(render({"echo", "{}"}, {""}), ElementsAre("echo", ""));
}
TEST(Template, takes_paths_apart_as_GNU_parallel_does) {
    const auto parts = [](const std::string& path) { return render({"{.}|{/}|{//}|{/.}"}, {path}).front(); };
    EXPECT_EQ(parts("a/b.c.d"), "a/b.c|b.c.d|a|b.c");
    EXPECT_EQ(parts("x"), "x|x|.|x");
    EXPECT_EQ(parts("./q/"), "./q/||.|");
    EXPECT_EQ(parts("/a"), "/a|a|/|a");
    EXPECT_EQ(parts(".hid"), "|.hid|.|");
    EXPECT_EQ(parts("a/.hid"), "a/|.hid|a|");
    EXPECT_EQ(parts("a.b/c"), "a.b/c|c|a.b|c");
    EXPECT_EQ(parts("/"), "/||/|");
    EXPECT_EQ(parts("a."), "a.|a.|.|a.");
    EXPECT_EQ(parts(""), "||.|");
}
TEST(Template, numbers_inputs_jobs_and_slots) {
    EXPECT_THAT(render({"{2}-{1}", "{2/.}", "{#}", "{%}"}, {"a", "d/b.c"}), ElementsAre("d/b.c-a", "b", "7", "2"));
}
TEST(Template, makes_several_arguments_of_several_inputs_only_where_a_placeholder_stands_alone) {
    EXPECT_THAT(render({"e", "{}", "<{/}>"}, {"x/a", "b"}), ElementsAre("e", "x/a", "b", "<a b>"));
}
TEST(Template, leaves_other_braces_alone) {
    EXPECT_THAT(render({"{", "}", "{a}", "{0}", "{1x}", "{ }", "{%%}", "{}"}, {"I"}),
                ElementsAre("{", "}", "{a}", "{0}", "{1x}", "{ }", "{%%}", "I"));
}
TEST(Template, takes_another_text_for_the_input) {
    Template t = Template::command(Strings{"echo", "{}", ",,"}, ",,");
    t.bind(1);
    Arguments arguments;
    const Strings inputs{"I"};
    t.render({inputs, 1, 1}, arguments);
    EXPECT_THAT(list(arguments), ElementsAre("echo", "{}", "I"));
}
TEST(Template, refuses_a_number_beyond_the_inputs) {
    Template t = Template::command(Strings{"{3}"});
    EXPECT_THROW(t.bind(2), UsageError);
}
TEST(Template, tells_the_program_only_if_it_is_fixed) {
    EXPECT_EQ(Template::command(Strings{"gzip", "{}"}).fixed_program(), "gzip");
    EXPECT_EQ(Template::command(Strings{"{}", "x"}).fixed_program(), "");
    EXPECT_EQ(Template::shell("ls").fixed_program(), "/bin/sh");
}

Strings render_shell(const std::string& text, const Strings& inputs) {
    Template t = Template::shell(text);
    t.bind(inputs.size());
    Arguments arguments;
    t.render({inputs, 1, 1}, arguments);
    return list(arguments);
}

TEST(ShellTemplate, gives_inputs_as_parameters_and_never_as_syntax) {
    EXPECT_THAT(render_shell("echo {} | cat", {"$(id)"}),
                ElementsAre("/bin/sh", "-c", "echo \"${1}\" | cat", "sh", "$(id)"));
    EXPECT_THAT(render_shell("echo", {"a", "b"}),
                ElementsAre("/bin/sh", "-c", "echo \"${1}\" \"${2}\"", "sh", "a", "b"));
}
TEST(ShellTemplate, quotes_as_the_place_needs) {
    EXPECT_EQ(render_shell("echo \"x {} y\" '{}' {}", {"a"})[2], "echo \"x ${1} y\" ''\"${1}\"'' \"${1}\"");
    EXPECT_EQ(render_shell("a \"$(b {} \"c {}\")\" {}", {"a"})[2], "a \"$(b \"${1}\" \"c ${1}\")\" \"${1}\"");
    EXPECT_EQ(render_shell("a \\\" {} \\' {}", {"a"})[2], "a \\\" \"${1}\" \\' \"${1}\"");
    EXPECT_EQ(render_shell("a `b {}` \"`c {}`\"", {"a"})[2], "a `b \"${1}\"` \"`c \"${1}\"`\"");
}
TEST(ShellTemplate, leaves_the_shells_own_parameters_alone) {
    EXPECT_EQ(render_shell("x=1; echo ${#} ${1} {}", {"a"})[2], "x=1; echo ${#} ${1} \"${1}\"");
}
TEST(ShellTemplate, refuses_an_input_where_the_shell_would_evaluate_it) {
    for (const char* text : {"echo $(({} % 7))", "x $(( 1 + ({}) ))", "echo \"$((2 * {1}))\"", "$(( \"{}\" + 1 ))",
                             "$(echo $(({.} + 1)))", "$((1 + $(cat {}) + {}))", "a {}; b $(({}))"})
        try {
            Template::shell(text).bind(1);
            ADD_FAILURE() << text;
        } catch (const UsageError& e) {
            EXPECT_THAT(e.what(), HasSubstr("$(expr {} % 7)"));
        }
}
TEST(ShellTemplate, takes_inputs_beside_arithmetic_and_in_subshells_and_our_own_numbers_within) {
    EXPECT_EQ(render_shell("echo {} $((1 + 2)) {}", {"a"})[2], "echo \"${1}\" $((1 + 2)) \"${1}\"");
    EXPECT_EQ(render_shell("$((cd {}; ls) | wc -l)", {"a"})[2], "$((cd \"${1}\"; ls) | wc -l)");
    EXPECT_EQ(render_shell("$( (cat {}))", {"a"})[2], "$( (cat \"${1}\"))");
    EXPECT_EQ(render_shell("$((1 + $(cat {})))", {"a"})[2], "$((1 + $(cat \"${1}\")))");
    EXPECT_EQ(render_shell("'$(({}))'", {"a"})[2], "'$(('\"${1}\"'))'");
    EXPECT_EQ(render_shell("\\$(({}))", {"a"})[2], "\\$((\"${1}\"))");
    EXPECT_EQ(render_shell("$((({#} - 1) % {%})) {}", {"a"})[2], "$(((${1} - 1) % ${2})) \"${3}\"");
    Template t = Template::shell("echo $(({#} * 2)) {}");
    t.bind(1);
    const Strings inputs{"a"};
    std::string line;
    t.show({inputs, 3, 1}, line);
    EXPECT_EQ(line, "echo $((3 * 2)) a");
}
TEST(ShellTemplate, shows_the_values_in_their_places) {
    Template t = Template::shell("echo \"{}\" {} {#}");
    t.bind(1);
    const Strings inputs{"it's"};
    std::string line;
    t.show({inputs, 3, 1}, line);
    EXPECT_EQ(line, "echo \"\"'it'\"'\"'s'\"\" 'it'\"'\"'s' 3");
}

} // namespace
} // namespace sennit::tools
