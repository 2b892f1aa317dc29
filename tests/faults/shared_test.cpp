// What a SIGKILL leaves of what processes share: the next taker is told, and nobody waits for ever (P5); names have one owner (P8).
#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/tier.hpp"

#include <sennit/base/errors.hpp>
#include <sennit/multiprocessing/barrier.hpp>
#include <sennit/multiprocessing/condition.hpp>
#include <sennit/multiprocessing/event.hpp>
#include <sennit/multiprocessing/lock.hpp>
#include <sennit/multiprocessing/queue.hpp>
#include <sennit/multiprocessing/rlock.hpp>
#include <sennit/multiprocessing/semaphore.hpp>
#include <sennit/multiprocessing/shared_memory.hpp>
#include <sennit/multiprocessing/sharedctypes.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace sennit::testing {
namespace {

using namespace std::chrono_literals;
namespace mp = multiprocessing;
using mp::shared_memory::SharedMemory;

pid_t start_child(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG,
                SIGKILL); // some never end by themselves: not even when the test is killed do they stay
        body();
        ::_exit(0);
    }
    return child;
}
int status_of(pid_t child) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}
std::string own_name(std::int64_t i) { return "sennit_fault_" + std::to_string(::getpid()) + '_' + std::to_string(i); }
bool exists(const std::string& name) { return std::filesystem::exists("/dev/shm/" + name); }

