// An event loop for tests: spawns coroutines as agents, on a thread of its own or on the caller's, with little to write.
//
// It is the product's loop and the product's Coro. Under the model, which schedules atomics but no poller, it is a small loop of its
// own; the primitives can't tell.
#pragma once

#if defined(SENNIT_MODEL)
#include "model_loop.hpp"
#else

#include <sennit/asyncio/task.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/registry.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sennit::testing {

template <class T = void>
using Co = asyncio::Coro<T>;

/// How many frames of coroutines there are.
long live_coroutine_frames() noexcept;

class TestLoop;

/// A coroutine that runs on a TestLoop. Lives as long as its loop.
class TestTask {
  public:
    TestTask(const TestTask&) = delete;
    TestTask& operator=(const TestTask&) = delete;
    /// Once the loop has begun with it.
    [[nodiscard]] wait::Agent& agent() const;
    operator wait::Agent&() const { return agent(); } // NOLINT(google-explicit-constructor): it stands for it
    /// Cancels what it waits for, or will wait for first: it begins in any case. Not after its end.
    void cancel() noexcept;
    [[nodiscard]] wait::Agent::Snapshot snapshot() const { return agent().snapshot(); }
    /// Set when the coroutine has ended.
    sync::Event& done() noexcept { return done_; }
    /// What the coroutine threw; nullptr when it ended well. After done().
    [[nodiscard]] std::exception_ptr error() const noexcept { return task_.base().stored_error(); }
    /// True when it ended with CancelledError. After done().
    [[nodiscard]] bool was_cancelled() const noexcept { return task_.cancelled(); }

  private:
    friend class TestLoop;
    explicit TestTask(TestLoop& loop) : loop_(loop) {}
    Co<> run(const std::function<Co<>()>& body);

    enum : int { made, begun, cancel_first };
    TestLoop& loop_;
    asyncio::Task<> task_;
    std::atomic<bool> there_{false};
    std::atomic<int> state_{made};
    sync::Event done_;
};

/// Runs TestTasks on one thread.
class TestLoop {
  public:
    TestLoop() = default;
    /// Joins the thread; all tasks must be able to end.
    ~TestLoop();
    TestLoop(const TestLoop&) = delete;
    TestLoop& operator=(const TestLoop&) = delete;

    /// Schedules a coroutine: `body()` is called on the loop and its captures live as long as the task. Thread-safe.
    TestTask& spawn(std::function<Co<>()> body, std::string_view name = "");
    /// Runs until all tasks have ended, on the calling thread.
    void run();
    /// Runs on a thread of its own from now on, until join() (which waits for all tasks first).
    void start();
    void join();
    /// The first error of a task that nobody looked at; nullptr when there is none. After run() or join().
    [[nodiscard]] std::exception_ptr first_error() const noexcept;
    [[nodiscard]] asyncio::EventLoop& event_loop() noexcept { return loop_; }

  private:
    friend class TestTask;
    void turn_until_idle(bool and_stopped);

    asyncio::EventLoop loop_;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<TestTask>> tasks_; // under mutex_
    std::atomic<std::size_t> live_{0};
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

} // namespace sennit::testing
#endif

#include <cstddef>

namespace sennit::testing {

/// Waits until at least n agents really sleep in a wait that nobody has ended yet (besides the caller). Threads that sleep in their
/// event loop don't count. Never sleeps "to let it happen": polls the registry and yields; gives up after a generous time and throws
/// with the list of agents.
void wait_until_parked(std::size_t n);
/// The same for one agent; with `object`, in a wait for that.
void wait_until_parked(const wait::Agent& agent, const void* object = nullptr);
/// The same for n agents in waits for one object.
void wait_until_parked_on(const void* object, std::size_t n);

} // namespace sennit::testing
