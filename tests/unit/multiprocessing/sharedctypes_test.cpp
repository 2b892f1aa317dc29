#include <sennit/multiprocessing/event.hpp>
#include <sennit/multiprocessing/semaphore.hpp>
#include <sennit/multiprocessing/sharedctypes.hpp>

#include "support/snapshot.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit::multiprocessing {
namespace {

using namespace std::chrono_literals;

class SharedTest : public sennit::testing::SnapshotTest {
  protected:
    void SetUp() override {
        wait::current_agent(); // the main thread is one from here on
        SnapshotTest::SetUp();
    }
};
using SharedCtypes = SharedTest;
using SharedSemaphore = SharedTest;
using SharedEvent = SharedTest;

pid_t start_child(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        body();
        ::_exit(0);
    }
    return child;
}
int status_of(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

TEST_F(SharedCtypes, a_value_is_counted_up_by_processes_and_threads_together) {
    Value<long> count(7);
    const auto work = [&] {
        Value<long> mine = count;
        for (int i = 0; i < 1'000; ++i) {
            const std::scoped_lock guard(mine.get_lock());
            ++*mine;
        }
    };
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i) children.push_back(start_child(work));
    std::thread thread(work);
    work();
    thread.join();
    for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
    EXPECT_EQ(count.value(), 5'007);
    count.set(1);
    EXPECT_EQ(*count, 1);
}

TEST_F(SharedCtypes, an_array_is_zeroes_a_list_or_a_range_and_is_seen_by_the_child_and_back) {
    RawArray<int> zeroes(1'000);
    for (const int i : zeroes) EXPECT_EQ(i, 0);
    Array<double> list{1.5, 2.5};
    Array<int> range(std::vector<int>{3, 4, 5});
    RawArray<char> none(0);
    EXPECT_EQ(none.size(), 0U);
    EXPECT_EQ(status_of(start_child([&] {
                  if (list[1] != 2.5 || range.size() != 3) ::_exit(1);
                  range.set(2, 9);
                  zeroes[999] = 4;
              })),
              0);
    EXPECT_EQ(range.get(2), 9);
    EXPECT_EQ(zeroes.at(999), 4);
    EXPECT_THROW(static_cast<void>(zeroes.at(1'000)), std::out_of_range);
    EXPECT_THROW(static_cast<void>(range.get(3)), std::out_of_range);
    EXPECT_THROW(RawArray<double>(static_cast<std::size_t>(-1)), std::bad_alloc);
    EXPECT_THROW(RawArray<int>(SharedBlock(4), 2), UsageError);
}

TEST_F(SharedCtypes, a_value_s_lock_tells_that_somebody_died_while_he_changed_it) {
    struct Pair {
        int a, b;
    };
    Value<Pair> pair(Pair{1, 1});
    EXPECT_EQ(status_of(start_child([&] {
                  pair.get_lock().acquire();
                  pair->a = 2;
                  ::raise(SIGKILL);
              })),
              SIGKILL);
    const std::scoped_lock guard(pair.get_lock());
    EXPECT_TRUE(pair.get_lock().owner_died());
    pair->b = pair->a;
    pair.get_lock().make_consistent();
    EXPECT_FALSE(pair.get_lock().owner_died());
}

TEST_F(SharedCtypes, two_handles_made_from_one_place_are_one_object) {
    static_assert(std::is_same_v<TypeCode<'i'>, int> && std::is_same_v<TypeCode<'d'>, double>);
    RawValue<TypeCode<'q'>> here(5);
    RawValue<long long> there(
        SharedBlock(os::duplicate(here.block().fd()), here.block().offset(), here.block().size()));
    *there = 6;
    EXPECT_EQ(*here, 6);
    EXPECT_THROW(SharedBlock(os::duplicate(here.block().fd()), std::uint64_t{1} << 40, 8), InvalidStateError);
}

TEST_F(SharedSemaphore, hands_its_permits_to_processes_and_refuses_too_many) {
    Semaphore permits(2);
    EXPECT_TRUE(permits.acquire());
    EXPECT_EQ(status_of(start_child([&] {
                  if (!permits.acquire(false) || permits.acquire(false) || permits.acquire(5ms)) ::_exit(1);
              })),
              0);
    EXPECT_FALSE(permits.acquire(false)) << "the dead child's permit stays taken";
    permits.release(2);
    EXPECT_EQ(permits.value(), 2);
    EXPECT_THROW(permits.release(0), UsageError);
    EXPECT_THROW(permits.release(Semaphore::most), UsageError);
    EXPECT_THROW(Semaphore(-1), UsageError);
    EXPECT_THROW(permits.acquire(false, Deadline(1s)), UsageError);
    BoundedSemaphore bounded(1);
    EXPECT_THROW(bounded.release(), UsageError);
    bounded.acquire();
    bounded.release();
    EXPECT_EQ(bounded.get_value(), 1);
}

TEST_F(SharedSemaphore, wakes_as_many_sleepers_as_it_gets_permits_whoever_of_them_was_killed) {
    Semaphore permits(0), passed(0);
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i)
        children.push_back(start_child([&] {
            permits.acquire();
            passed.release();
        }));
    ::sched_yield(); // some sleep by now, or none: it must not matter
    ::kill(children[0], SIGKILL);
    status_of(children[0]);
    permits.release(3);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(passed.acquire(10s));
    for (int i = 1; i < 4; ++i) EXPECT_EQ(status_of(children[static_cast<std::size_t>(i)]), 0);
}

TEST_F(SharedEvent, releases_all_who_wait_in_all_processes_also_if_it_is_lowered_at_once) {
    Event event;
    Semaphore waits(0);
    EXPECT_FALSE(event.wait(0s));
    EXPECT_FALSE(event.wait(2ms));
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i)
        children.push_back(start_child([&] {
            waits.release();
            if (!event.wait(60s)) ::_exit(1);
        }));
    for (int i = 0; i < 3; ++i) waits.acquire();
    event.set();
    for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
    EXPECT_TRUE(event.is_set());
    EXPECT_TRUE(event.wait(-1s));
    event.clear();
    EXPECT_FALSE(event.is_set());
    std::atomic<bool> got{false};
    std::thread waiter([&] { got = event.wait(); });
    while (!got) {
        event.set();
        event.clear();
    }
    waiter.join();
}

} // namespace
} // namespace sennit::multiprocessing
