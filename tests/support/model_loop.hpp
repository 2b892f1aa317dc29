// The TestLoop of the model tests: enough to run coroutines as agents, on a thread of its own or on the caller's, with timers
// and wake-ups from other threads, all of it under the seeded scheduler.
#pragma once

#include <sennit/base/intrusive_list.hpp>
#include <sennit/os/futex.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/wait/agent.hpp>
#include <sennit/wait/registry.hpp>

#include <atomic>
#include <coroutine>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <pthread.h>
#include <string>
#include <utility>
#include <vector>

namespace sennit::testing {

/// A lazy coroutine: runs when awaited or spawned on a TestLoop. Owned once.
template <class T = void>
class Co;

namespace detail {

struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) noexcept {
        auto& promise = h.promise();
        return promise.continuation && !promise.inside_caller ? promise.continuation : std::noop_coroutine();
    }
    void await_resume() noexcept {}
};

inline std::atomic<long> coroutine_frames{0};

struct PromiseBase {
    PromiseBase() noexcept { coroutine_frames.fetch_add(1, std::memory_order_relaxed); }
    ~PromiseBase() { coroutine_frames.fetch_sub(1, std::memory_order_relaxed); }
    PromiseBase(const PromiseBase&) = delete;
    PromiseBase& operator=(const PromiseBase&) = delete;
    std::coroutine_handle<> continuation;
    bool inside_caller = false; // it runs within the await_suspend of who awaits it
    std::exception_ptr error;
    std::suspend_always initial_suspend() noexcept { return {}; }
    FinalAwaiter final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { error = std::current_exception(); }
};

template <class T>
struct Promise : PromiseBase {
    std::optional<T> value;
    Co<T> get_return_object() noexcept;
    template <class U>
    void return_value(U&& v) {
        value.emplace(std::forward<U>(v));
    }
    T take() {
        if (error) std::rethrow_exception(error);
        return std::move(*value);
    }
};

template <>
struct Promise<void> : PromiseBase {
    Co<void> get_return_object() noexcept;
    void return_void() noexcept {}
    void take() {
        if (error) std::rethrow_exception(error);
    }
};

} // namespace detail

template <class T>
class [[nodiscard]] Co {
  public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;
    explicit Co(Handle h) noexcept : handle_(h) {}
    Co(Co&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    Co& operator=(Co&&) = delete;
    ~Co() {
        if (handle_) handle_.destroy();
    }
    bool await_ready() noexcept { return false; }
    // Not by symmetric transfer, which is no tail call without optimisation: a loop that awaits would grow the stack.
    bool await_suspend(std::coroutine_handle<> caller) noexcept {
        auto& promise = handle_.promise();
        promise.continuation = caller;
        promise.inside_caller = true;
        handle_.resume();
        if (handle_.done()) return false; // without a suspension
        promise.inside_caller = false;    // its loop resumes it later, on this thread
        return true;
    }
    T await_resume() { return handle_.promise().take(); }
    Handle release() noexcept { return std::exchange(handle_, {}); }

  private:
    Handle handle_;
};

template <class T>
Co<T> detail::Promise<T>::get_return_object() noexcept {
    return Co<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Co<void> detail::Promise<void>::get_return_object() noexcept {
    return Co<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

/// How many frames of Co there are.
inline long live_coroutine_frames() noexcept { return detail::coroutine_frames.load(std::memory_order_relaxed); }

class TestLoop;

/// A coroutine that runs on a TestLoop: an agent. Lives as long as its loop.
class TestTask final : public wait::Agent {
  public:
    ~TestTask();
    void unpark(wait::Pause& w) noexcept override;
    /// Set when the coroutine has ended.
    sync::Event& done() noexcept { return done_; }
    /// What the coroutine threw; nullptr when it ended well. After done().
    [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
    /// True when it ended with CancelledError. After done().
    [[nodiscard]] bool was_cancelled() const noexcept;

  protected:
    bool park(wait::Wait&, Deadline) noexcept override;
    void keep_name(std::string_view name) noexcept override { name_ = name; }
    void copy_name(char (&to)[32]) const noexcept override { to[name_.copy(to, sizeof to - 1)] = '\0'; }
    void arm_timer(wait::Pause& w, Deadline deadline) noexcept override;
    void disarm_timer(wait::Pause& w) noexcept override;

  private:
    friend class TestLoop;
    TestTask(TestLoop& loop, std::function<Co<void>()> body, std::string_view name);
    void start();
    void go_on(wait::Wait& w);
    Co<void> run_body();

    TestLoop& loop_;
    std::function<Co<void>()> body_; // keeps the lambda's captures alive
    Co<void>::Handle root_;
    std::exception_ptr error_;
    sync::Event done_;
    std::multimap<std::int64_t, wait::Wait*>::iterator timer_{};
    bool has_timer_ = false;
    std::string name_;
    // In the loop's inbox. Not the Wait's own node: a cancelled waiter is still linked in its object's queue.
    struct Ready : base::ListNode {
        wait::Wait* wait = nullptr;
    } ready_;
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
    TestTask& spawn(std::function<Co<void>()> body, std::string_view name = "");
    /// Runs until all tasks have ended, on the calling thread.
    void run();
    /// Runs on a thread of its own from now on, until join() (which waits for all tasks first).
    void start();
    void join();
    /// The first error of a task that nobody looked at; nullptr when there is none. After run() or join().
    [[nodiscard]] std::exception_ptr first_error() const noexcept;

  private:
    friend class TestTask;
    void turn_until(bool (*stop)(TestLoop&));
    void post(wait::Wait& w) noexcept;
    bool collect(base::IntrusiveList& woken, std::vector<TestTask*>& fresh);
    void fire_timers();

    mutable os::Mutex mutex_;
    base::IntrusiveList inbox_;    // tasks whose wait was settled
    std::vector<TestTask*> fresh_; // tasks to start
    std::vector<std::unique_ptr<TestTask>> tasks_;
    std::size_t live_ = 0;  // under mutex_
    bool stopping_ = false; // under mutex_
    os::FutexWord bell_{0};
    std::multimap<std::int64_t, wait::Wait*> timers_; // the loop's thread alone
    pthread_t thread_{};
    bool threaded_ = false;
};

} // namespace sennit::testing
