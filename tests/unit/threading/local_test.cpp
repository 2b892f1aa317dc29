#include <sennit/threading/local.hpp>

#include <sennit/threading.hpp>

#include "support/test_loop.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace sennit {
namespace {

using testing::Co;
using testing::TestLoop;
using threading::Event;
using threading::local;
using threading::Thread;

constinit local<int> global; // needs no initialisation order

TEST(Local, each_thread_has_its_own) { // test_threading_local
    *global = 1;
    Event set, end;
    Thread a([&] {
        EXPECT_FALSE(global.has_value());
        EXPECT_EQ(*global, 0);
        *global = 2;
        set.set();
        end.wait();
        EXPECT_EQ(*global, 2);
    });
    a.start();
    set.wait();
    Thread b([&] { EXPECT_EQ(*global, 0); });
    b.start();
    b.join();
    EXPECT_EQ(*global, 1);
    end.set();
    a.join();
}

TEST(Local, value_ends_with_its_thread) { // test_local_refs
    local<std::shared_ptr<int>> held;
    std::vector<std::weak_ptr<int>> weak(20);
    for (auto& w : weak) {
        Thread t([&] {
            *held = std::make_shared<int>(1);
            w = *held;
        });
        t.start();
        t.join();
    }
    for (auto& w : weak) EXPECT_TRUE(w.expired());
    std::weak_ptr<int> foreign;
    std::thread([&] {
        *held = std::make_shared<int>(1);
        foreign = *held;
    }).join();
    EXPECT_TRUE(foreign.expired()) << "also in a thread that sennit did not start";
}

TEST(Local, value_ends_while_its_thread_is_still_the_current_one) { // test_locals_at_exit, threads_join_2
    struct Last {
        std::string* name = nullptr;
        ~Last() {
            if (name) *name = threading::current_thread().name();
        }
    };
    local<Last> last;
    std::string name;
    Thread t({.name = "its own"}, [&] { last->name = &name; });
    t.start();
    t.join();
    EXPECT_EQ(name, "its own");
}

TEST(Local, each_coroutine_has_its_own) {
    local<std::string> user;
    *user = "the loop's thread";
    Event go;
    TestLoop loop;
    std::vector<std::string> seen;
    for (const char* name : {"Alice", "Bob"})
        loop.spawn([&, name]() -> Co<> {
            EXPECT_FALSE(user.has_value());
            *user = name;
            co_await go.async_wait();
            seen.push_back(*user);
        });
    loop.spawn([&]() -> Co<> {
        go.set();
        co_return;
    });
    loop.run();
    EXPECT_EQ(seen, (std::vector<std::string>{"Alice", "Bob"}));
    EXPECT_EQ(*user, "the loop's thread");
}

TEST(Local, makes_values_as_told_in_the_agent_itself) { // test_derived, test_arguments
    atomic<int> made{0};
    local<std::string> x([&] { return threading::current_thread().name() + std::to_string(made.fetch_add(1)); });
    Thread t({.name = "T"}, [&] {
        EXPECT_EQ(*x, "T0");
        EXPECT_EQ(x->size(), 2u);
        EXPECT_EQ(&x.get(), &*x);
    });
    t.start();
    t.join();
    EXPECT_EQ(*x, "MainThread1");
    EXPECT_EQ(*x, "MainThread1");
    x.reset();
    EXPECT_FALSE(x.has_value());
    EXPECT_EQ(*x, "MainThread2");
}

TEST(Local, maker_that_throws_leaves_nothing) {
    bool fail = true;
    local<int> x([&] {
        if (fail) throw std::runtime_error("not yet");
        return 3;
    });
    EXPECT_THROW(x.get(), std::runtime_error);
    EXPECT_FALSE(x.has_value());
    fail = false;
    EXPECT_EQ(*x, 3);
}

TEST(Local, maker_that_uses_the_local_gets_the_value_that_it_made) {
    int depth = 0;
    std::unique_ptr<local<int>> x;
    x = std::make_unique<local<int>>([&]() -> int { return ++depth == 1 ? **x + 10 : 5; });
    EXPECT_EQ(**x, 5);
    EXPECT_EQ(**x, 5);
}

TEST(Local, new_ones_do_not_see_values_of_former_ones) { // test_derived_cycle_dealloc
    Event made, go;
    std::vector<std::unique_ptr<local<int>>> later;
    bool empty = false;
    Thread t([&] {
        auto former = std::make_unique<local<int>>();
        **former = 7;
        former.reset();
        made.set();
        go.wait();
        empty = true;
        for (auto& l : later) empty = empty && !l->has_value() && **l == 0;
    });
    t.start();
    made.wait();
    for (int i = 0; i < 10; ++i) {
        later.push_back(std::make_unique<local<int>>());
        **later.back() = i;
    }
    go.set();
    t.join();
    EXPECT_TRUE(empty);
}

TEST(Local, takes_the_values_of_living_threads_with_it) {
    auto held = std::make_shared<int>(1);
    auto x = std::make_unique<local<std::shared_ptr<int>>>();
    Event set, end;
    Thread t([&] {
        **x = held;
        set.set();
        end.wait();
    });
    t.start();
    set.wait();
    **x = held;
    EXPECT_EQ(held.use_count(), 3);
    x.reset();
    EXPECT_EQ(held.use_count(), 1);
    end.set();
    t.join();
}

TEST(Local, holds_what_can_not_be_copied_or_moved) {
    local<threading::Lock> lock;
    lock->acquire();
    Thread t([&] {
        EXPECT_TRUE(lock->acquire(false));
        lock->release();
    });
    t.start();
    t.join();
    lock->release();
}

TEST(Local, comes_and_goes_while_threads_end) { // test_threading_local_clear_race
    for (int i = 0; i < 100; ++i) {
        Event made;
        auto x = std::make_unique<local<std::string>>();
        Thread t([&] {
            **x = "a text that is too long to be stored in place";
            made.set();
        });
        t.start();
        made.wait();
        x.reset();
    }
}

} // namespace
} // namespace sennit
