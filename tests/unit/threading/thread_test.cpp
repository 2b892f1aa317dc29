#include <sennit/threading/thread.hpp>

#include <sennit/os/futex.hpp>
#include <sennit/threading.hpp>
#include <sennit/wait/registry.hpp>

#include "support/test_loop.hpp"

#include <algorithm>
#include <deque>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using testing::Co;
using testing::TestLoop;
using threading::Event;
using threading::Thread;
using threading::ThreadRef;

// What excepthook is told, while one lives.
class HookCapture {
  public:
    HookCapture() : before_(threading::excepthook.get()) {
        threading::excepthook = [this](const threading::ExceptHookArgs& a) {
            std::scoped_lock guard(lock_);
            told_.push_back(a);
        };
    }
    ~HookCapture() { threading::excepthook = before_; }
    std::vector<threading::ExceptHookArgs> told() {
        std::scoped_lock guard(lock_);
        return told_;
    }

  private:
    threading::ExceptHook::Function before_;
    threading::Lock lock_;
    std::vector<threading::ExceptHookArgs> told_;
};

template <class F>
std::string usage_error_of(F f) {
    try {
        f();
    } catch (const UsageError& e) {
        return e.what();
    }
    return "no UsageError";
}

#define EXPECT_SAYS(statement, words) EXPECT_THAT(usage_error_of([&] { statement; }), ::testing::HasSubstr(words))

TEST(Thread, runs_its_function_with_copies_of_the_arguments) {
    int result = 0;
    std::string text = "abc";
    Thread t([](int a, std::string s, int& out) { out = a + static_cast<int>(s.size()); }, 39, text, std::ref(result));
    text = "changed";
    EXPECT_EQ(result, 0);
    t.start();
    EXPECT_TRUE(t.join());
    EXPECT_EQ(result, 42);
}

TEST(Thread, takes_arguments_that_can_only_be_moved_and_members) {
    auto number = std::make_unique<int>(7);
    int seen = 0;
    Thread t([&seen](std::unique_ptr<int> n) { seen = *n; }, std::move(number));
    t.start();
    t.join();
    EXPECT_EQ(seen, 7);

    struct Counter {
        int n = 0;
        void add(int by) { n += by; }
    } counter;
    Thread member(&Counter::add, &counter, 5);
    member.start();
    member.join();
    EXPECT_EQ(counter.n, 5);
}

TEST(Thread, a_list_or_one_value_is_one_argument) { // test_args_argument
    std::size_t seen = 0;
    Thread list([&](std::vector<int> v) { seen = v.size(); }, std::vector{1, 2, 3});
    list.start();
    list.join();
    EXPECT_EQ(seen, 3u);
    Thread one([&](const char* s) { seen = std::string(s).size(); }, "four");
    one.start();
    one.join();
    EXPECT_EQ(seen, 4u);
}

TEST(Thread, calls_a_target_that_converts_to_false) { // test_boolean_target
    struct Target {
        bool* ran;
        explicit operator bool() const { return false; }
        void operator()() const { *ran = true; }
    };
    bool ran = false;
    Thread t(Target{&ran});
    t.start();
    t.join();
    EXPECT_TRUE(ran);
}

TEST(Thread, without_function_and_run_does_nothing) {
    Thread t;
    t.start();
    EXPECT_TRUE(t.join(60s));
}

TEST(Thread, has_the_name_given_or_a_counted_one) { // test_name
    EXPECT_EQ(Thread({.name = "myname1"}).name(), "myname1");
    EXPECT_EQ(Thread({.name = "myname2"}, [] {}).name(), "myname2");
    const std::string first = Thread([] {}).name();
    const std::string second = Thread({.name = ""}).name();
    ASSERT_EQ(first.substr(0, 7), "Thread-");
    EXPECT_EQ(std::stoi(second.substr(7)), std::stoi(first.substr(7)) + 1);
}

