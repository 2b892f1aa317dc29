#include <sennit/sync/future.hpp>
#include <sennit/sync/future_group.hpp>

#include <gtest/gtest.h>
#include <stdexcept>

namespace sennit {
namespace {

using sync::Future;
using sync::FutureGroup;
using Until = FutureGroup::Until;

TEST(FutureGroup, tells_the_numbers_of_its_futures_in_the_order_in_which_they_are_done) {
    Future<int> f[3];
    f[1].set_result(1);
    FutureGroup group(3, Until::all_done);
    for (std::size_t i = 0; i < 3; ++i) group.watch(i, f[i].core());
    EXPECT_TRUE(group.wait_for_next(forever));
    EXPECT_EQ(group.next(), 1U);
    EXPECT_FALSE(group.wait_for_next(Deadline::poll()));
    f[2].cancel();
    f[0].set_result(0);
    EXPECT_TRUE(group.flag().is_set());
    EXPECT_TRUE(group.wait_for_next(forever));
    EXPECT_EQ(group.next(), 2U);
    EXPECT_TRUE(group.wait_for_next(forever));
    EXPECT_EQ(group.next(), 0U);
}

TEST(FutureGroup, raises_its_flag_when_it_was_asked_to) {
    const auto raised = [](Until until, auto... ends) {
        std::string at;
        Future<int> f[sizeof...(ends) + 1];
        FutureGroup group(std::size(f), until);
        for (std::size_t i = 0; i < std::size(f); ++i) group.watch(i, f[i].core());
        std::size_t i = 0;
        ((ends(f[i++]), at += group.flag().is_set() ? '1' : '0'), ...);
        f[i].set_result(1);
        return at + (group.flag().is_set() ? '1' : '0');
    };
    const auto set = [](Future<int>& f) { f.set_result(1); };
    const auto cancel = [](Future<int>& f) { f.cancel(); };
    const auto fail = [](Future<int>& f) {
        f.set_exception(std::make_exception_ptr(1));
        f.exception();
    };
    EXPECT_EQ(raised(Until::all_done, set, fail, cancel), "0001");
    EXPECT_EQ(raised(Until::first_done, cancel, set), "111");
    EXPECT_EQ(raised(Until::first_error, set, cancel, fail), "0011");
    EXPECT_TRUE(FutureGroup(0, Until::first_done).flag().is_set());
}

TEST(FutureGroup, may_be_left_before_during_and_after) {
    Future<int> before, after;
    {
        FutureGroup group(2, Until::all_done);
        group.watch(0, before.core());
        before.set_result(1);
        group.watch(1, after.core());
    }
    after.set_result(1);
    EXPECT_EQ(after.result(), 1);
}

} // namespace
} // namespace sennit
