#include <sennit/os/futex.hpp>

#include <cerrno>
#include <gtest/gtest.h>
#include <thread>

namespace sennit::os {
namespace {

using namespace std::chrono_literals;

TEST(Futex, does_not_sleep_when_the_word_has_changed) {
    FutexWord word{1};
    EXPECT_TRUE(futex_wait(word, 0, forever));
}

TEST(Futex, tells_the_deadline_and_leaves_errno_alone) {
    FutexWord word{0};
    errno = 42;
    const Deadline at(2ms);
    bool woken = true;
    while (woken) woken = futex_wait(word, 0, at); // a signal may end a sleep early
    EXPECT_TRUE(at.has_passed());
    EXPECT_FALSE(futex_wait(word, 0, Deadline::poll()));
    EXPECT_EQ(errno, 42);
}

TEST(Futex, wakes_a_sleeper) {
    FutexWord word{0};
    std::thread sleeper([&] {
        while (word.load(memory_order_acquire) == 0) futex_wait(word, 0, forever);
    });
    word.store(1, memory_order_release);
    futex_wake(word, 1);
    sleeper.join();
    EXPECT_EQ(word.load(), 1U);
}

} // namespace
} // namespace sennit::os
