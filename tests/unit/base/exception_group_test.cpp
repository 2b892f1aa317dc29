#include <sennit/base/exception_group.hpp>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace sennit {
namespace {

struct NotStd {};

std::exception_ptr error(const char* text) { return std::make_exception_ptr(std::runtime_error(text)); }
std::exception_ptr refused() { return std::make_exception_ptr(OSError(13, "open: /x")); }

TEST(ExceptionGroup, says_what_each_of_its_errors_says_and_nested_ones_indented) {
    const ExceptionGroup inner("inner", {error("a"), std::make_exception_ptr(NotStd{})});
    const ExceptionGroup group("outer", {error("b"), std::make_exception_ptr(inner)});
    EXPECT_EQ(group.message(), "outer");
    EXPECT_EQ(group.exceptions().size(), 2u);
    EXPECT_STREQ(group.what(), "outer (2 errors)\n"
                               "  1. std::runtime_error: b\n"
                               "  2. inner (2 errors)\n"
                               "    1. std::runtime_error: a\n"
                               "    2. sennit::(anonymous namespace)::NotStd");
}

TEST(ExceptionGroup, split_parts_by_type_and_keeps_the_nesting) {
    const ExceptionGroup inner("inner", {refused(), error("a")});
    const ExceptionGroup group("outer", {error("b"), std::make_exception_ptr(inner), refused()});
    const ExceptionGroupParts parts = group.split<OSError>();
    ASSERT_TRUE(parts.match && parts.rest);
    ASSERT_EQ(parts.match->exceptions().size(), 2u);
    EXPECT_TRUE(ExceptionGroup::is<ExceptionGroup>(parts.match->exceptions()[0]));
    EXPECT_TRUE(ExceptionGroup::is<OSError>(parts.match->exceptions()[1]));
    EXPECT_EQ(std::string(parts.rest->what()), "outer (2 errors)\n"
                                               "  1. std::runtime_error: b\n"
                                               "  2. inner (1 error)\n"
                                               "    1. std::runtime_error: a");
    EXPECT_EQ(parts.rest->message(), "outer");
}

TEST(ExceptionGroup, subgroup_is_nothing_when_nothing_matches_and_a_group_that_matches_stays_whole) {
    const ExceptionGroup inner("inner", {refused(), error("a")});
    const ExceptionGroup group("outer", {std::make_exception_ptr(inner)});
    EXPECT_FALSE(group.subgroup<std::logic_error>());
    EXPECT_FALSE((group.split<OSError, std::runtime_error>().rest));
    const auto whole = group.subgroup<ExceptionGroup>();
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->exceptions()[0], group.exceptions()[0]);
}

TEST(ExceptionGroup, refuses_to_be_empty_and_to_hold_nothing) {
    EXPECT_THROW(ExceptionGroup("none", {}), UsageError);
    EXPECT_THROW(ExceptionGroup("null", {std::exception_ptr()}), UsageError);
}

TEST(ExceptionGroup, is_caught_as_a_sennit_error_and_copies_share_the_errors) {
    try {
        throw ExceptionGroup("g", {error("a")});
    } catch (const Error& e) {
        const auto& group = dynamic_cast<const ExceptionGroup&>(e);
        const ExceptionGroup copy = group;
        EXPECT_EQ(&copy.exceptions(), &group.exceptions());
    }
}

} // namespace
} // namespace sennit
