// F19: the system starts no thread. start() throws OSError(EAGAIN), the object can be started later, nothing is left (P22).
#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/shim.hpp"
#include "support/tier.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/futures.hpp>
#include <sennit/threading.hpp>

#include <cerrno>
#include <deque>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using threading::Thread;
using threading::Timer;

template <class T>
void is_refused_and_works_later(T& thread, const atomic<int>& ran, testing::FaultRow::Trial& trial) {
    {
        testing::Shim shim;
        shim.fail("pthread_create", EAGAIN);
        try {
            thread.start();
            ADD_FAILURE() << "started, though the system refused";
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), EAGAIN);
            EXPECT_NE(std::string(e.what()).find("does not start thread"), std::string::npos) << e.what();
        }
        trial.injected += shim.injected();
    }
    EXPECT_FALSE(thread.is_alive());
    EXPECT_EQ(thread.ident(), 0u);
    EXPECT_THROW(thread.join(), UsageError); // as one that was never started
    EXPECT_EQ(ran.load(), 0);
    thread.set_daemon(thread.daemon()); // allowed before start() only
    thread.start();
    EXPECT_TRUE(thread.join());
    EXPECT_EQ(ran.load(), 1);
}

TEST(F19ThreadRefused, leaves_a_thread_that_can_be_started_later) {
    testing::FaultRow row("F19");
    for (std::int64_t i = 0; i < testing::by_tier(20, 200, 2'000); ++i) {
        const std::size_t before = threading::active_count();
        atomic<int> ran{0};
        Thread thread({.name = "refused"}, [&] { ran.fetch_add(1); });
        testing::FaultRow::Trial trial(row);
        is_refused_and_works_later(thread, ran, trial);
        EXPECT_EQ(threading::active_count(), before);
    }
}

TEST(F19ThreadRefused, leaves_a_timer_that_can_be_started_later) {
    testing::FaultRow row("F19");
    for (std::int64_t i = 0; i < testing::by_tier(20, 200, 2'000); ++i) {
        atomic<int> ran{0};
        Timer timer(0s, [&] { ran.fetch_add(1); });
        testing::FaultRow::Trial trial(row);
        is_refused_and_works_later(timer, ran, trial);
    }
}

// Of many threads some are refused, by chance: exactly those that were started run.
TEST(F19ThreadRefused, concerns_none_of_the_others) {
    testing::FaultRow row("F19");
    testing::Random random(testing::seed());
    for (std::int64_t round = 0; round < testing::by_tier(20, 200, 2'000); ++round) {
        testing::FaultRow::Trial trial(row);
        atomic<int> ran{0};
        std::deque<Thread> threads;
        std::vector<Thread*> refused;
        for (int i = 0; i < 12; ++i) {
            Thread& t = threads.emplace_back([&] { ran.fetch_add(1); });
            testing::Shim shim;
            if (random.percent(40) || i == 5) shim.fail("pthread_create", EAGAIN);
            try {
                t.start();
            } catch (const OSError&) {
                refused.push_back(&t);
            }
            trial.injected += shim.injected();
        }
        EXPECT_EQ(trial.injected, static_cast<std::int64_t>(refused.size()));
        for (Thread* t : refused) t->start();
        for (Thread& t : threads) t.join();
        EXPECT_EQ(ran.load(), 12);
    }
}

// A pool that gets no thread says so to who submits; it goes on with those that it has.
TEST(F19ThreadRefused, is_told_by_a_pool_or_made_up_for_by_its_other_threads) {
    testing::FaultRow row("F19");
    for (std::int64_t i = 0; i < testing::by_tier(20, 200, 2'000); ++i) {
        testing::FaultRow::Trial trial(row);
        futures::ThreadPoolExecutor pool(4);
        int answered = 0, told = 0;
        for (int job = 0; job < 8; ++job) {
            testing::Shim shim;
            if (job % 2 == 0) shim.fail("pthread_create", EAGAIN);
            try {
                auto future = pool.submit([job] { return job; });
                EXPECT_EQ(future.result(), job);
                ++answered;
            } catch (const OSError& e) {
                EXPECT_EQ(e.code(), EAGAIN);
                ++told;
            }
            trial.injected += shim.injected();
        }
        EXPECT_EQ(answered + told, 8);
        EXPECT_GE(answered, 4);
    }
}

} // namespace
} // namespace sennit