TEST(Thread, name_can_change_at_any_time_and_reaches_agent_and_kernel) { // test_set_name
    Event go, renamed;
    Thread t({.name = "worker"}, [&] {
        go.wait();
        EXPECT_EQ(threading::current_thread().name(), "another name, a long one");
        threading::current_thread().set_name("by itself");
        renamed.set();
        go.clear();
        go.wait();
    });
    t.start();
    testing::wait_until_parked(1);
    const auto kernel_name = [&] {
        char name[32] = {};
        ::pthread_getname_np(t.ident(), name, sizeof name);
        return std::string(name);
    };
    EXPECT_EQ(kernel_name(), "worker");
    t.set_name("another name, a long one");
    EXPECT_EQ(kernel_name(), "another name, a");
    const std::string agents = wait::Registry::describe();
    EXPECT_NE(agents.find("\"another name, a long one\" (tid " + std::to_string(t.native_id())), std::string::npos)
        << agents;
    go.set();
    renamed.wait();
    EXPECT_EQ(t.name(), "by itself");
    testing::wait_until_parked(1);
    t.set_name("grün und größer"); // the kernel's name ends before the character that does not fit
    EXPECT_EQ(kernel_name(), "grün und gr\xC3\xB6");
    go.set();
    t.join();
    t.set_name("after its end");
    EXPECT_EQ(t.name(), "after its end");
}

TEST(Thread, names_may_change_while_threads_begin_and_end) {
    for (int i = 0; i < 300; ++i) {
        Thread t([] {});
        t.start();
        t.set_name("a" + std::to_string(i));
        t.set_name("b" + std::to_string(i));
        EXPECT_EQ(t.name(), "b" + std::to_string(i));
        t.join();
    }
}

TEST(Thread, shows_its_life) {
    Event running, end;
    Thread t([&] {
        running.set();
        end.wait();
    });
    EXPECT_FALSE(t.is_alive());
    EXPECT_EQ(t.ident(), 0u);
    EXPECT_EQ(t.native_id(), 0);
    t.start();
    EXPECT_TRUE(t.is_alive());
    EXPECT_NE(t.ident(), 0u);
    EXPECT_GT(t.native_id(), 0);
    running.wait();
    EXPECT_FALSE(t.join(1ms));
    EXPECT_FALSE(t.join(0s));
    EXPECT_FALSE(t.join(-1s));
    EXPECT_TRUE(t.is_alive());
    end.set();
    EXPECT_TRUE(t.join());
    EXPECT_FALSE(t.is_alive());
    EXPECT_TRUE(t.join());
    EXPECT_TRUE(t.join(0s));
    EXPECT_TRUE(t.join(-1s));
    EXPECT_NE(t.ident(), 0u);
}

TEST(Thread, ids_differ_and_are_those_that_the_thread_sees) { // test_various_ops: native ids
    std::deque<Thread> threads;
    Event end;
    threading::Lock lock;
    std::vector<std::pair<std::uintptr_t, std::int64_t>> seen;
    for (int i = 0; i < 5; ++i)
        threads.emplace_back([&] {
            {
                std::scoped_lock guard(lock);
                seen.emplace_back(threading::get_ident(), threading::get_native_id());
            }
            end.wait();
        });
    std::vector<std::pair<std::uintptr_t, std::int64_t>> told;
    for (auto& t : threads) {
        t.start();
        told.emplace_back(t.ident(), t.native_id());
    }
    end.set();
    for (auto& t : threads) t.join();
    std::ranges::sort(seen);
    std::ranges::sort(told);
    EXPECT_EQ(seen, told);
    EXPECT_EQ(std::ranges::adjacent_find(told), told.end());
    EXPECT_NE(told[0].second, threading::get_native_id());
}

TEST(Thread, misuse_is_a_usage_error_that_says_what_to_do) { // ThreadingExceptionTests
    Thread t({.name = "misused"},
             [] { EXPECT_SAYS(threading::current_thread().join(), "would wait for itself; let its function return"); });
    EXPECT_SAYS(t.join(), "thread \"misused\" has not been started; call start() first");
    t.start();
    EXPECT_SAYS(t.start(), "has been started already; a thread runs once, make another Thread");
    EXPECT_SAYS(t.set_daemon(true), "say it before start()");
    t.join();
    EXPECT_SAYS(t.start(), "has been started already");
    EXPECT_SAYS(t.set_daemon(true), "say it before start()");
    EXPECT_SAYS(threading::main_thread().join(), "would wait for itself");
    EXPECT_SAYS(threading::main_thread().set_daemon(true), "runs already");
}

