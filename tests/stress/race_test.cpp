// Notification against time-out against cancellation, in many rounds: nothing that was handed out may be lost, and nobody who waits
// without a deadline may be forgotten (then the test hangs, and is ended with the list of agents).
#include <sennit/base/errors.hpp>
#include <sennit/sync.hpp>

#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <cstdint>
#include <gtest/gtest.h>
#include <mutex>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;

long rounds(long first_tier) { return testing::by_tier(first_tier, first_tier * 10, first_tier * 10); }

// xorshift: each agent has its own.
struct Random {
    std::uint64_t state;
    std::uint64_t operator()() noexcept {
        state ^= state << 13;
        state ^= state >> 7;
        return state ^= state << 17;
    }
    // Zero to about what a hand-over takes, so that all three outcomes happen.
    Deadline soon() noexcept { return std::chrono::nanoseconds((*this)() % 30'000); }
};

struct Counts {
    std::atomic<long> got{0}, timed_out{0}, cancelled{0};
    long all() const { return got + timed_out + cancelled; }
    std::string text() const {
        return std::to_string(got) + " got, " + std::to_string(timed_out) + " timed out, " + std::to_string(cancelled) +
               " cancelled";
    }
};

// Cancels agents at random until told to stop. What they wait for and whether they wait at all is their affair.
class Canceller {
  public:
    explicit Canceller(std::vector<wait::Agent*> targets)
        : thread_([this, targets = std::move(targets)] {
              Random random{88172645463325252ULL};
              while (!stop_) {
                  targets[random() % targets.size()]->cancel();
                  for (std::uint64_t i = random() % 2'000; i > 0 && !stop_; --i) cpu_relax();
              }
          }) {}
    void stop() {
        stop_ = true;
        if (thread_.joinable()) thread_.join();
    }
    ~Canceller() { stop(); }

  private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

// A thread that is an agent others can name.
class AgentThread {
  public:
    template <class Body>
    explicit AgentThread(Body body)
        : thread_([this, body] {
              agent_ = &wait::current_agent();
              known_.set();
              body();
              done_.set();
              for (bool gone = false; !gone;) { // lives while it may be cancelled
                  try {
                      gone = last_.wait();
                  } catch (const CancelledError&) {}
              }
          }) {
        known_.wait();
    }
    wait::Agent* agent() const { return agent_; }
    bool wait_done() { return done_.wait(60s); }
    /// When nobody cancels it any more.
    ~AgentThread() {
        last_.set();
        thread_.join();
    }

  private:
    wait::Agent* agent_ = nullptr;
    sync::Event known_, done_, last_;
    std::thread thread_;
};

TEST(Race, a_semaphore_loses_no_permit_between_notify_time_out_and_cancel) {
    const long each = rounds(50'000); // two takers: a million rounds in the higher tiers
    sync::Semaphore permits(0);
    Counts counts;
    std::atomic<int> working{2};
    const auto settle = [&](bool got) { ++(got ? counts.got : counts.timed_out); };
    TestLoop loop;
    loop.start();
    AgentThread taker([&] {
        Random random{1};
        for (long i = 0; i < each; ++i) {
            try {
                settle(permits.acquire(true, i % 4 ? random.soon() : forever));
            } catch (const CancelledError&) {
                ++counts.cancelled;
            }
        }
        --working;
    });
    auto& task = loop.spawn([&]() -> Co<> {
        Random random{2};
        for (long i = 0; i < each; ++i) {
            bool cancelled = false;
            try {
                settle(co_await permits.async_acquire(true, i % 4 ? random.soon() : forever));
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (cancelled) ++counts.cancelled;
        }
        --working;
    });
    long released = 0;
    {
        Canceller canceller({taker.agent(), &task.agent()});
        Random random{3};
        while (working > 0) { // somebody may wait without a deadline: release on
            if (permits.value() < 2) {
                permits.release();
                ++released;
            }
            for (std::uint64_t i = random() % 500; i > 0; --i) cpu_relax();
            std::this_thread::yield();
        }
    }
    EXPECT_TRUE(taker.wait_done());
    EXPECT_TRUE(task.done().wait(60s));
    EXPECT_EQ(counts.all(), 2 * each);
    EXPECT_EQ(counts.got + permits.value(), released) << counts.text();
    EXPECT_GT(counts.got, 0);
    EXPECT_GT(counts.timed_out, 0);
    EXPECT_GT(counts.cancelled, 0) << counts.text();
    loop.join();
}

TEST(Race, a_notification_that_meets_a_time_out_or_a_cancellation_goes_to_the_next) {
    const long tokens_to_pass = rounds(20'000);
    sync::Lock lock;
    sync::Condition changed(lock);
    long tokens = 0, taken = 0;
    bool over = false;
    std::atomic<long> early{0};
    TestLoop loop;
    loop.start();
    // The patient wait without a deadline: a swallowed notification would leave one asleep beside a token.
    const auto take = [&] {
        if (tokens > 0) {
            --tokens;
            ++taken;
        }
    };
    std::vector<std::thread> patient;
    for (int t = 0; t < 2; ++t)
        patient.emplace_back([&] {
            for (;;) {
                std::unique_lock guard(changed);
                changed.wait_for([&] { return tokens > 0 || over; });
                if (over && tokens == 0) return;
                take();
            }
        });
    // The impatient wait once, with a deadline or a cancellation to come, and take a token when they were notified.
    std::atomic<bool> stop{false};
    const auto impatient_once = [&](Random& random) {
        try {
            std::unique_lock guard(changed); // may be cancelled as well
            try {
                if (changed.wait(random.soon()))
                    take();
                else
                    ++early;
            } catch (const CancelledError&) {
                ++early;
            }
            EXPECT_TRUE(lock.locked());
        } catch (const CancelledError&) {}
    };
    AgentThread hasty([&] {
        Random random{4};
        while (!stop) impatient_once(random);
    });
    auto& task = loop.spawn([&]() -> Co<> {
        Random random{5};
        while (!stop) {
            auto guard = co_await changed.async_scoped_lock();
            bool ended_early = false;
            try {
                if (co_await changed.async_wait(random.soon()))
                    take();
                else
                    ended_early = true;
            } catch (const CancelledError&) {
                ended_early = true;
            }
            if (ended_early) ++early;
            EXPECT_TRUE(lock.locked());
        }
    });
    {
        Canceller canceller({hasty.agent()});
        for (long i = 0; i < tokens_to_pass; ++i) {
            std::unique_lock guard(changed);
            ++tokens;
            changed.notify(); // one token, one notification
            guard.unlock();
            if (i % 4 == 0) { // let them all be taken, now and then: a lost one shows here as a hang
                for (;;) {
                    std::unique_lock look(changed);
                    if (tokens == 0) break;
                    look.unlock();
                    std::this_thread::yield();
                }
            }
        }
    }
    {
        std::unique_lock guard(changed);
        over = true;
        changed.notify_all();
    }
    stop = true;
    for (auto& t : patient) t.join();
    EXPECT_TRUE(hasty.wait_done());
    EXPECT_TRUE(task.done().wait(60s));
    EXPECT_EQ(taken, tokens_to_pass);
    EXPECT_EQ(tokens, 0);
    EXPECT_GT(early, 0);
    loop.join();
}

TEST(Race, a_lock_is_never_left_held_by_who_timed_out_or_was_cancelled) {
    const long each = rounds(30'000);
    sync::Lock lock;
    long counter = 0;
    Counts counts;
    TestLoop loop;
    loop.start();
    AgentThread a([&] {
        Random random{6};
        for (long i = 0; i < each; ++i) {
            try {
                if (!lock.acquire(true, random.soon())) {
                    ++counts.timed_out;
                    continue;
                }
                ++counter;
                ++counts.got;
                if (i % 8 == 0) std::this_thread::yield();
                lock.release();
            } catch (const CancelledError&) {
                ++counts.cancelled;
            }
        }
    });
    auto& task = loop.spawn([&]() -> Co<> {
        Random random{7};
        for (long i = 0; i < each; ++i) {
            bool cancelled = false;
            try {
                if (co_await lock.async_acquire(true, random.soon())) {
                    ++counter;
                    ++counts.got;
                    if (i % 8 == 0) std::this_thread::yield();
                    lock.release();
                } else {
                    ++counts.timed_out;
                }
            } catch (const CancelledError&) {
                cancelled = true;
            }
            if (cancelled) ++counts.cancelled;
        }
    });
    Canceller canceller({a.agent(), &task.agent()});
    while (!task.done().is_set()) {
        lock.acquire();
        ++counter;
        std::this_thread::yield(); // held while others want it
        lock.release();
        ++counts.got;
    }
    EXPECT_TRUE(a.wait_done());
    canceller.stop();
    EXPECT_TRUE(lock.acquire(false)) << "left held; " << counts.text();
    lock.release();
    EXPECT_EQ(counter, counts.got) << "two held it at once";
    EXPECT_GT(counts.timed_out, 0) << counts.text();
    EXPECT_GT(counts.cancelled, 0) << counts.text();
    loop.join();
}

} // namespace
} // namespace sennit
