#include <sennit/loop/timer.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace sennit::loop {
namespace {

struct Numbered : Timer {
    explicit Numbered(int n) noexcept : Timer(nullptr), number(n) {}
    int number;
};

TEST(TimerHeap, gives_timers_in_order_and_equal_ones_as_they_were_armed) {
    TimerHeap heap;
    std::deque<Numbered> timers;
    std::mt19937 random(7);
    struct Want {
        std::int64_t when;
        int number;
        std::size_t armed = 0; // the how manieth
    };
    std::vector<Want> want;
    for (int i = 0; i < 2'000; ++i) {
        timers.emplace_back(i);
        const auto when = static_cast<std::int64_t>(random() % 100);
        heap.arm(timers.back(), when);
        want.push_back({when, i});
    }
    // A third is taken out, and half of those come back later.
    for (int i = 0; i < 2'000; i += 3) {
        heap.disarm(timers[static_cast<std::size_t>(i)]);
        heap.disarm(timers[static_cast<std::size_t>(i)]); // nothing
        std::erase_if(want, [i](const Want& w) { return w.number == i; });
        if (i % 2 == 0) {
            heap.arm(timers[static_cast<std::size_t>(i)], i % 50);
            want.push_back({i % 50, i});
        }
    }
    // Not std::stable_sort: in g++ 12's library it calls what C++20 has deprecated, which clang refuses.
    for (std::size_t i = 0; i < want.size(); ++i) want[i].armed = i;
    std::sort(want.begin(), want.end(),
              [](const Want& a, const Want& b) { return std::pair(a.when, a.armed) < std::pair(b.when, b.armed); });
    ASSERT_EQ(heap.size(), want.size());
    for (const Want& w : want) {
        EXPECT_EQ(heap.first_ns(), w.when);
        EXPECT_EQ(heap.pop_due(w.when - 1), nullptr);
        TimedReady* const t = heap.pop_due(w.when);
        ASSERT_NE(t, nullptr);
        EXPECT_FALSE(t->armed());
        ASSERT_EQ(static_cast<Numbered*>(t)->number, w.number);
    }
    EXPECT_TRUE(heap.empty());
    EXPECT_EQ(heap.first_ns(), INT64_MAX);
}

} // namespace
} // namespace sennit::loop
