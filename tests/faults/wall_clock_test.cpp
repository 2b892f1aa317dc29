// F25: the wall clock may jump; no wait looks at it. Shown in three ways: the sources name no wait by it; a filter of the kernel lets no
// call through that would ask it to time a wait by it; and, where somebody allows that by SENNIT_MAY_SET_THE_CLOCK=1, it jumps.
#include <sennit/queue.hpp>
#include <sennit/sync.hpp>
#include <sennit/threading.hpp>

#include "support/test_loop.hpp"
#include "support/tier.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <mutex>
#include <pthread.h>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;

TEST(F25WallClock, no_source_names_a_wait_that_is_timed_by_it) {
    const std::vector<std::string> forbidden{"pthread_cond_", "pthread_mutex_timedlock", "condition_variable",
                                             "timed_mutex",   "FUTEX_CLOCK_REALTIME",    "sem_timedwait"};
    // Not for waits: the time of day that tools write down.
    const std::vector<std::string> only_in_tools{"CLOCK_REALTIME", "system_clock", "gettimeofday"};
    std::size_t files = 0;
    for (const char* folder : {"include", "src"})
        for (const auto& entry :
             std::filesystem::recursive_directory_iterator(std::filesystem::path(SENNIT_SOURCE_DIR) / folder)) {
            const std::string ext = entry.path().extension();
            if (ext != ".hpp" && ext != ".cpp") continue;
            ++files;
            const bool tool = entry.path().string().find("/src/tools/") != std::string::npos;
            std::ifstream in(entry.path());
            std::string line;
            for (int number = 1; std::getline(in, line); ++number) {
                line = line.substr(0, line.find("//"));
                const auto refuse = [&](const std::vector<std::string>& words) {
                    for (const auto& word : words)
                        EXPECT_EQ(line.find(word), std::string::npos) << entry.path().string() << ':' << number;
                };
                refuse(forbidden);
                if (!tool) refuse(only_in_tools);
            }
        }
    EXPECT_GT(files, 50U);
}

#if defined(__x86_64__)

// From now on this process is killed when it asks the kernel to time something by the wall clock.
bool forbid_waits_by_the_wall_clock() {
    constexpr auto number = static_cast<unsigned>(offsetof(seccomp_data, nr));
    constexpr auto arg = [](unsigned i) { return static_cast<unsigned>(offsetof(seccomp_data, args)) + 8 * i; };
    // glibc waits for the end of a thread with the flag, but without a time-out: that is no wait by the clock.
    const sock_filter filter[] = {
        /*  0 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        /*  1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 3, 0),
        /*  2 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_nanosleep, 8, 0),
        /*  3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_timerfd_create, 7, 0),
        /*  4 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        /*  5 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(1)), // futex: the operation
        /*  6 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FUTEX_CLOCK_REALTIME, 0, 6),
        /*  7 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(3)), // its time-out, low half
        /*  8 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5),
        /*  9 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(3) + 4),
        /* 10 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 3),
        /* 11 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg(0)), // the others: the clock
        /* 12 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CLOCK_REALTIME, 1, 0),
        /* 13 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        /* 14 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const sock_fprog program{static_cast<unsigned short>(std::size(filter)), const_cast<sock_filter*>(filter)};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

// Every timed wait there is, by a thread and by a coroutine. How many did not end at their deadline.
int all_timed_waits() {
    int wrong = 0;
    sync::Lock lock;
    lock.acquire();
    wrong += lock.acquire(2ms);
    sync::Event event;
    wrong += event.wait(2ms);
    sync::Semaphore permits(0);
    wrong += permits.acquire(2ms);
    sync::Condition condition;
    {
        const std::scoped_lock guard(condition);
        wrong += condition.wait(2ms);
    }
    sync::Barrier barrier(2);
    try {
        barrier.wait(2ms);
        ++wrong;
    } catch (const BrokenBarrierError&) {}
    queue::Queue<int> q(1);
    try {
        q.get(2ms);
        ++wrong;
    } catch (const queue::Empty&) {}
    q.put(1);
    try {
        q.put(2, 2ms);
        ++wrong;
    } catch (const queue::Full&) {}
    wrong += q.join(2ms);
    sync::Event may_end;
    threading::Thread thread([&] { may_end.wait(1h); });
    thread.start();
    wrong += thread.join(2ms);
    may_end.set();
    wrong += !thread.join(1h);
    testing::TestLoop loop;
    loop.spawn([&]() -> testing::Co<> {
        wrong += co_await event.async_wait(2ms);
        wrong += co_await lock.async_acquire(2ms);
        wrong += co_await permits.async_acquire(2ms);
    });
    loop.run();
    return wrong;
}

// In a child: its exit status, as waitpid gives it.
template <class Body>
int in_a_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(forbid_waits_by_the_wall_clock() ? body() : 77);
    int status = -1;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

TEST(F25WallClock, no_wait_asks_the_kernel_for_it) {
    // That the filter works: the standard's own wait by the wall clock is killed.
    const int control = in_a_child([] {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
        timespec until{};
        ::clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec = (until.tv_nsec + 2'000'000) % 1'000'000'000;
        until.tv_sec += 1;
        ::pthread_mutex_lock(&mutex);
        ::pthread_cond_timedwait(&condition, &mutex, &until);
        return 0;
    });
    if (WIFEXITED(control) && WEXITSTATUS(control) == 77) GTEST_SKIP() << "no seccomp filters here";
    ASSERT_TRUE(WIFSIGNALED(control) && WTERMSIG(control) == SIGSYS) << "the filter lets it through: " << control;
    const int status = in_a_child(all_timed_waits);
    EXPECT_FALSE(WIFSIGNALED(status)) << "killed by signal " << WTERMSIG(status) << ": a wait by the wall clock";
    EXPECT_EQ(status, 0) << "waits that did not end at their deadline";
}

#endif

TEST(F25WallClock, jumps_of_it_end_no_wait_early_and_prolong_none) {
    const char* allowed = std::getenv("SENNIT_MAY_SET_THE_CLOCK");
    if (!allowed || std::string(allowed) != "1")
        GTEST_SKIP() << "it would set the clock of the whole machine: SENNIT_MAY_SET_THE_CLOCK=1 allows it";
    const long jumps = testing::by_tier(4, 20, 100);
    for (long i = 0; i < jumps; ++i) {
        timeval now{};
        ::gettimeofday(&now, nullptr);
        const long by = (i % 2 ? -1 : 1) * (i % 4 < 2 ? 3600L : 10L * 365 * 86'400);
        sync::Event event;
        std::thread waiter([&] {
            const auto began = std::chrono::steady_clock::now();
            EXPECT_FALSE(event.wait(100ms));
            EXPECT_GE(std::chrono::steady_clock::now() - began, 100ms);
        });
        testing::wait_until_parked(1);
        const timeval then{now.tv_sec + by, now.tv_usec};
        const bool set = ::settimeofday(&then, nullptr) == 0;
        waiter.join(); // the watchdog ends it otherwise
        if (!set) GTEST_SKIP() << "settimeofday: " << errno;
        ::gettimeofday(&now, nullptr);
        const timeval back{now.tv_sec - by, now.tv_usec};
        ::settimeofday(&back, nullptr);
    }
}

} // namespace
} // namespace sennit
