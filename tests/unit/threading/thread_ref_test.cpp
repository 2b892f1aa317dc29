#include <sennit/threading/thread_ref.hpp>

#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include "support/test_loop.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using threading::Event;
using threading::Thread;
using threading::ThreadRef;

TEST(ThreadRef, main_thread_is_the_one_that_runs_main) { // test_main_thread
    const ThreadRef main = threading::main_thread();
    EXPECT_EQ(main.name(), "MainThread");
    EXPECT_EQ(main, threading::current_thread());
    EXPECT_EQ(main.ident(), threading::get_ident());
    EXPECT_EQ(main.native_id(), threading::get_native_id());
    EXPECT_EQ(main.native_id(), ::getpid());
    EXPECT_TRUE(main.is_alive());
    EXPECT_FALSE(main.daemon());
    Thread t([&] {
        EXPECT_EQ(threading::main_thread(), main);
        EXPECT_NE(threading::main_thread(), threading::current_thread());
        EXPECT_FALSE(main.join(1ms)) << "it lives till the process's end";
    });
    t.start();
    t.join();
}

TEST(ThreadRef, current_thread_is_the_thread_that_was_started) {
    std::vector<bool> same;
    Thread t([&] {
        same.push_back(threading::current_thread() == threading::current_thread());
        same.push_back(threading::current_thread().name() == "it");
        same.push_back(threading::current_thread().is_alive());
    });
    t.set_name("it");
    t.start();
    t.join();
    EXPECT_EQ(same, (std::vector{true, true, true}));
}

TEST(ThreadRef, enumerate_gives_all_that_live_and_active_count_their_number) {
    const auto before = threading::active_count();
    EXPECT_EQ(threading::enumerate().size(), before);
    Event end;
    std::vector<Thread> threads;
    for (int i = 0; i < 20; ++i) threads.emplace_back([&] { end.wait(); });
    EXPECT_EQ(threading::active_count(), before);
    for (auto& t : threads) t.start();
    const auto all = threading::enumerate();
    EXPECT_EQ(all.size(), before + 20);
    for (const auto& t : threads) EXPECT_EQ(std::ranges::count(all, ThreadRef(t)), 1);
    EXPECT_EQ(std::ranges::count(all, threading::main_thread()), 1);
    end.set();
    for (auto& t : threads) t.join();
    EXPECT_EQ(threading::active_count(), before);
}

TEST(ThreadRef, a_foreign_thread_is_a_dummy_until_it_ends) { // test_foreign_thread, test_ident_of_no_threading_threads
    Event known, end;
    ThreadRef dummy = threading::main_thread();
    std::thread foreign([&] {
        dummy = threading::current_thread();
        EXPECT_EQ(dummy, threading::current_thread());
        EXPECT_EQ(dummy.ident(), threading::get_ident());
        EXPECT_EQ(dummy.native_id(), threading::get_native_id());
        known.set();
        end.wait();
    });
    known.wait();
    EXPECT_EQ(dummy.name().substr(0, 6), "Dummy-");
    EXPECT_TRUE(dummy.is_alive());
    EXPECT_TRUE(dummy.daemon());
    EXPECT_THROW(dummy.join(), UsageError);
    EXPECT_THROW(dummy.set_daemon(false), UsageError);
    auto all = threading::enumerate();
    EXPECT_EQ(std::ranges::count(all, dummy), 1);
    dummy.set_name("renamed");
    EXPECT_NE(wait::Registry::describe().find("\"renamed\""), std::string::npos);
    end.set();
    foreign.join();
    EXPECT_FALSE(dummy.is_alive());
    EXPECT_TRUE(dummy.join()) << "what has ended needs no waiting";
    all = threading::enumerate();
    EXPECT_EQ(std::ranges::count(all, dummy), 0);
}

TEST(ThreadRef, in_a_coroutine_is_the_thread_of_the_loop) {
    testing::TestLoop loop;
    ThreadRef seen = threading::main_thread();
    std::string refused;
    Thread t([&] {
        loop.spawn([&]() -> testing::Co<> {
            seen = threading::current_thread();
            try {
                co_await seen.async_join();
            } catch (const UsageError& e) {
                refused = e.what();
            }
        });
        loop.run();
    });
    t.start();
    t.join();
    EXPECT_EQ(seen, t);
    EXPECT_NE(refused.find("would wait for itself"), std::string::npos) << refused;
}