// The must-show: a child dies inside the critical section. The next owner is told each time, whether he comes afterwards or waits
// already, and has the lock to himself: once he has released it, it is free, however often the dead one had taken it.
template <class L>
void kill_holders(std::int64_t deaths, int depth = 1) {
    FaultRow row("F13");
    Random random(seed());
    L lock;
    mp::RawValue<int> inside(0);
    for (std::int64_t i = 0; i < deaths; ++i) {
        const bool waits = random() % 2 == 0;
        const std::uint64_t lives_on = random() % (waits ? 30'000 : 300);
        static constexpr int signals[] = {SIGKILL, SIGTERM, 0}; // 0: _exit
        const int signal = signals[random() % std::size(signals)];
        *inside = 0;
        const pid_t child = start_child([&] {
            for (int k = 0; k < depth; ++k) lock.acquire();
            __atomic_store_n(&*inside, 1, __ATOMIC_RELEASE);
            for (std::uint64_t n = lives_on; n > 0; --n) cpu_relax();
            if (signal != 0) ::raise(signal);
        });
        if (waits) {
            while (__atomic_load_n(&*inside, __ATOMIC_ACQUIRE) == 0) ::sched_yield();
        } else {
            ASSERT_EQ(status_of(child), signal);
        }
        const std::int64_t began = base::monotonic_ns();
        ASSERT_TRUE(lock.acquire(10s)) << "nobody gets it any more, after " << i << " deaths";
        row.trial(1, std::chrono::nanoseconds(base::monotonic_ns() - began));
        ASSERT_TRUE(lock.owner_died()) << "nobody was told of death " << i;
        lock.make_consistent();
        lock.release();
        if (waits) {
            ASSERT_EQ(status_of(child), signal);
        }
        ASSERT_TRUE(lock.acquire(false));
        ASSERT_FALSE(lock.owner_died()) << "what was repaired is whole";
        lock.release();
    }
}

TEST(F13Holders, of_a_lock_all_die_and_each_next_one_is_told) { kill_holders<mp::Lock>(by_tier(400, 5'000, 100'000)); }

TEST(F13Holders, of_an_rlock_taken_thrice_all_die_and_each_next_one_is_told) {
    kill_holders<mp::RLock>(by_tier(150, 5'000, 25'000), 3);
}

TEST(F13Holders, of_a_conditions_lock_all_die_and_each_next_one_is_told) {
    kill_holders<mp::Condition>(by_tier(150, 5'000, 25'000), 2);
}

// Each death leaves four locks at once, of which others wait for every one.
TEST(F13Holders, of_several_locks_leave_all_of_them) {
    FaultRow row("F13");
    Random random(seed());
    mp::Lock first, second;
    mp::RLock third;
    mp::Condition fourth{mp::Lock()};
    const auto all = [&](auto&& each) { each(first), each(second), each(third), each(fourth); };
    const std::int64_t deaths = by_tier(50, 1'000, 5'000);
    for (std::int64_t i = 0; i < deaths; ++i) {
        mp::Semaphore inside(0);
        const pid_t holder = start_child([&] {
            all([](auto& lock) { lock.acquire(); });
            inside.release();
            ::pause();
        });
        ASSERT_TRUE(inside.acquire(10s));
        const pid_t waiter = start_child([&] {
            all([&](auto& lock) {
                if (!lock.acquire(60s)) ::_exit(1);
                if (!lock.owner_died()) ::_exit(2);
            }); // and dies with all of them, too
        });
        for (std::uint64_t n = random() % 10'000; n > 0; --n) cpu_relax();
        const std::int64_t began = base::monotonic_ns();
        ::kill(holder, SIGKILL);
        ASSERT_EQ(status_of(waiter), 0) << "1: a lock was not to be had; 2: nobody told of a death";
        ASSERT_EQ(status_of(holder), SIGKILL);
        all([](auto& lock) {
            ASSERT_TRUE(lock.acquire(10s));
            ASSERT_TRUE(lock.owner_died());
            lock.make_consistent();
            lock.release();
        });
        row.trial(2, std::chrono::nanoseconds(base::monotonic_ns() - began));
    }
}

// Four contenders, of which one after the other is killed wherever it is: holding, waiting, woken, or in between.
template <class L>
void kill_contenders(const char* fault, std::int64_t kills) {
    FaultRow row(fault);
    Random random(seed());
    L lock;
    struct State {
        long a, b;
    };
    mp::RawValue<State> state(State{0, 0});
    mp::RawValue<long> told(0);
    const auto work = [&] {
        for (;;) {
            lock.acquire();
            if (lock.owner_died()) {
                ++*told;
                state->b = state->a;
                lock.make_consistent();
            } else if (state->a != state->b) {
                ::_exit(9); // somebody died in the middle, and nobody was told
            }
            ++state->a;
            asm volatile("" ::: "memory"); // two stores, between which one can die
            ++state->b;
            lock.release();
        }
    };
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) children.push_back(start_child(work));
    const auto again = [&] { // the test itself as a taker: within a second, and the data is whole
        if (!lock.acquire(10s)) return false;
        if (lock.owner_died()) {
            state->b = state->a;
            lock.make_consistent();
        }
        const bool whole = state->a == state->b;
        lock.release();
        return whole;
    };
    for (std::int64_t i = 0; i < kills; ++i) {
        FaultRow::Trial trial(row);
        for (std::uint64_t n = random() % 2'000; n > 0; --n) cpu_relax();
        pid_t& victim = children[random() % children.size()];
        ::kill(victim, SIGKILL);
        trial.injected = 1;
        EXPECT_EQ(status_of(victim), SIGKILL) << "a contender found half-done work that nobody had told it of";
        EXPECT_TRUE(again()) << "nobody gets it any more";
        victim = start_child(work);
    }
    for (const pid_t child : children) {
        ::kill(child, SIGKILL);
        EXPECT_EQ(status_of(child), SIGKILL);
    }
    EXPECT_TRUE(again());
}

TEST(F13Lock, survives_four_contenders_that_are_killed_anywhere) {
    kill_contenders<mp::Lock>("F13", by_tier(50, 500, 10'000));
}

TEST(F13RLock, survives_four_contenders_that_are_killed_anywhere) {
    kill_contenders<mp::RLock>("F13", by_tier(50, 500, 10'000));
}

// Waiters are killed as the permits come: each permit that no dead one took is had by the living.
TEST(F13Semaphore, gives_every_permit_to_a_living_waiter) {
    FaultRow row("F13");
    Random random(seed());
    const std::int64_t kills = by_tier(50, 500, 10'000);
    for (std::int64_t i = 0; i < kills; ++i) {
        FaultRow::Trial trial(row);
        mp::Semaphore permits(0), taken(0);
        std::vector<pid_t> children;
        for (int k = 0; k < 4; ++k)
            children.push_back(start_child([&] {
                if (permits.acquire(60s)) taken.release();
            }));
        for (std::uint64_t n = random() % 1'000; n > 0; --n) cpu_relax();
        const bool kill_first = random() % 2 == 0;
        if (kill_first) ::kill(children[0], SIGKILL);
        permits.release(4);
        if (!kill_first) ::kill(children[0], SIGKILL);
        trial.injected = 1;
        for (int k = 0; k < 3; ++k) EXPECT_TRUE(taken.acquire(10s)) << "a permit went with a dead waiter";
        for (const pid_t child : children) status_of(child);
        EXPECT_LE(permits.value(), 1);
    }
}

// Two write and two read, and are killed wherever they are: each item is whole, and whoever comes next is served.
TEST(F13Queue, serves_the_living_with_whole_items_whoever_is_killed_in_the_middle) {
    FaultRow row("F13");
    Random random(seed());
    mp::Queue<std::vector<std::uint32_t>> queue(16);
    constexpr std::size_t numbers = 5'000;
    const auto work = [&](std::size_t who) {
        std::vector<std::uint32_t> item(numbers);
        for (std::uint32_t i = 0;; ++i) {
            if (who % 2 == 0) {
                std::fill(item.begin(), item.end(), i);
                queue.put(item);
            } else if (const auto got = queue.get(); got.size() != numbers || got.front() != got.back()) {
                ::_exit(9); // torn
            }
        }
    };
    std::vector<pid_t> children;
    for (std::size_t who = 0; who < 4; ++who) children.push_back(start_child([&] { work(who); }));
    const std::int64_t kills = by_tier(50, 500, 10'000);
    for (std::int64_t i = 0; i < kills; ++i) {
        FaultRow::Trial trial(row);
        for (std::uint64_t n = random() % 5'000; n > 0; --n) cpu_relax();
        const std::size_t victim = random() % children.size();
        ::kill(children[victim], SIGKILL);
        trial.injected = 1;
        EXPECT_EQ(status_of(children[victim]), SIGKILL) << "it got a torn item";
        queue.put(std::vector<std::uint32_t>(numbers, 7), 10s); // Full: nobody reads any more
        const auto got = queue.get(10s);                        // Empty: nobody writes any more
        EXPECT_EQ(got.size(), numbers);
        EXPECT_EQ(got.front(), got.back());
        children[victim] = start_child([&, victim] { work(victim); });
    }
    for (const pid_t child : children) {
        ::kill(child, SIGKILL);
        EXPECT_EQ(status_of(child), SIGKILL) << "it got a torn item";
    }
}

TEST(F13Event, releases_the_living_whichever_waiter_or_setter_is_killed) {
    FaultRow row("F13");
    Random random(seed());
    const std::int64_t kills = by_tier(25, 250, 5'000);
    for (std::int64_t i = 0; i < kills; ++i) {
        FaultRow::Trial trial(row);
        mp::Event event;
        std::vector<pid_t> children;
        for (int k = 0; k < 3; ++k)
            children.push_back(start_child([&] {
                if (!event.wait(60s)) ::_exit(1);
            }));
        const pid_t setter = start_child([&] {
            event.set();
            for (;;) ::pause();
        });
        for (std::uint64_t n = random() % 1'000; n > 0; --n) cpu_relax();
        ::kill(children[0], SIGKILL);
        ::kill(setter, SIGKILL); // before, in or after set()
        trial.injected = 2;
        status_of(setter);
        status_of(children[0]);
        event.set();
        EXPECT_EQ(status_of(children[1]), 0);
        EXPECT_EQ(status_of(children[2]), 0);
    }
}

// Four wait and three are notified, while one is killed: asleep, woken, or as it goes on.
struct WaitersOfOne {
    mp::Condition condition;
    mp::Semaphore waits{0}, notified{0};
    std::vector<pid_t> children;

    WaitersOfOne() {
        for (int k = 0; k < 4; ++k)
            children.push_back(start_child([&] {
                condition.acquire();
                waits.release();
                if (condition.wait(60s)) notified.release();
                repair();
                condition.release();
            }));
    }
    // One that dies after it had its notification leaves the lock: who finds that notifies once more.
    void repair() {
        if (!condition.owner_died()) return;
        condition.make_consistent();
        condition.notify();
    }
    void notify_and_kill(Random& random) {
        for (int k = 0; k < 4; ++k) ASSERT_TRUE(waits.acquire(10s));
        condition.acquire(); // all have gone to wait
        const bool kill_first = random() % 2 == 0;
        if (kill_first) ::kill(children[0], SIGKILL);
        condition.notify(3);
        condition.release();
        for (std::uint64_t n = random() % 20'000; n > 0; --n) cpu_relax();
        if (!kill_first) ::kill(children[0], SIGKILL);
    }
    void expect_three() {
        const std::int64_t limit = base::monotonic_ns() + 10'000'000'000;
        for (int got = 0; got < 3;) {
            if (notified.acquire(200ms)) {
                ++got;
                continue;
            }
            ASSERT_LT(base::monotonic_ns(), limit) << "a notification went with a dead waiter";
            condition.acquire();
            repair();
            condition.release();
        }
        condition.acquire();
        repair();
        condition.notify_all();
        condition.release();
        for (const pid_t child : children) status_of(child);
        EXPECT_TRUE(condition.acquire(10s));
        condition.release();
    }
};

TEST(F13Condition, gives_every_notification_to_a_living_waiter) {
    FaultRow row("F13");
    Random random(seed());
    // Several at once: who gets what a dead one was woken for may find it only when he looks again, after 100 ms.
    constexpr std::size_t at_once = 10;
    const std::int64_t rounds = by_tier(5, 50, 1'000);
    for (std::int64_t i = 0; i < rounds; ++i) {
        const std::int64_t began = base::monotonic_ns();
        std::vector<std::unique_ptr<WaitersOfOne>> all;
        for (std::size_t k = 0; k < at_once; ++k) all.push_back(std::make_unique<WaitersOfOne>());
        for (auto& one : all) one->notify_and_kill(random);
        for (auto& one : all) one->expect_three();
        row.trials(at_once, at_once, std::chrono::nanoseconds(base::monotonic_ns() - began));
        if (HasFatalFailure()) return;
    }
}

// Of two that wait one is killed, while the third comes: the others pass or are told, and afterwards it serves again.
TEST(F13Barrier, breaks_or_is_passed_and_never_waits_for_the_dead) {
    FaultRow row("F13");
    Random random(seed());
    const std::int64_t kills = by_tier(40, 400, 10'000);
    mp::Barrier barrier(3);
    const auto wait_once = [&] {
        try {
            barrier.wait(60s);
        } catch (const BrokenBarrierError&) {}
    };
    std::int64_t broken = 0;
    for (std::int64_t i = 0; i < kills; ++i) {
        FaultRow::Trial trial(row);
        const pid_t victim = start_child(wait_once), other = start_child(wait_once);
        while (barrier.n_waiting() < 2) ::sched_yield();
        // Else only who waits can find out, in 100 ms.
        const bool comes = random.below(static_cast<std::uint64_t>(by_tier(4, 4, 20))) != 0;
        const pid_t last = comes ? start_child(wait_once) : -1;
        for (std::uint64_t n = random() % (comes ? 20'000 : 200); n > 0; --n) cpu_relax();
        ::kill(victim, SIGKILL);
        trial.injected = 1;
        status_of(victim);
        const std::int64_t began = base::monotonic_ns();
        EXPECT_EQ(status_of(other), 0);
        if (comes) {
            EXPECT_EQ(status_of(last), 0);
        }
        EXPECT_LT(base::monotonic_ns() - began, 30'000'000'000) << "they waited for the dead";
        broken += barrier.broken();
        barrier.reset();
        const pid_t again[] = {start_child(wait_once), start_child(wait_once)};
        EXPECT_NO_THROW(barrier.wait(10s));
        for (const pid_t child : again) status_of(child);
        EXPECT_EQ(barrier.n_waiting(), 0U);
    }
    EXPECT_GT(broken, 0);
}

TEST(F14SharedMemory, is_refused_with_enospc_where_dev_shm_is_full_and_never_touches_a_bus_error) {
    FaultRow row("F14");
    const pid_t child = start_child([] {
        if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ::_exit(77);
        if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k") != 0)
            ::_exit(77);
        for (int i = 0; i < 5; ++i) {
            try {
                SharedMemory("", {.create = true, .size = 128 * 1024, .track = false});
                ::_exit(1);
            } catch (const OSError& e) {
                if (e.code() != ENOSPC) ::_exit(2);
            }
            SharedMemory fits("", {.create = true, .size = 64 * 1024, .track = false});
            for (std::byte& b : fits.buf()) b = std::byte{1};
            try {
                SharedMemory("", {.create = true, .size = 1, .track = false});
                ::_exit(3);
            } catch (const OSError& e) {
                if (e.code() != ENOSPC) ::_exit(4);
            }
            fits.unlink();
        }
    });
    const int status = status_of(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        GTEST_SKIP() << "this user may not mount a /dev/shm of its own here";
    row.trial(5);
    EXPECT_EQ(status, 0);
}

TEST(F15SharedMemory, of_one_name_has_one_creator_of_eight_and_is_never_seen_without_its_size) {
    FaultRow row("F15");
    const std::int64_t rounds = by_tier(200, 2'000, 10'000) / 8;
    mp::RawArray<int> made(8);
    for (std::int64_t i = 0; i < rounds; ++i) {
        FaultRow::Trial trial(row);
        const std::string name = own_name(i);
        mp::Event go;
        std::vector<pid_t> children;
        for (std::size_t k = 0; k < 8; ++k)
            children.push_back(start_child([&] {
                made[k] = 0;
                go.wait();
                try {
                    SharedMemory("/" + name, {.create = true, .size = 100, .track = false});
                    made[k] = 1;
                } catch (const OSError& e) {
                    if (e.code() != EEXIST) ::_exit(1);
                }
                if (SharedMemory(name).size() != 100) ::_exit(2);
            }));
        trial.injected = 8;
        go.set();
        for (const pid_t child : children) EXPECT_EQ(status_of(child), 0);
        int winners = 0;
        for (const int m : made) winners += m;
        EXPECT_EQ(winners, 1);
        SharedMemory(name).unlink();
    }
}

TEST(F16SharedMemory, keeps_its_name_as_long_as_its_owner_lives_whoever_else_leaves_or_dies) {
    FaultRow row("F16");
    Random random(seed());
    const std::int64_t rounds = by_tier(20, 200, 1'000);
    for (std::int64_t i = 0; i < rounds; ++i) {
        FaultRow::Trial trial(row);
        const std::string name = own_name(i);
        mp::Event made, leave;
        mp::Semaphore attached(0);
        const bool kill_owner = random() % 2 == 0;
        const pid_t owner = start_child([&] {
            SharedMemory block(name, {.create = true, .size = 10});
            made.set();
            leave.wait();
            if (kill_owner) ::raise(SIGKILL);
        });
        ASSERT_TRUE(made.wait(10s));
        SharedMemory mine(name);
        for (int k = 0; k < 2; ++k) {
            const bool killed = random() % 2 == 0;
            status_of(start_child([&] {
                SharedMemory block(name);
                block.buf()[1] = std::byte{2};
                if (killed) ::raise(SIGKILL);
            }));
            trial.injected += killed;
        }
        EXPECT_TRUE(exists(name));
        leave.set();
        trial.injected += kill_owner;
        status_of(owner);
        const std::int64_t limit = base::monotonic_ns() + 10'000'000'000;
        while (exists(name) && base::monotonic_ns() < limit) ::sched_yield();
        EXPECT_FALSE(exists(name)) << "the owner is gone, and his name is not";
        EXPECT_EQ(mine.buf()[1], std::byte{2}) << "the memory lives on in who has it";
    }
}

// As the end of a pool's owner does to a worker; and the small process that is to unlink the name has hardly begun then.
TEST(F16SharedMemory, loses_its_name_even_if_its_owners_whole_group_is_killed_at_once) {
    FaultRow row("F16");
    const std::int64_t rounds = by_tier(20, 200, 1'000);
    for (std::int64_t i = 0; i < rounds; ++i) {
        FaultRow::Trial trial(row);
        trial.injected = 1;
        const std::string name = own_name(i) + "_group";
        const pid_t owner = start_child([&] {
            ::setpgid(0, 0);
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
            ::sched_setaffinity(0, sizeof one, &one); // so that the small one waits for its turn
            SharedMemory block(name, {.create = true, .size = 10});
            ::kill(0, SIGKILL);
        });
        ASSERT_EQ(status_of(owner), SIGKILL);
        const std::int64_t limit = base::monotonic_ns() + 10'000'000'000;
        while (exists(name) && base::monotonic_ns() < limit) ::sched_yield();
        ASSERT_FALSE(exists(name)) << "the owner is gone, and his name is not";
    }
}

} // namespace
} // namespace sennit::testing