TEST(Thread, is_started_once_by_one_of_many) {
    for (int i = 0; i < 50; ++i) {
        atomic<int> runs{0}, refused{0};
        Thread t([&] { runs.fetch_add(1); });
        std::deque<Thread> starters;
        for (int s = 0; s < 3; ++s)
            starters.emplace_back([&] {
                try {
                    t.start();
                } catch (const UsageError&) {
                    refused.fetch_add(1);
                }
            });
        for (auto& s : starters) s.start();
        for (auto& s : starters) s.join();
        t.join();
        EXPECT_EQ(runs.load(), 1);
        EXPECT_EQ(refused.load(), 2);
    }
}

TEST(Thread, can_be_joined_by_many_threads_and_coroutines_at_once) {
    Event end;
    int made = 0;
    Thread t([&] {
        end.wait();
        made = 1;
    });
    t.start();
    atomic<int> joined{0};
    std::deque<Thread> joiners;
    for (int i = 0; i < 3; ++i)
        joiners.emplace_back([&, i] {
            if (i == 2 ? t.join(60s) : t.join()) joined.fetch_add(made);
        });
    for (auto& j : joiners) j.start();
    TestLoop loop;
    loop.start();
    for (int i = 0; i < 2; ++i)
        loop.spawn([&, i]() -> Co<> {
            if (co_await t.async_join(i ? Deadline(60s) : forever)) joined.fetch_add(made);
        });
    testing::wait_until_parked(6);
    EXPECT_EQ(joined.load(), 0);
    end.set();
    for (auto& j : joiners) j.join();
    loop.join();
    EXPECT_EQ(joined.load(), 5);
    if (auto error = loop.first_error()) std::rethrow_exception(error);
}

struct Noisy {
    atomic<int>* ended = nullptr;
    ~Noisy() {
        if (ended) ended->fetch_add(1);
    }
};
thread_local Noisy noisy;

TEST(Thread, what_it_did_is_visible_after_join_and_its_thread_locals_are_gone) {
    atomic<int> ended{0};
    for (int i = 0; i < 100; ++i) {
        Thread t([&] { noisy.ended = &ended; });
        t.start();
        if (i % 2)
            t.join();
        else
            EXPECT_TRUE(t.join(60s));
        ASSERT_EQ(ended.load(), i + 1);
    }
}

TEST(Thread, is_not_enumerated_after_join) { // test_enumerate_after_join
    for (int i = 0; i < 100; ++i) {
        Thread t([] {});
        t.start();
        t.join();
        const auto all = threading::enumerate();
        ASSERT_EQ(std::ranges::count(all, ThreadRef(t)), 0);
    }
}

TEST(Thread, destructor_joins_one_that_is_no_daemon) {
    atomic<bool> ended{false};
    Event go;
    {
        Thread t([&] {
            go.wait();
            ended.store(true);
        });
        t.start();
        go.set();
    }
    EXPECT_TRUE(ended.load());
}

TEST(Thread, destructor_leaves_a_daemon_alone) {
    auto go = std::make_shared<Event>();
    auto ended = std::make_shared<Event>();
    ThreadRef ref = [&] {
        Thread t({.name = "left alone", .daemon = true}, [go, ended] {
            go->wait();
            ended->set();
        });
        t.start();
        return ThreadRef(t);
    }();
    EXPECT_TRUE(ref.is_alive());
    EXPECT_EQ(ref.name(), "left alone");
    go->set();
    EXPECT_TRUE(ref.join());
    EXPECT_TRUE(ended->is_set());
}

TEST(Thread, that_is_never_joined_leaks_nothing) { // test_leak_without_join
    for (int i = 0; i < 50; ++i) {
        auto ended = std::make_shared<Event>();
        Thread t({.daemon = true}, [ended] { ended->set(); });
        t.start();
        if (i % 2) ended->wait();
    }
}

TEST(Thread, function_and_arguments_end_with_the_thread) { // test_no_refcycle_through_target
    auto held = std::make_shared<int>(1);
    Thread good([](const std::shared_ptr<int>&) {}, held);
    Thread bad([](const std::shared_ptr<int>&) { throw std::runtime_error("as planned"); }, held);
    HookCapture capture;
    EXPECT_EQ(held.use_count(), 3);
    good.start();
    bad.start();
    good.join();
    bad.join();
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_EQ(capture.told().size(), 1u);
}