// ---- fork(). In the child, which ends by _exit: what is true is counted.

template <class F>
int true_in_child(F child) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        int n = 0;
        for (const bool b : child()) n += b ? 1 : 100;
        ::_exit(n);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(ThreadRefFork,
     child_has_one_thread_and_it_is_the_main_one) { // test_main_thread_after_fork, test_is_alive_after_fork
    Event end;
    Thread other([&] { end.wait(); });
    other.start();
    testing::wait_until_parked(1);
    EXPECT_EQ(true_in_child([&] {
                  const ThreadRef main = threading::main_thread();
                  return std::vector{main.name() == "MainThread",
                                     main == threading::current_thread(),
                                     main.ident() == threading::get_ident(),
                                     main.native_id() == ::getpid(),
                                     threading::get_native_id() == ::getpid(),
                                     threading::active_count() == 1,
                                     threading::enumerate().size() == 1,
                                     !other.is_alive(),
                                     other.join(),
                                     other.join(1s)};
              }),
              10);
    EXPECT_TRUE(other.is_alive());
    end.set();
    other.join();
}

TEST(ThreadRefFork, forking_thread_becomes_the_main_one) { // test_main_thread_after_fork_from_nonmain_thread
    const ThreadRef parents_main = threading::main_thread();
    int good = 0;
    Thread t({.name = "forker"}, [&] {
        good = true_in_child([&] {
            const ThreadRef main = threading::main_thread();
            return std::vector{main.name() == "forker",
                               main == threading::current_thread(),
                               main.ident() == threading::get_ident(),
                               main.native_id() == ::getpid(),
                               threading::active_count() == 1,
                               !parents_main.is_alive(),
                               parents_main.join()};
        });
    });
    t.start();
    t.join();
    EXPECT_EQ(good, 7);
}

TEST(ThreadRefFork, a_foreign_thread_becomes_the_main_one_too) { // test_dummy_thread_after_fork
    int known = 0, unknown = 0;
    std::thread([&] {
        unknown = true_in_child([&] {
            return std::vector{threading::main_thread() == threading::current_thread(),
                               threading::main_thread().name() == "MainThread", threading::active_count() == 1};
        });
        static_cast<void>(threading::current_thread());
        known = true_in_child([&] {
            return std::vector{threading::main_thread() == threading::current_thread(),
                               threading::main_thread().name() == "MainThread", threading::active_count() == 1,
                               !threading::main_thread().daemon()};
        });
    }).join();
    EXPECT_EQ(unknown, 3);
    EXPECT_EQ(known, 4);
}

TEST(ThreadRefFork, child_can_start_threads_and_use_locks) {
    threading::Lock lock;
    EXPECT_EQ(true_in_child([&] {
                  int n = 0;
                  Thread t([&] {
                      std::scoped_lock guard(lock);
                      n = 1;
                  });
                  t.start();
                  t.join();
                  return std::vector{n == 1, threading::active_count() == 1};
              }),
              2);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

TEST(ThreadRefFork, works_while_threads_come_and_go) { // test_reinit_tls_after_fork
#if defined(UNDER_TSAN)
    GTEST_SKIP() << "ThreadSanitizer refuses new threads after a fork of several";
#elif defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "GCC 12's AddressSanitizer forks without its allocator's locks: the child may find them taken";
#endif
    atomic<bool> stop{false};
    std::vector<Thread> threads;
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([&] {
            while (!stop.load()) {
                Thread t([] { static_cast<void>(threading::current_thread().name()); });
                t.start();
                t.join();
            }
        });
    for (auto& t : threads) t.start();
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(true_in_child([&] {
                      Thread t([] {});
                      t.start();
                      return std::vector{t.join(), threading::active_count() == 1};
                  }),
                  2);
    }
    stop.store(true);
}

} // namespace
} // namespace sennit
