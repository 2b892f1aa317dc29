#include "tools/common/timeline.hpp"

#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

namespace sennit::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Timeline, is_one_page_that_needs_nothing_and_is_not_fooled_by_names) {
    char name[] = "/tmp/sennit-timeline-XXXXXX";
    ::close(::mkstemp(name));
    Timeline timeline(name, {"map", "job", "jobs", "command", "output", true},
                      "echo </title><script>alert(1)</script>");
    Timeline::Row r;
    r.number = 1;
    r.outcome = 3;
    r.label = "echo </script><script>alert(2)</script> \x1b[2J\xff";
    timeline.add(r);
    timeline.finish({1'000'000'000, 0, 1, 2, 0, ""});
    std::ostringstream text;
    text << std::ifstream(name).rdbuf();
    const std::string page = text.str();
    EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
    EXPECT_THAT(page, Not(HasSubstr("\x1b")));
    EXPECT_THAT(page, Not(HasSubstr("http://")));
    EXPECT_THAT(page, Not(HasSubstr("https://")));
    EXPECT_THAT(page, Not(HasSubstr("@TITLE@")));
    EXPECT_THAT(page, Not(HasSubstr("@TOOL@")));
    EXPECT_THAT(page, HasSubstr("\"one\":\"job\""));
    EXPECT_THAT(page, HasSubstr("[1,1,0,0,3,0,0,0,0,\"echo \\u003c/script>"));
    EXPECT_THAT(page, HasSubstr("</html>"));
    ::unlink(name);
}

} // namespace
} // namespace sennit::tools