TEST(Thread, function_that_was_never_started_is_destroyed_with_it) {
    auto held = std::make_shared<int>(1);
    {
        Thread t([held] {});
    }
    EXPECT_EQ(held.use_count(), 1);
}

TEST(Thread, destroys_the_object_that_owns_it) {
    // The Thread lies in what its own function destroys.
    auto owner = std::make_shared<std::unique_ptr<Thread>>();
    Event ended;
    *owner = std::make_unique<Thread>([owner, &ended] {
        owner->reset();
        ended.set();
    });
    ThreadRef ref(**owner);
    (*owner)->start();
    ended.wait();
    EXPECT_TRUE(ref.join());
}

TEST(Thread, moves_before_and_while_it_runs) {
    Event go;
    int result = 0;
    Thread a([&] { result = 1; });
    Thread b(std::move(a));
    EXPECT_SAYS(a.start(), "was moved from");
    EXPECT_SAYS(a.join(), "was moved from");
    EXPECT_FALSE(a.is_alive());
    EXPECT_EQ(a.name(), "");
    b.start();
    b.join();
    EXPECT_EQ(result, 1);

    Thread running([&] { go.wait(); });
    running.start();
    Thread other([&] { result = 2; });
    other.start();
    other = std::move(running); // joins what it had
    EXPECT_EQ(result, 2);
    EXPECT_TRUE(other.is_alive());
    go.set();
    EXPECT_TRUE(other.join());

    std::vector<Thread> many;
    for (int i = 0; i < 20; ++i) {
        many.emplace_back([&] { go.wait(); });
        many.back().start();
    }
    for (auto& t : many) EXPECT_TRUE(t.join());
    Thread& same = many.front();
    many.front() = std::move(same);
    EXPECT_TRUE(many.front().join()) << "a move to itself changes nothing";
}

TEST(Thread, run_called_by_hand_calls_the_function_here_once) {
    int calls = 0;
    Thread t([&] { ++calls; });
    t.run();
    t.run();
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(t.is_alive());
    t.start(); // and has nothing left to do
    t.join();
    EXPECT_EQ(calls, 1);
}

// ---- daemons

TEST(Thread, daemon_is_as_given_or_as_the_thread_that_makes_it) { // test_daemon_param
    EXPECT_FALSE(Thread([] {}).daemon());
    EXPECT_FALSE(Thread({.daemon = false}).daemon());
    EXPECT_TRUE(Thread({.daemon = true}).daemon());
    Thread t;
    t.set_daemon(true);
    EXPECT_TRUE(t.daemon());
    t.set_daemon(false);
    EXPECT_FALSE(t.daemon());
    bool inherited = false, given = true;
    Thread daemon({.daemon = true}, [&] {
        inherited = Thread([] {}).daemon();
        given = Thread({.daemon = false}, [] {}).daemon();
    });
    daemon.start();
    daemon.join();
    EXPECT_TRUE(inherited);
    EXPECT_FALSE(given);
}

TEST(Thread, made_by_a_foreign_thread_is_no_daemon) {
    bool daemon = true;
    pthread_t foreign{};
    ASSERT_EQ(::pthread_create(
                  &foreign, nullptr,
                  [](void* out) -> void* {
                      static_cast<void>(threading::current_thread());
                      *static_cast<bool*>(out) = Thread([] {}).daemon();
                      return nullptr;
                  },
                  &daemon),
              0);
    ::pthread_join(foreign, nullptr);
    EXPECT_FALSE(daemon);
}

// ---- subclasses

class Numbered final : public Thread {
  public:
    explicit Numbered(int number) : Thread({.name = "numbered"}), number_(number) {}
    ~Numbered() override { join_if_started(); }
    void run() override { result = number_ * 2; }
    int result = 0;

  private:
    int number_;
};

TEST(ThreadSubclass, runs_its_run) {
    Numbered t(21);
    t.start();
    t.join();
    EXPECT_EQ(t.result, 42);
    EXPECT_EQ(t.name(), "numbered");
}

TEST(ThreadSubclass, run_may_call_that_of_the_base) {
    struct Twice final : Thread {
        using Thread::Thread;
        ~Twice() override { join_if_started(); }
        void run() override {
            Thread::run();
            ++after;
        }
        int after = 0;
    };
    int calls = 0;
    Twice t([&] { ++calls; });
    t.start();
    t.join();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(t.after, 1);
}

