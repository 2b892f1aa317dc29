// Coroutines that run on the workers of a thread pool.
#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/atomic.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/futures/thread_pool_executor.hpp>
#include <sennit/loop/timer.hpp>
#include <sennit/sync/executor.hpp>
#include <sennit/sync/future.hpp>
#include <sennit/wait/agent.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace sennit::futures {

namespace detail {

/// A coroutine on a pool, as an agent. Shared by itself, until it has ended, and by its future.
///
///   running    a worker runs it, or it is in the pool's queue
///   idle       it waits, and no thread is in it: who unparks it puts it into the queue
///   notified   it was unparked while the worker that it suspended on was still on its way out: that one goes on with it
class SpawnedBase : public wait::Agent, public loop::Timer, public sync::Task {
  public:
    void unpark(wait::Pause& w) noexcept override;
    void run() noexcept override;
    // The pool is shut down: it is cancelled, and comes to its end on a helper thread.
    void cancel_and_drop() noexcept override;
    void fail_and_drop(const std::exception_ptr& error) noexcept override;

  protected:
    explicit SpawnedBase(ThreadPoolExecutor& pool);
    ~SpawnedBase();
    void start(asyncio::detail::PromiseBase& root, std::shared_ptr<SpawnedBase> self);
    /// The coroutine has ended: hands its result to the future.
    virtual void publish() noexcept = 0;
    /// Cancelled before it began.
    virtual void store_error(std::exception_ptr error) noexcept = 0;

    bool park(wait::Wait& w, Deadline deadline) noexcept override;
    void arm_timer(wait::Pause& w, Deadline deadline) noexcept override;
    void disarm_timer(wait::Pause& w) noexcept override;
    void continue_with(void* continuation) noexcept override { leaf_ = sync::detail::coroutine_of(continuation); }

  private:
    friend class SpawnHelper;
    enum class State : std::uint8_t { running, idle, notified };
    bool step() noexcept;
    void enqueue() noexcept;

    ThreadPoolExecutor& pool_;
    std::shared_ptr<SpawnedBase> self_;
    std::coroutine_handle<> root_, leaf_;
    wait::Pause* settled_ = nullptr; // the wait whose end it goes on with
    wait::Pause* timed_ = nullptr;   // the one with the timer; under the helper's lock
    SpawnedBase* next_ = nullptr;    // in the helper's list
    atomic<State> state_{State::running};
    bool started_ = false;
};

template <class T>
class Spawned final : public SpawnedBase {
  public:
    explicit Spawned(ThreadPoolExecutor& pool) : SpawnedBase(pool) {}
    static sync::Future<T> begin(ThreadPoolExecutor& pool, asyncio::Coro<T> coro) {
        auto self = std::make_shared<Spawned>(pool);
        sync::Future<T> future = self->future_;
        // Whoever cancels the future cancels the coroutine.
        future.add_done_callback([weak = std::weak_ptr<Spawned>(self)](const sync::Future<T>& f) {
            if (const auto alive = f.cancelled() ? weak.lock() : nullptr) alive->cancel();
        });
        const auto root = coro.release();
        root.promise().set_slot(&self->slot_);
        self->start(root.promise(), self);
        return future;
    }

  private:
    void publish() noexcept override {
        try {
            if (std::exception_ptr error = slot_.error()) {
                if (is_cancelled(error))
                    future_.cancel();
                else
                    future_.set_exception(std::move(error));
            } else if constexpr (std::is_void_v<T>) {
                future_.set_result();
            } else {
                future_.set_result(slot_.take());
            }
        } catch (const InvalidStateError&) {} // it was cancelled meanwhile: the result is dropped
    }
    void store_error(std::exception_ptr error) noexcept override { slot_.set_error(std::move(error)); }
    static bool is_cancelled(const std::exception_ptr& error) noexcept {
        try {
            std::rethrow_exception(error);
        } catch (const CancelledError&) {
            return true;
        } catch (...) {
            return false;
        }
    }
    asyncio::detail::Slot<T> slot_;
    sync::Future<T> future_;
};

template <class T, class F>
asyncio::Coro<T> call_kept(F f) {
    co_return co_await f();
}

} // namespace detail

/// Runs a coroutine on a pool's workers, beside all that was submitted to it: Future<T> for its result.
///
///     Future<int> sum = spawn(pool, add_up(queue));
///
/// It is an agent: it waits for the same locks, queues, events and futures by their async_ twins, and takes no worker while it does.
/// It may go on on another worker after each wait. What belongs to an event loop (tasks, sockets, gather, timeout) it can't use;
/// sleep() it can.
///
/// Agents    From anywhere.
/// Cancel    Of the Future: the coroutine is cancelled. If the pool is shut down while it waits, it is cancelled when it would go on,
///           and comes to its end on a helper thread.
/// Lifetime  The pool outlives the coroutine: wait for the futures before it is destroyed.
/// Cost      A frame and one allocation; each resumption is one task of the pool, without an allocation.
template <class T>
sync::Future<T> spawn(ThreadPoolExecutor& pool, asyncio::Coro<T> coro) {
    return detail::Spawned<T>::begin(pool, std::move(coro));
}
/// The same with a coroutine function, which is kept until its coroutine has ended.
template <class F>
requires asyncio::detail::CoroFunction<F>
auto spawn(ThreadPoolExecutor& pool, F&& f) {
    using T = typename std::invoke_result_t<std::decay_t<F>&>::value_type;
    return spawn(pool, detail::call_kept<T>(std::decay_t<F>(std::forward<F>(f))));
}

} // namespace sennit::futures
