#include <sennit/sync/queue_store.hpp>

#include <sennit/queue.hpp>

#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit {
namespace {

TEST(SegmentStore, keeps_the_order_across_many_segments_and_uses_them_again) {
    queue::Queue<std::string> q;
    int put = 0, got = 0;
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 700; ++i) q.put(std::to_string(put++));
        for (int i = 0; i < 650; ++i) ASSERT_EQ(q.get(), std::to_string(got++));
    }
    while (auto item = q.try_get()) ASSERT_EQ(*item, std::to_string(got++));
    EXPECT_EQ(got, put);
}

TEST(SegmentStore, destroys_what_is_left) {
    const auto counted = std::make_shared<int>(0);
    {
        queue::Queue<std::shared_ptr<int>> q;
        for (int i = 0; i < 600; ++i) q.put(counted);
        for (int i = 0; i < 300; ++i) q.get();
        EXPECT_EQ(counted.use_count(), 301);
    }
    EXPECT_EQ(counted.use_count(), 1);
}

TEST(SegmentStore, try_put_leaves_the_item_alone_when_there_is_no_room) {
    queue::Queue<std::unique_ptr<int>> q(1);
    q.put(std::make_unique<int>(1));
    auto item = std::make_unique<int>(2);
    EXPECT_FALSE(q.try_put(item));
    ASSERT_TRUE(item);
    q.get();
    EXPECT_TRUE(q.try_put(item));
    EXPECT_FALSE(item);
}

// Smaller first; throws when told to.
struct Touchy {
    static inline bool throws = false;
    bool operator()(int a, int b) const {
        if (throws) throw std::runtime_error("a comparison that throws");
        return a < b;
    }
};

TEST(PriorityOrder, loses_nothing_when_a_comparison_throws) {
    queue::PriorityQueue<int, Touchy> q;
    for (const int i : {5, 3, 8, 1, 9, 2, 7}) q.put(i);
    Touchy::throws = true;
    EXPECT_THROW(q.put(4), std::runtime_error);
    EXPECT_THROW(q.get(), std::runtime_error);
    Touchy::throws = false;
    EXPECT_EQ(q.qsize(), 7U);
    for (const int i : {1, 2, 3, 5, 7, 8, 9}) EXPECT_EQ(q.get(), i);
    EXPECT_TRUE(q.empty());
}

} // namespace
} // namespace sennit
