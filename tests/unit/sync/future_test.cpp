#include <sennit/sync/future.hpp>

#include "support/test_loop.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using sync::Future;
using testing::Co;
using testing::TestLoop;
using testing::wait_until_parked;

TEST(Future, gives_the_value_that_was_set) {
    Future<int> f;
    EXPECT_FALSE(f.done());
    f.set_result(42);
    EXPECT_TRUE(f.done());
    EXPECT_EQ(f.result(), 42);
    EXPECT_EQ(f.result(), 42); // again
    EXPECT_EQ(f.exception(), nullptr);
}

TEST(Future, of_void_and_of_a_reference_work_as_well) {
    Future<void> done;
    done.set_result();
    done.result();
    int x = 1;
    Future<int&> ref;
    ref.set_result(x);
    EXPECT_EQ(&ref.result(), &x);
}

TEST(Future, result_of_an_lvalue_is_a_reference_that_lives_as_long_as_a_handle) {
    Future<std::string> f;
    f.set_result("long enough to be on the heap");
    std::string& in_place = f.result();
    in_place += "!";
    const Future<std::string> copy = f;
    EXPECT_EQ(copy, f);
    EXPECT_EQ(&f.result(), &in_place);
}

TEST(Future, result_of_the_last_handle_is_moved_out) {
    Future<std::unique_ptr<int>> f;
    f.set_result(std::make_unique<int>(3));
    std::unique_ptr<int> p = std::move(f).result();
    EXPECT_EQ(*p, 3);

    Future<std::string> shared;
    shared.set_result("x");
    Future<std::string> other = shared;
    EXPECT_EQ(std::move(shared).result(), "x");
    EXPECT_EQ(other.result(), "x"); // copied, for another handle was left
}

TEST(Future, wakes_all_who_wait_threads_and_coroutines) {
    Future<int> f;
    TestLoop loop;
    int in_coroutine = 0;
    loop.spawn([&]() -> Co<void> { in_coroutine = co_await f; });
    loop.start();
    int in_thread = 0;
    std::thread t([&] { in_thread = f.result(); });
    wait_until_parked(2);
    f.set_result(7);
    t.join();
    loop.join();
    EXPECT_EQ(in_thread, 7);
    EXPECT_EQ(in_coroutine, 7);
}

TEST(Future, times_out_in_threads_and_coroutines) {
    Future<int> f;
    EXPECT_THROW(f.result(0s), TimeoutError);
    EXPECT_THROW(f.result(1ms), TimeoutError);
    EXPECT_THROW(f.exception(1ms), TimeoutError);
    EXPECT_FALSE(f.wait(1ms));
    TestLoop loop;
    bool timed_out = false;
    loop.spawn([&]() -> Co<void> {
        try {
            co_await f.async_result(1ms);
        } catch (const TimeoutError&) {
            timed_out = true;
        }
    });
    loop.run();
    EXPECT_TRUE(timed_out);
}

TEST(Future, a_cancelled_waiter_leaves_and_the_future_goes_on) {
    Future<int> f;
    TestLoop loop;
    auto& task = loop.spawn([&]() -> Co<void> { co_await f; });
    loop.start();
    wait_until_parked(task);
    task.cancel();
    task.done().wait();
    EXPECT_TRUE(task.was_cancelled());
    EXPECT_FALSE(f.done());
    f.set_result(1);
    EXPECT_EQ(f.result(), 1);
    loop.join();
}

TEST(Future, a_value_that_throws_while_it_is_stored_is_the_futures_error) {
    struct Throws {
        Throws() = default;
        Throws(const Throws&) { throw std::runtime_error("no copy today"); }
    };
    Future<Throws> f;
    f.set_result(Throws());
    EXPECT_THROW(f.result(), std::runtime_error);
}

} // namespace
} // namespace sennit
