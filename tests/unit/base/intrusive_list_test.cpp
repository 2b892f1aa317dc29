#include <sennit/base/intrusive_list.hpp>

#include <gtest/gtest.h>
#include <vector>

namespace sennit::base {
namespace {

struct Number : ListNode {
    explicit Number(int n) : value(n) {}
    int value;
};

std::vector<int> drain(IntrusiveList& list) {
    std::vector<int> values;
    while (ListNode* n = list.pop_front()) values.push_back(static_cast<Number*>(n)->value);
    return values;
}

TEST(IntrusiveList, gives_back_what_was_put_in_from_both_ends) {
    IntrusiveList list;
    Number a(1), b(2), c(3);
    EXPECT_TRUE(list.empty());
    EXPECT_EQ(list.pop_front(), nullptr);
    list.push_back(b);
    list.push_back(c);
    list.push_front(a);
    EXPECT_EQ(drain(list), (std::vector<int>{1, 2, 3}));
    EXPECT_TRUE(list.empty());
    EXPECT_FALSE(a.linked() || b.linked() || c.linked());
}

TEST(IntrusiveList, removes_from_the_middle) {
    IntrusiveList list;
    Number a(1), b(2), c(3);
    for (Number* n : {&a, &b, &c}) list.push_back(*n);
    IntrusiveList::remove(b);
    EXPECT_FALSE(b.linked());
    EXPECT_EQ(list.after(a), &c);
    EXPECT_EQ(list.after(c), nullptr);
    EXPECT_EQ(drain(list), (std::vector<int>{1, 3}));
}

TEST(IntrusiveList, splices_another_list_to_its_end_and_leaves_that_empty) {
    IntrusiveList one, two;
    Number a(1), b(2), c(3);
    one.push_back(a);
    two.push_back(b);
    two.push_back(c);
    one.splice_back(two);
    EXPECT_TRUE(two.empty());
    one.splice_back(two);
    EXPECT_EQ(drain(one), (std::vector<int>{1, 2, 3}));
}

} // namespace
} // namespace sennit::base
