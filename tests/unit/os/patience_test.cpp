#include "os/patience.hpp"
#include "support/virtual_clock.hpp"

#include <chrono>
#include <deque>
#include <gtest/gtest.h>

namespace sennit::os {
namespace {

using namespace std::chrono_literals;

// Under a clock that moves only when a test moves it; nobody else looks or runs.
class PatienceOf : public ::testing::Test {
  protected:
    void SetUp() override {
        if (process_cpus() < 2) GTEST_SKIP() << "on one core nobody looks";
    }
    // How often a vain look asked: 1 is no patience at all. Each time takes so long.
    unsigned asked_in_vain(std::chrono::nanoseconds each = 0ns, bool known = false) {
        unsigned asked = 0;
        const bool came = patience.look(known, [&] {
            if (asked++ > 0) clock.advance(each);
            return false;
        });
        EXPECT_FALSE(came);
        return asked;
    }
    void lose_patience() {
        for (int i = 0; i < 5; ++i) EXPECT_GT(asked_in_vain(), 1U) << i;
        EXPECT_LT(patience.budget_ns_for_test(), Patience::least_ns);
    }
    testing::VirtualClock clock;
    Patience patience;
};

TEST_F(PatienceOf, what_is_there_is_found_at_once) {
    unsigned asked = 0;
    EXPECT_TRUE(patience.look(false, [&] { return ++asked == 1; }));
    EXPECT_EQ(asked, 1U);
}

TEST_F(PatienceOf, what_comes_meanwhile_is_found_and_patience_stays) {
    unsigned asked = 0;
    EXPECT_TRUE(patience.look(false, [&] { return ++asked == 100; }));
    EXPECT_EQ(asked, 100U);
    EXPECT_EQ(patience.budget_ns_for_test(), Patience::first_ns);
}

TEST_F(PatienceOf, a_look_ends_when_its_time_is_over) {
    EXPECT_EQ(asked_in_vain(std::chrono::nanoseconds(Patience::first_ns / 3)), 1U + 3U);
    EXPECT_EQ(asked_in_vain(std::chrono::nanoseconds(Patience::first_ns / 2)), 1U + 1U) << "half the patience";
}

TEST_F(PatienceOf, it_is_lost_by_vain_looks_and_tried_again_once_in_a_while) {
    lose_patience();
    for (int i = 0; i < 255; ++i) EXPECT_EQ(asked_in_vain(), 1U) << i;
    EXPECT_GT(asked_in_vain(), 1U);
}

TEST_F(PatienceOf, a_short_sleep_brings_it_back_and_a_long_one_does_not) {
    lose_patience();
    patience.learn(Patience::worth_ns);
    EXPECT_EQ(asked_in_vain(), 1U);
    patience.learn(Patience::worth_ns - 1);
    EXPECT_GT(asked_in_vain(), 1U);
}

// Else two that wake each other would never meet: each sleeps when the other comes.
TEST_F(PatienceOf, after_a_short_sleep_it_looks_for_as_long_as_that_was) {
    EXPECT_EQ(asked_in_vain(std::chrono::nanoseconds(Patience::first_ns)), 2U);
    patience.learn(3 * Patience::first_ns);
    EXPECT_EQ(patience.budget_ns_for_test(), 3 * Patience::first_ns);
    EXPECT_EQ(asked_in_vain(std::chrono::nanoseconds(Patience::first_ns)), 1U + 3U);
    patience.learn(1);
    EXPECT_EQ(patience.budget_ns_for_test(), Patience::first_ns) << "and never for less than the first time";
}

TEST_F(PatienceOf, while_others_want_the_core_it_rests_each_time_longer) {
    EXPECT_EQ(asked_in_vain(1ms), 2U);
    for (int rest : {256, 512}) {
        for (int i = 0; i < rest; ++i) ASSERT_EQ(asked_in_vain(1ms), 1U) << i << " of " << rest;
        EXPECT_EQ(asked_in_vain(1ms), 2U);
    }
    EXPECT_EQ(patience.budget_ns_for_test(), Patience::first_ns) << "that was not in vain, only too early";
}

TEST_F(PatienceOf, who_has_found_much_rests_for_a_few_looks_alone) {
    for (unsigned i = 0; i < Patience::found_much; ++i) {
        unsigned asked = 0;
        ASSERT_TRUE(patience.look(false, [&] { return ++asked == 2; }));
    }
    EXPECT_EQ(asked_in_vain(1ms), 2U);
    for (unsigned i = 0; i < Patience::few; ++i) ASSERT_EQ(asked_in_vain(1ms), 1U) << i;
    EXPECT_EQ(asked_in_vain(1ms), 2U);
    for (int i = 0; i < 256; ++i) ASSERT_EQ(asked_in_vain(1ms), 1U) << i << ": nothing was found in between";
}

TEST_F(PatienceOf, an_eager_one_looks_as_long_and_as_often_at_first) {
    Patience eager{Patience::Pace::eager};
    unsigned asked = 0;
    EXPECT_FALSE(eager.look(false, [&] {
        if (asked++ > 0) clock.advance(std::chrono::nanoseconds(Patience::first_ns / 10));
        return false;
    }));
    EXPECT_EQ(asked, 1U + 10U);
}

TEST_F(PatienceOf, nobody_looks_while_more_are_known_to_run_than_there_are_cores) {
    std::deque<Patience::Running> workers;
    for (int i = 0; i < process_cpus(); ++i) workers.emplace_back();
    EXPECT_EQ(asked_in_vain(), 1U) << "one more than there are cores";
    EXPECT_GT(asked_in_vain(0ns, true), 1U) << "it is one of them";
    workers.pop_back();
    EXPECT_GT(asked_in_vain(), 1U);
}

} // namespace
} // namespace sennit::os