TEST(ThreadSubclass, that_joins_in_its_destructor_is_safe_to_destroy) {
    atomic<int> sum{0};
    struct Worker final : Thread {
        explicit Worker(atomic<int>& sum) : sum(sum) {}
        ~Worker() override { join_if_started(); }
        void run() override { sum.fetch_add(static_cast<int>(text.size())); }
        atomic<int>& sum;
        std::string text = "a string that is too long to be stored in place";
    };
    HookCapture capture;
    for (int i = 0; i < 100; ++i) {
        Worker w(sum);
        w.start();
    }
    { Worker never_started(sum); }
    EXPECT_EQ(sum.load(), 4700);
    EXPECT_TRUE(capture.told().empty());
}

// run() uses nothing of the object, so that the test has no undefined behaviour.
struct Careless final : Thread {
    void run() override {
        running->set();
        end->wait();
    }
    static inline Event* running = nullptr;
    static inline Event* end = nullptr;
};

TEST(ThreadSubclass, destroyed_while_it_runs_is_reported_by_name_and_joined) {
    Event running, end;
    Careless::running = &running;
    Careless::end = &end;
    HookCapture capture;
    ThreadRef ref = threading::main_thread();
    {
        auto t = std::make_unique<Careless>();
        ref = *t;
        t->start();
        running.wait();
        Thread ender([&] {
            testing::wait_until_parked(2);
            end.set();
        });
        ender.start();
        t.reset();
    }
    EXPECT_FALSE(ref.is_alive());
    const auto told = capture.told();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].exc_type, "sennit::UsageError");
    EXPECT_THAT(told[0].message,
                ::testing::HasSubstr("Careless is destroyed while its run() runs, and its members are gone"));
    EXPECT_THAT(told[0].message, ::testing::HasSubstr("call join_if_started() in the destructor of"));
    EXPECT_EQ(told[0].thread, ref);
    EXPECT_THROW(std::rethrow_exception(told[0].exc_value), UsageError);
}

TEST(ThreadSubclass, that_runs_refuses_to_move) {
    Event running, end;
    Careless::running = &running;
    Careless::end = &end;
    Careless t;
    t.start();
    running.wait();
    EXPECT_SAYS(Thread moved(std::move(t)), "Careless can't be moved while its run() runs in it");
    Thread other;
    EXPECT_SAYS(other = std::move(t), "Careless can't be moved while its run() runs in it");
    end.set();
    EXPECT_TRUE(t.join());
    Thread moved(std::move(t)); // it has ended: nothing uses it
    EXPECT_TRUE(moved.join());
}

// ---- the system says no

TEST(Thread, that_the_system_refuses_leaves_nothing_half_and_starts_when_there_is_room) { // test_limbo_cleanup
    const auto before = threading::active_count();
    int runs = 0;
    Thread t({.name = "refused", .stack_size = std::size_t{1} << 50}, [&] { ++runs; });
    for (int i = 0; i < 3; ++i) {
        try {
            t.start();
            FAIL() << "a petabyte of stack";
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), EAGAIN) << e.what();
            EXPECT_THAT(e.what(), ::testing::HasSubstr("thread \"refused\""));
        }
        EXPECT_FALSE(t.is_alive());
        EXPECT_EQ(t.ident(), 0u);
        EXPECT_EQ(threading::active_count(), before);
        EXPECT_SAYS(t.join(), "has not been started");
    }
    threading::stack_size(std::size_t{1} << 50);
    Thread other([&] { ++runs; });
    EXPECT_THROW(other.start(), OSError);
    threading::stack_size(0);
    other.start(); // the same object
    other.join();
    EXPECT_EQ(runs, 1);
}

TEST(Thread, stack_size_is_at_least_32_KiB_and_gives_the_former_value) {
    EXPECT_EQ(threading::stack_size(), 0u);
    EXPECT_EQ(threading::stack_size(262144), 0u);
    EXPECT_EQ(threading::stack_size(), 262144u);
    EXPECT_SAYS(threading::stack_size(4096), "4096 bytes are too few");
    EXPECT_SAYS(Thread({.stack_size = 1}), "1 bytes are too few");
    EXPECT_EQ(threading::stack_size(0), 262144u);
}

