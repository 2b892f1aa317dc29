#include <sennit/os/signals.hpp>

#include <gtest/gtest.h>

namespace sennit::os {
namespace {

TEST(SignalFd, takes_signals_in_place_of_their_action) {
    SignalFd signals{SIGTERM, SIGHUP};
    EXPECT_EQ(signals.take(), 0);
    ::raise(SIGTERM); // would end the process
    EXPECT_EQ(signals.take(), SIGTERM);
    EXPECT_EQ(signals.take(), 0);
}
TEST(SignalFd, leaves_ignored_what_was_ignored) {
    const IgnoredSignal nohup(SIGHUP);
    SignalFd signals{SIGHUP};
    ::raise(SIGHUP);
    EXPECT_EQ(signals.take(), 0);
}
TEST(SignalFd, gives_the_mask_back) {
    { SignalFd signals{SIGUSR1}; }
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    EXPECT_EQ(sigismember(&mask, SIGUSR1), 0);
}
TEST(IgnoredSignal, gives_the_disposition_back) {
    set_default(SIGUSR2);
    {
        const IgnoredSignal ignored(SIGUSR2);
        EXPECT_TRUE(is_ignored(SIGUSR2));
    }
    EXPECT_FALSE(is_ignored(SIGUSR2));
}

} // namespace
} // namespace sennit::os
