// What notes a worker's stack when it crashes swallowed a signal of a crash that was sent instead: the job went on.
#include <sennit/multiprocessing.hpp>

#include "support/tier.hpp"

#include <csignal>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace sennit::multiprocessing {
namespace {

int raise_it(int signal) {
    ::raise(signal);
    return signal;
}
int kill_myself(int signal) {
    ::kill(::getpid(), signal);
    return signal;
}

TEST(SignalsOfACrash, that_are_sent_end_the_worker_at_once) {
    if (testing::sanitized()) GTEST_SKIP() << "a sanitizer's handler has them";
    Pool pool(1);
    for (const auto f : {raise_it, kill_myself})
        for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) {
            SCOPED_TRACE("signal " + std::to_string(signal) + (f == raise_it ? ", raised" : ", sent"));
            try {
                ADD_FAILURE() << "the job went on and gave " << pool.apply(f, signal);
            } catch (const WorkerDied& e) {
                EXPECT_EQ(e.signal(), signal);
                EXPECT_NE(e.stack(), "");
            }
        }
}

} // namespace
} // namespace sennit::multiprocessing