TEST(Thread, has_the_stack_asked_for) { // test_various_ops_small_stack, _large_stack
    const auto stack_of_this_thread = [] {
        pthread_attr_t attributes;
        ::pthread_getattr_np(::pthread_self(), &attributes);
        std::size_t bytes = 0;
        void* at = nullptr;
        ::pthread_attr_getstack(&attributes, &at, &bytes);
        ::pthread_attr_destroy(&attributes);
        return bytes;
    };
    std::size_t small = 0, large = 0, usual = 0;
    Thread a({.stack_size = 262144}, [&] { small = stack_of_this_thread(); });
    threading::stack_size(1 << 20);
    Thread b([&] { large = stack_of_this_thread(); });
    a.start();
    b.start();
    b.join();
    threading::stack_size(0);
    Thread c([&] { usual = stack_of_this_thread(); });
    c.start();
    a.join();
    c.join();
    EXPECT_GE(small, 262144u);
    EXPECT_LT(small, 1u << 20);
    EXPECT_GE(large, 1u << 20);
    EXPECT_LT(large, usual);
}

// ---- odd ends

TEST(Thread, that_calls_pthread_exit_is_joined_and_cleaned_up) {
    auto held = std::make_shared<int>(1);
    HookCapture capture;
    bool unwound = false;
    Thread t([held, &unwound] {
        struct Unwinds {
            bool& done;
            ~Unwinds() { done = true; }
        } unwinds{unwound};
        ::pthread_exit(nullptr);
    });
    t.start();
    EXPECT_TRUE(t.join());
    EXPECT_TRUE(unwound);
    EXPECT_TRUE(capture.told().empty());
    EXPECT_EQ(held.use_count(), 1);
}

TEST(Thread,
     bare_throw_in_a_thread_without_exception_would_terminate_so_one_checks) { // test_bare_raise_in_brand_new_thread
    bool none = false;
    Thread t([&] { none = std::current_exception() == nullptr; });
    try {
        throw 1;
    } catch (int) {
        t.start();
        t.join();
    }
    EXPECT_TRUE(none) << "a thread does not begin with its starter's exception";
}

// ---- waiting, time, cancellation

TEST(Thread, join_by_a_coroutine_ends_at_its_deadline) {
    Event end;
    Thread t([&] { end.wait(); });
    t.start();
    TestLoop loop;
    loop.spawn([&]() -> Co<> {
        EXPECT_FALSE(co_await t.async_join(0s));
        EXPECT_FALSE(co_await t.async_join(1ms));
        end.set();
        EXPECT_TRUE(co_await t.async_join());
        EXPECT_TRUE(co_await t.async_join(-1s));
    });
    loop.run();
    if (auto error = loop.first_error()) std::rethrow_exception(error);
}

TEST(Thread, join_by_a_cancelled_coroutine_ends_cancelled_and_the_thread_goes_on) {
    Event end;
    Thread t([&] { end.wait(); });
    t.start();
    TestLoop loop;
    loop.start();
    auto& task = loop.spawn([&]() -> Co<> { co_await t.async_join(); });
    testing::wait_until_parked(task);
    task.cancel();
    task.done().wait();
    EXPECT_TRUE(task.was_cancelled());
    EXPECT_TRUE(t.is_alive());
    end.set();
    EXPECT_TRUE(t.join());
    loop.join();
}

TEST(Thread, join_with_a_deadline_by_a_cancelled_thread_ends_cancelled) {
    Event end;
    Thread t([&] { end.wait(); });
    t.start();
    atomic<wait::Agent*> joiner_agent{nullptr};
    bool cancelled = false;
    Thread joiner([&] {
        joiner_agent.store(&wait::current_agent());
        try {
            t.join(1h);
        } catch (const CancelledError&) {
            cancelled = true;
        }
        EXPECT_FALSE(t.join(1ms)) << "one cancellation ends one wait";
    });
    joiner.start();
    testing::wait_until_parked(2);
    joiner_agent.load()->cancel();
    joiner.join();
    EXPECT_TRUE(cancelled);
    end.set();
}

