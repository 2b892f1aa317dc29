// One scenario for every pair of who waits and who wakes.
//
// A scenario's agents are written once, as coroutines that take an Actor; what may wait goes through it:
//
//     class Event : public testing::AgentPairTest {};
//     SENNIT_FOR_ALL_PAIRS(Event);
//     TEST_P(Event, set_releases_who_waits) {
//         sync::Event event;
//         auto& waiter = stage.waiter([&](Actor& me) -> Co<> { EXPECT_TRUE(co_await me.wait(event)); });
//         stage.parked(waiter, event);
//         stage.waker([&](Actor&) -> Co<> { event.set(); co_return; });
//         stage.join();
//     }
//
// For a coroutine agent `co_await me.wait(event)` is `co_await event.async_wait()`; on a thread the same body runs from end
// to end and the call is `event.wait()`. A new kind of agent is one more value of Kind and one more case in Stage::start.
#pragma once

#include "test_loop.hpp"

#include <sennit/base/deadline.hpp>
#include <sennit/sync.hpp>
#include <sennit/wait/agent.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace sennit::testing {

enum class Kind { thread, coroutine };
const char* name_of(Kind kind);
std::vector<Kind> all_kinds();

/// Who waits, who wakes; `one_loop`: two coroutines of the same event loop.
struct Pair {
    Kind waiter = Kind::thread, waker = Kind::thread;
    bool one_loop = false;
};
std::string name_of(const Pair& pair);
std::vector<Pair> all_pairs();
inline void PrintTo(const Pair& pair, std::ostream* out) { *out << name_of(pair); }
inline void PrintTo(Kind kind, std::ostream* out) { *out << name_of(kind); }

/// An agent of a scenario.
class Actor {
  public:
    using Body = std::function<Co<>(Actor&)>;

    ~Actor();
    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    [[nodiscard]] bool is_coroutine() const noexcept { return kind_ == Kind::coroutine; }
    /// While it has not ended.
    [[nodiscard]] wait::Agent& agent() const noexcept { return *agent_.load(); }
    /// Cancels what it waits for, or its next wait. It must not have ended.
    void cancel() noexcept;
    [[nodiscard]] bool ended() const noexcept { return ended_.load(); }
    /// True when its body ended with CancelledError. After it has ended.
    [[nodiscard]] bool was_cancelled() const noexcept { return was_cancelled_; }

    // ---- by the actor itself: what may wait, in its own form

    template <class L>
    Co<bool> acquire(L& lock, bool blocking = true, Deadline deadline = forever) {
        if (is_coroutine()) co_return co_await lock.async_acquire(blocking, deadline);
        co_return lock.acquire(blocking, deadline);
    }
    template <class L>
    Co<bool> acquire(L& lock, Deadline deadline) {
        return acquire(lock, true, deadline);
    }
    Co<bool> wait(sync::Event& event, Deadline deadline = forever) {
        if (is_coroutine()) co_return co_await event.async_wait(deadline);
        co_return event.wait(deadline);
    }
    Co<bool> wait(sync::Condition& condition, Deadline deadline = forever) {
        if (is_coroutine()) co_return co_await condition.async_wait(deadline);
        co_return condition.wait(deadline);
    }
    template <class Predicate>
    Co<bool> wait_for(sync::Condition& condition, Predicate predicate, Deadline deadline = forever) {
        if (is_coroutine()) co_return co_await condition.async_wait_for(predicate, deadline);
        co_return condition.wait_for(predicate, deadline);
    }
    Co<int> wait(sync::Barrier& barrier) {
        if (is_coroutine()) co_return co_await barrier.async_wait();
        co_return barrier.wait();
    }
    Co<int> wait(sync::Barrier& barrier, Deadline deadline) {
        if (is_coroutine()) co_return co_await barrier.async_wait(deadline);
        co_return barrier.wait(deadline);
    }
    /// Anything else: `co_await me.call([&] { return q.get(); }, [&] { return q.async_get(); })`.
    template <class Blocking, class Async>
    Co<std::invoke_result_t<Blocking&>> call(Blocking blocking, Async async) {
        if (is_coroutine()) co_return co_await async();
        co_return blocking();
    }

  private:
    friend class Stage;
    Actor(Kind kind, std::string name, Body body) : kind_(kind), name_(std::move(name)), body_(std::move(body)) {}
    void run_on_thread();
    Co<> run();

    Kind kind_;
    std::string name_;
    Body body_;
    std::atomic<wait::Agent*> agent_{nullptr};
    std::atomic<bool> ended_{false};
    std::atomic<bool> cancel_asked_{false};
    std::exception_ptr error_;
    bool was_cancelled_ = false;
    std::thread thread_;
};

/// The agents of one scenario, seen by the test's own thread, which directs them.
class Stage {
  public:
    explicit Stage(Pair pair = {}) : pair_(pair) {}
    ~Stage();
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    /// Starts an agent of the pair's kind; returns once it runs. Lives as long as the stage.
    Actor& waiter(Actor::Body body) { return start(pair_.waiter, std::move(body)); }
    Actor& waker(Actor::Body body) { return start(pair_.waker, std::move(body), pair_.one_loop); }
    Actor& start(Kind kind, Actor::Body body, bool on_waiters_loop = true);
    /// One that has ended when this returns.
    void wake(Actor::Body body) { join(waker(std::move(body))); }
    /// Waits until it sleeps, in a wait for `object`.
    template <class Object>
    void parked(const Actor& actor, const Object& object) {
        wait_until_parked(actor.agent(), &object);
    }
    /// Waits until it has ended. An exception other than a cancellation that was asked for fails the test.
    void join(Actor& actor);
    /// All of them.
    void join();
    [[nodiscard]] const Pair& pair() const noexcept { return pair_; }

  private:
    Pair pair_;
    std::unique_ptr<TestLoop> waiters_loop_, wakers_loop_;
    std::vector<std::unique_ptr<Actor>> actors_;
};

/// Steps in one order, across agents: who asks for step n waits until n - 1 is done. They begin with 1.
///
///     co_await steps.at(me, 2);  ...  steps.done(2);
class Sequencer {
  public:
    static constexpr std::size_t most = 32;
    Sequencer() { done_[0].set(); }
    Co<bool> at(Actor& me, std::size_t step) { return me.wait(done_[step - 1]); }
    /// For the test's own thread.
    void at(std::size_t step) { done_[step - 1].wait(); }
    void done(std::size_t step) { done_[step].set(); }

  private:
    sync::Event done_[most];
};

/// Tests of two kinds of agents: one suite, each test for every pair.
class AgentPairTest : public ::testing::TestWithParam<Pair> {
  protected:
    Stage stage{GetParam()};
};

/// Tests of agents of one kind: `run(body)` is one that runs to its end.
class AgentTest : public ::testing::TestWithParam<Kind> {
  protected:
    Stage stage{Pair{GetParam(), GetParam(), true}};
    void run(Actor::Body body) { stage.join(stage.waiter(std::move(body))); }
};

#define SENNIT_FOR_ALL_PAIRS(suite)                                                           \
    INSTANTIATE_TEST_SUITE_P(all, suite, ::testing::ValuesIn(::sennit::testing::all_pairs()), \
                             [](const auto& info) { return ::sennit::testing::name_of(info.param); })
#define SENNIT_FOR_ALL_KINDS(suite)                                                           \
    INSTANTIATE_TEST_SUITE_P(all, suite, ::testing::ValuesIn(::sennit::testing::all_kinds()), \
                             [](const auto& info) { return std::string(::sennit::testing::name_of(info.param)); })

} // namespace sennit::testing
