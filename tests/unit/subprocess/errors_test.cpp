#include <sennit/subprocess/errors.hpp>

#include <csignal>
#include <gtest/gtest.h>
#include <string>
#include <type_traits>

namespace sennit::subprocess {
namespace {

TEST(CalledProcessError, says_how_the_command_ended) {
    EXPECT_STREQ(CalledProcessError(2, {"false", "x y"}).what(),
                 "Command 'false 'x y'' returned non-zero exit status 2");
    EXPECT_STREQ(CalledProcessError(-SIGABRT, {"fail"}).what(), "Command 'fail' died with SIGABRT (signal 6)");
    EXPECT_STREQ(CalledProcessError(-9876543, {"fail"}).what(), "Command 'fail' died with unknown signal 9876543");
}

TEST(TimeoutExpired, says_after_how_long) {
    EXPECT_STREQ(TimeoutExpired({"sleep", "9"}, 0.1).what(), "Command 'sleep 9' timed out after 0.1 seconds");
    EXPECT_STREQ(TimeoutExpired("sleep 9", 0).what(), "Command 'sleep 9' timed out after 0 seconds");
    EXPECT_STREQ(TimeoutExpired("sleep 9", 123456).what(), "Command 'sleep 9' timed out after 123456 seconds");
}

TEST(SubprocessErrors, belong_to_the_families_of_the_library_and_copy_without_throwing) {
    static_assert(std::is_base_of_v<TimeoutError, TimeoutExpired> && std::is_base_of_v<Error, CalledProcessError>);
    static_assert(std::is_nothrow_copy_constructible_v<CalledProcessError> &&
                  std::is_nothrow_copy_constructible_v<TimeoutExpired>);
    const CalledProcessError first(1, {"x"}, std::string(100'000, 'o'), "e");
    const CalledProcessError copy = first;
    EXPECT_EQ(copy.output().data(), first.output().data());
    EXPECT_EQ(copy.std_err(), "e");
    try {
        throw TimeoutExpired({"x"}, 1, "partial");
    } catch (const SubprocessError& e) {
        EXPECT_EQ(e.output(), "partial");
        EXPECT_EQ(e.cmd(), Args{"x"});
        EXPECT_STREQ(e.what(), "Command 'x' timed out after 1 seconds");
    }
}

} // namespace
} // namespace sennit::subprocess