TEST(Thread, join_takes_any_deadline) { // P19
    Event end;
    Thread t([&] { end.wait(); });
    t.start();
    EXPECT_FALSE(t.join(1ns));
    EXPECT_FALSE(t.join(-std::chrono::hours::max()));
    EXPECT_FALSE(t.join(std::chrono::steady_clock::now() - 1s));
    EXPECT_FALSE(t.join(std::chrono::steady_clock::time_point::min()));
    EXPECT_THROW(t.join(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())), UsageError);
    Thread ender([&] {
        testing::wait_until_parked(2);
        end.set();
    });
    ender.start();
    EXPECT_TRUE(t.join(threading::TIMEOUT_MAX));
    EXPECT_TRUE(t.join(std::chrono::hours::max()));
}

TEST(Thread, a_cycle_of_joins_is_named) { // P23
    // Three waits in a circle: t1 joins t2, t2 waits for a lock that t1 holds.
    threading::Lock lock;
    Event holds;
    Thread t2({.name = "waits for the lock"}, [&] {
        holds.wait();
        lock.acquire();
        lock.release();
    });
    Thread t1({.name = "joins"}, [&] {
        lock.acquire();
        holds.set();
        t2.join();
    });
    t2.start();
    t1.start();
    testing::wait_until_parked(2);
    std::vector<wait::Agent::Snapshot> cycle;
    while (cycle.empty()) cycle = wait::Registry::find_deadlock();
    EXPECT_EQ(cycle.size(), 2u);
    const std::string text = wait::Registry::describe();
    EXPECT_THAT(text, ::testing::HasSubstr("DEADLOCK of 2 agents"));
    EXPECT_THAT(text, ::testing::HasSubstr("\"joins\""));
    EXPECT_THAT(text, ::testing::HasSubstr("waits in Thread.join"));
    lock.release(); // any agent may
    t1.join();
    t2.join();
}

TEST(Thread, destructor_says_after_5_s_for_whom_it_waits) { // P2
    static atomic<std::int64_t> ahead{0};
    base::set_clock_for_test([]() noexcept {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
                   .count() +
               ahead.load();
    });
    Event end;
    Thread clock([&] {
        testing::wait_until_parked(2);
        ahead.store(6'000'000'000); // the destructor's 5 s are over
        os::futex_recheck_for_test();
        while (true) { // until it waits without a deadline
            const auto all = wait::Registry::snapshot();
            if (std::ranges::any_of(all, [](const auto& a) {
                    return a.site && std::string_view(a.site->call) == "join" && !a.has_deadline && a.parked;
                }))
                break;
        }
        end.set();
    });
    clock.start();
    ::testing::internal::CaptureStderr();
    {
        Thread slow({.name = "slow one"}, [&] { end.wait(); });
        slow.start();
    }
    const std::string said = ::testing::internal::GetCapturedStderr();
    clock.join();
    base::set_clock_for_test(nullptr);
    EXPECT_THAT(said, ::testing::HasSubstr("sennit: ~Thread has waited for 5 s for thread \"slow one\" (tid "));
    EXPECT_THAT(said, ::testing::HasSubstr("; it waits in Event.wait, for "));
}

// ---- many

TEST(Thread, no_more_than_three_of_ten_run_under_a_semaphore) { // test_various_ops
    threading::BoundedSemaphore three(3);
    threading::RLock lock;
    int running = 0, most = 0;
    std::vector<Thread> threads;
    for (int i = 0; i < 10; ++i)
        threads.emplace_back(threading::ThreadOptions{.name = "<thread " + std::to_string(i) + ">"}, [&] {
            std::scoped_lock permit(three);
            {
                std::scoped_lock guard(lock);
                most = std::max(most, ++running);
            }
            std::scoped_lock guard(lock);
            --running;
        });
    for (auto& t : threads) t.start();
    for (auto& t : threads) t.join();
    EXPECT_EQ(running, 0);
    EXPECT_LE(most, 3);
}

TEST(Thread, bounded_semaphore_knows_its_limit_across_threads) { // test_BoundedSemaphore_limit
    for (int limit = 1; limit < 6; ++limit) {
        threading::BoundedSemaphore bounded(limit);
        for (const bool acquire : {true, false}) {
            std::vector<Thread> threads;
            for (int i = 0; i < limit; ++i)
                threads.emplace_back([&] { acquire ? static_cast<void>(bounded.acquire()) : bounded.release(); });
            for (auto& t : threads) t.start();
            for (auto& t : threads) t.join();
        }
        EXPECT_THROW(bounded.release(), UsageError);
    }
}

} // namespace
} // namespace sennit
