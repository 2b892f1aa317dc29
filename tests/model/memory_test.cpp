// The model itself: it finds what C++20 allows, and only that.
#include "model/explore.hpp"

#include <sennit/os/mutex.hpp>

#include <array>
#include <set>
#include <sys/mman.h>

namespace sennit::model {
namespace {

/// The outcomes of a litmus test over all its schedules: `body` gives each run's result, which the parent collects.
template <class Body>
std::set<int> outcomes(Body body, int surprises = 4) {
    // The search runs in a child: the results come back through shared memory.
    void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto* seen = static_cast<unsigned char*>(memory);
    const Finding f = explore([&] { seen[body()] = 1; }, {.surprises = surprises});
    EXPECT_EQ(f.report, "");
    std::set<int> result;
    for (int i = 0; i < 4096; ++i)
        if (seen[i]) result.insert(i);
    ::munmap(memory, 4096);
    return result;
}

using Order = std::memory_order;
constexpr Order relaxed = std::memory_order_relaxed, acquire = std::memory_order_acquire,
                release = std::memory_order_release, seq_cst = std::memory_order_seq_cst;

// Two threads, each stores to its own flag and looks at the other's: do both miss each other (outcome 0)?
std::set<int> store_buffering(Order store, Order load, bool fenced) {
    return outcomes([=] {
        atomic<int> x{0}, y{0};
        int a = 0, b = 0;
        {
            thread one([&] {
                x.store(1, store);
                if (fenced) fence();
                a = y.load(load);
            });
            thread two([&] {
                y.store(1, store);
                if (fenced) fence();
                b = x.load(load);
            });
        }
        return 2 * a + b;
    });
}

TEST(Model, lets_both_miss_the_other_unless_all_is_seq_cst) {
    EXPECT_EQ(store_buffering(relaxed, relaxed, false), (std::set<int>{0, 1, 2, 3}));
    EXPECT_EQ(store_buffering(release, acquire, false), (std::set<int>{0, 1, 2, 3}));
    EXPECT_EQ(store_buffering(seq_cst, seq_cst, false), (std::set<int>{1, 2, 3}));
    EXPECT_EQ(store_buffering(release, seq_cst, false), (std::set<int>{0, 1, 2, 3}));
    EXPECT_EQ(store_buffering(relaxed, relaxed, true), (std::set<int>{1, 2, 3}));
}

// Data, then a flag: 0: flag not seen; 1: flag and data; 2: flag, but old data.
std::set<int> message_passing(Order store, Order load, bool through_update = false) {
    return outcomes([=] {
        atomic<int> data{0}, flag{0};
        int result = 0;
        {
            thread one([&] {
                data.store(1, relaxed);
                flag.store(1, store);
                if (through_update) flag.fetch_add(1, relaxed); // goes on the release sequence
            });
            thread two([&] {
                if (flag.load(load) == (through_update ? 2 : 1)) result = data.load(relaxed) ? 1 : 2;
            });
        }
        return result;
    });
}

TEST(Model, shows_the_data_of_a_flag_only_to_release_and_acquire) {
    EXPECT_EQ(message_passing(release, acquire), (std::set<int>{0, 1}));
    EXPECT_EQ(message_passing(seq_cst, seq_cst), (std::set<int>{0, 1}));
    EXPECT_EQ(message_passing(relaxed, acquire), (std::set<int>{0, 1, 2}));
    EXPECT_EQ(message_passing(release, relaxed), (std::set<int>{0, 1, 2}));
    EXPECT_EQ(message_passing(release, acquire, true), (std::set<int>{0, 1}));
    EXPECT_EQ(message_passing(relaxed, acquire, true), (std::set<int>{0, 1, 2}));
}

TEST(Model, never_shows_one_thread_an_older_value_after_a_newer_one) {
    const auto seen = outcomes([] {
        atomic<int> x{0};
        int first = 0, second = 0;
        {
            thread one([&] {
                x.store(1, relaxed);
                x.store(2, relaxed);
            });
            thread two([&] {
                first = x.load(relaxed);
                second = x.load(relaxed);
            });
        }
        return 3 * first + second;
    });
    EXPECT_EQ(seen, (std::set<int>{0, 1, 2, 4, 5, 8}));
}

TEST(Model, lets_two_readers_disagree_on_the_order_of_two_writers_unless_seq_cst) {
    const auto disagree = [](Order store, Order load) {
        return outcomes(
            [=] {
                atomic<int> x{0}, y{0};
                int a = 0, b = 0, c = 0, d = 0;
                {
                    thread w1([&] { x.store(1, store); });
                    thread w2([&] { y.store(1, store); });
                    thread r1([&] {
                        a = x.load(load);
                        b = y.load(load);
                    });
                    thread r2([&] {
                        c = y.load(load);
                        d = x.load(load);
                    });
                }
                return a && !b && c && !d ? 1 : 0;
            },
            3);
    };
    EXPECT_EQ(disagree(release, acquire), (std::set<int>{0, 1}));
    EXPECT_EQ(disagree(seq_cst, seq_cst), (std::set<int>{0}));
}

TEST(Model, passes_on_what_was_seen_through_a_third_thread) {
    const auto seen = outcomes(
        [] {
            atomic<int> data{0}, first{0}, second{0};
            int result = 0;
            {
                thread one([&] {
                    data.store(1, relaxed);
                    first.store(1, release);
                });
                thread two([&] {
                    if (first.load(acquire)) second.store(1, release);
                });
                thread three([&] {
                    if (second.load(acquire)) result = data.load(relaxed) ? 1 : 2;
                });
            }
            return result;
        },
        3);
    EXPECT_EQ(seen, (std::set<int>{0, 1}));
}

TEST(Model, gives_updates_the_newest_value) {
    const auto seen = outcomes([] {
        atomic<int> x{0};
        {
            thread one([&] { x.fetch_add(1, relaxed); });
            thread two([&] {
                int v = x.load(relaxed);
                while (!x.compare_exchange_weak(v, v + 1, relaxed)) {}
            });
        }
        return x.load(relaxed);
    });
    EXPECT_EQ(seen, (std::set<int>{2}));
}

// ---- what it reports

std::string found(const std::function<void()>& scenario, Plan plan = {.surprises = 3}) {
    const Finding f = explore(scenario, plan);
    EXPECT_NE(f.report, "");
    return f.report;
}

TEST(Model, reports_a_data_race) {
    const auto race = found([] {
        var<int> data{0};
        atomic<bool> flag{false};
        thread one([&] {
            data = 1;
            flag.store(true, relaxed);
        });
        if (flag.load(acquire)) expect(data == 1, "the data");
    });
    EXPECT_NE(race.find("a data race: T0 reads after memory_test.cpp"), race.npos) << race;
}

TEST(Model, finds_no_data_race_where_a_lock_orders) {
    const Finding f = explore(
        [] {
            var<int> data{0};
            os::Mutex mutex;
            const auto add = [&] {
                os::MutexGuard guard(mutex);
                ++data;
            };
            thread one(add), two(add);
            add();
        },
        {.surprises = 3});
    EXPECT_EQ(f.report, "");
    EXPECT_GT(f.schedules, 100U);
}

TEST(Model, reports_a_touch_after_death) {
    const auto late = found([] {
        auto word = std::make_unique<atomic<int>>(0);
        atomic<int>& it = *word;
        thread one([&] {
            it.store(1, release);
            it.load(relaxed); // too late: who sees the 1 destroys it
        });
        while (it.load(acquire) == 0) yield();
        word.reset();
    });
    EXPECT_TRUE(late.find("touches an object after its death") != late.npos ||
                late.find("destroys an object while T1 may still be using it") != late.npos)
        << late;
}

TEST(Model, reports_a_deadlock_with_what_each_thread_does) {
    const auto dead = found([] {
        os::Mutex a, b;
        thread one([&] {
            os::MutexGuard first(a);
            os::MutexGuard second(b);
        });
        os::MutexGuard first(b);
        os::MutexGuard second(a);
    });
    EXPECT_NE(dead.find("a deadlock"), dead.npos) << dead;
    EXPECT_NE(dead.find("T0 (ran last) sleeps, after mutex.cpp"), dead.npos) << dead;
    EXPECT_NE(dead.find("T1 sleeps, after mutex.cpp"), dead.npos) << dead;
}

TEST(Model, reports_a_lost_wake_up) {
    const auto lost = found([] {
        atomic<std::uint32_t> word{0};
        atomic<bool> sleeping{false};
        thread one([&] {
            sleeping.store(true, relaxed); // too weak: the waker may miss it
            while (word.load(acquire) == 0) os::futex_wait(word, 0, forever);
        });
        word.store(1, release);
        if (sleeping.load(relaxed)) os::futex_wake(word, 1);
    });
    EXPECT_NE(lost.find("a deadlock"), lost.npos) << lost;
}

TEST(Model, lets_a_deadline_pass_at_any_time_after_the_wait_began) {
    const auto seen = outcomes([] {
        atomic<std::uint32_t> word{0};
        int woken = 0;
        {
            thread one([&] {
                const Deadline deadline(std::chrono::milliseconds(5));
                while (word.load(acquire) == 0)
                    if (!os::futex_wait(word, 0, deadline)) return;
                woken = 1;
            });
            word.store(1, release);
            os::futex_wake(word, 1);
        }
        return 2 * woken + (now_ns() >= 1'005'000'000 ? 1 : 0);
    });
    EXPECT_TRUE(seen.contains(2)); // woken in time
    EXPECT_TRUE(seen.contains(1)); // timed out
    EXPECT_FALSE(seen.contains(0));
}

TEST(Model, ends_a_spin_loop_that_yields) {
    const Finding f = explore(
        [] {
            atomic<bool> flag{false};
            thread one([&] { flag.store(true, release); });
            while (!flag.load(acquire)) yield();
        },
        {.surprises = 3});
    EXPECT_EQ(f.report, "");
}

TEST(Model, reports_threads_that_keep_each_other_busy_for_ever) {
    const auto busy = found([] {
        atomic<bool> never{false};
        thread one([&] {
            while (!never.load(relaxed)) yield();
        });
        while (!never.load(relaxed)) yield();
    });
    EXPECT_NE(busy.find("keep each other busy"), busy.npos);
}

TEST(Model, reports_an_exception_that_nobody_catches) {
    EXPECT_NE(found([] { throw std::runtime_error("so it is"); }).find("so it is"), std::string::npos);
}

TEST(Model, reports_a_crash) {
    const auto crash = found([] { std::abort(); });
    EXPECT_NE(crash.find("Abort"), crash.npos) << crash;
    EXPECT_NE(crash.find("T0 (ran last)"), crash.npos) << crash;
}

TEST(Model, finds_with_every_policy_a_bug_of_depth_two) {
    // Only a switch between the load and the store loses an increment.
    const auto racy = [] {
        atomic<int> x{0};
        {
            const auto add = [&] { x.store(x.load() + 1); };
            thread one(add), two(add);
        }
        expect(x.load() == 2, "both increments");
    };
    const auto report = found(racy, {.schedules = 200});
    EXPECT_NE(report.find("not so: both increments"), report.npos);
    // The seed that the report names gives the same again.
    const std::string seed =
        report.substr(report.find("REPLAY=") + 7, report.find(" with this test") - report.find("REPLAY=") - 7);
    ::setenv("SENNIT_MODEL_REPLAY", seed.c_str(), 1);
    ::testing::internal::CaptureStderr();
    const auto again = found(racy, {.schedules = 200});
    ::testing::internal::GetCapturedStderr();
    ::unsetenv("SENNIT_MODEL_REPLAY");
    EXPECT_EQ(again, report);
}

TEST(Model, counts_the_schedules_of_an_exhaustive_search) {
    // Two threads of 3 points each (begin is none): with no surprise there is one schedule for each way to go on when one ends.
    const auto two = [] {
        atomic<int> x{0};
        thread one([&] { x.fetch_add(1); });
        thread two([&] { x.fetch_add(1); });
    };
    const Finding none = explore(two, {.surprises = 0});
    const Finding some = explore(two, {.surprises = 2});
    EXPECT_EQ(none.report + some.report, "");
    EXPECT_GE(none.schedules, 2U);
    EXPECT_GT(some.schedules, none.schedules);
}

} // namespace
} // namespace sennit::model
