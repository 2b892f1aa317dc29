#include <sennit/base/errors.hpp>

#include <cerrno>
#include <gtest/gtest.h>
#include <type_traits>

namespace sennit {
namespace {

TEST(Errors, have_one_root_and_misuse_stands_apart) {
    static_assert(std::is_base_of_v<std::runtime_error, Error>);
    static_assert(std::is_base_of_v<Error, TimeoutError> && std::is_base_of_v<Error, CancelledError>);
    static_assert(std::is_base_of_v<Error, queue::Empty> && std::is_base_of_v<Error, queue::Full>);
    static_assert(std::is_base_of_v<Error, queue::ShutDown> && std::is_base_of_v<Error, BrokenBarrierError>);
    static_assert(std::is_base_of_v<std::logic_error, UsageError> && !std::is_base_of_v<Error, UsageError>);
    EXPECT_THROW(throw TimeoutError(), Error);
}

TEST(OSError, says_what_where_and_why) {
    const OSError e(ENOENT, "open: cannot read /no/such/file");
    EXPECT_EQ(e.code(), ENOENT);
    EXPECT_STREQ(e.what(), "open: cannot read /no/such/file: No such file or directory (errno 2)");
}

} // namespace
} // namespace sennit
