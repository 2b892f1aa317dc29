#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/wait_queue.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace sennit::sync {

class FutureCore;

/// What can be told that a future is done: a done-callback, or a wait for several futures at once. Linked in the future.
class FutureObserver : public base::ListNode {
  public:
    FutureObserver() noexcept = default;
    FutureObserver(const FutureObserver&) = delete;
    FutureObserver& operator=(const FutureObserver&) = delete;
    /// Called once, by who completes the future, outside of its lock; may destroy *this. What it throws is reported.
    virtual void on_done(FutureCore& future) = 0;
    /// Called instead when the future dies undone, or the observer is not wanted any more.
    virtual void discard() noexcept = 0;

  protected:
    virtual ~FutureObserver() = default;
};

/// The untyped heart of a Future: state, waiters, callbacks. One allocation with the value and, in an executor, the task.
///
///   pending ──start()──> running ──finish()──> finished
///      └──cancel()──> cancelled                                    (both ends are "done")
///
/// The state word has the status in its low bits, and two more:
///   attended   somebody waits or wants to be called. Who completes looks for them, under the lock, only when it is set; who
///              attends sets it under the lock, unless the future is done. May be set with nobody left: a needless look.
///   claimed    somebody has the right to finish it: an executor from start() on, or who sets the result by hand.
class FutureCore {
  public:
    FutureCore(const FutureCore&) = delete;
    FutureCore& operator=(const FutureCore&) = delete;

    // ---- for owners of a reference
    void retain() noexcept { references_.fetch_add(1, memory_order_relaxed); } // whoever copies has one already
    void release() noexcept {
        // acq_rel: all that the other owners did is before the destruction.
        if (references_.fetch_sub(1, memory_order_acq_rel) == 1) destroy();
    }

    // ---- for whoever produces the value
    /// pending -> running, and the caller alone may finish it. False when it was cancelled, or started by somebody else.
    bool start() noexcept { return leave_pending(running | claimed); }
    /// pending -> running; whoever claims it first may finish it.
    bool start_unclaimed() noexcept { return leave_pending(running); }
    /// From pending or running-and-unclaimed: the caller alone may finish it now. False when it is too late.
    bool claim() noexcept;
    /// running -> finished: the value or error() has been stored before.
    void finish() noexcept {
        // release: the value, for who sees `finished`; acquire: the attendants, for us.
        const std::uint32_t before = state_.fetch_add(finished - running, memory_order_acq_rel);
        if (before & attended) [[unlikely]]
            tell_all();
    }
    void set_error(std::exception_ptr error) noexcept {
        error_ = std::move(error);
        // relaxed: only read by the last owner and by who sees `finished`; both are ordered after this.
        error_unseen_.store(true, memory_order_relaxed);
    }

    // ---- for everybody
    [[nodiscard]] bool done() const noexcept { return (state_.load(memory_order_acquire) & status_mask) >= cancelled; }
    [[nodiscard]] bool is_running() const noexcept {
        return (state_.load(memory_order_relaxed) & status_mask) == running;
    }
    [[nodiscard]] bool is_pending() const noexcept {
        return (state_.load(memory_order_relaxed) & status_mask) == pending;
    }
    [[nodiscard]] bool was_cancelled() const noexcept {
        return (state_.load(memory_order_acquire) & status_mask) == cancelled;
    }
    /// pending -> cancelled: true, also when it was cancelled before. False when it runs or has finished.
    bool cancel() noexcept;
    /// After done().
    [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }
    /// Somebody has looked at the error: it need not be reported when the last owner lets go.
    void mark_error_seen() noexcept { error_unseen_.store(false, memory_order_relaxed); }
    /// True when the caller's is the last reference. acquire: what former owners did is over.
    [[nodiscard]] bool is_sole_owner() const noexcept { return references_.load(memory_order_acquire) == 1; }

    /// Links an observer; when the future is done already, calls it at once.
    void observe(FutureObserver& observer);
    /// Takes it out again. False when its on_done() runs, has run or is about to.
    bool unobserve(FutureObserver& observer) noexcept;

    /// Waits until done. False at the deadline. A worker of an executor runs its own executor's task right here instead, or
    /// is made up for while it waits: see WaitHook.
    bool wait(Deadline deadline);

    class WaitOp final : public wait::Wait {
      public:
        explicit WaitOp(FutureCore& core) noexcept : Wait(&core, wait_site), core_(core) {}
        bool try_now(Deadline deadline) noexcept { return core_.done() || deadline.is_poll(); }
        bool step() noexcept override;
        /// Whether the future is done.
        bool finish(wait::Agent& me) {
            if (cancelled_) me.throw_cancelled();
            return core_.done();
        }

      private:
        FutureCore& core_;
        bool linked_ = false;
        bool cancelled_ = false;
    };

    /// What a worker of an executor does before it parks for a future: runs it itself, or makes up for its own absence.
    /// One per thread, by the thread itself; nullptr: none.
    class WaitHook {
      public:
        /// Runs the future's task here, if it is one of this executor's that has not begun. True: the future is done now.
        virtual bool help(FutureCore& future) = 0;
        /// Around a wait that can't be helped; see Absence.
        virtual void before_park() noexcept = 0;
        virtual void after_park() noexcept = 0;
        /// Whose worker it is: what its tasks have in Task::executor.
        [[nodiscard]] virtual const void* executor() const noexcept = 0;

      protected:
        ~WaitHook() = default;
    };
    static void set_wait_hook(WaitHook* hook) noexcept;
    static WaitHook* current_wait_hook() noexcept;

    /// Runs the task behind this future on the calling agent, if `executor` has it and it has not begun; false otherwise.
    virtual bool run_here(const void* executor) {
        static_cast<void>(executor);
        return false; // nobody's task: set by hand
    }

  protected:
    explicit FutureCore(std::uint32_t references) noexcept : references_(references) {}
    virtual ~FutureCore();
    virtual void destroy() noexcept { delete this; }

  private:
    static constexpr std::uint32_t pending = 0, running = 1, cancelled = 2, finished = 3, status_mask = 3, attended = 4,
                                   claimed = 8;
    bool leave_pending(std::uint32_t to) noexcept {
        std::uint32_t seen = state_.load(memory_order_relaxed);
        while ((seen & status_mask) == pending) {
            // acquire: meets the submitter's release of the task.
            if (state_.compare_exchange_weak(seen, seen | to, memory_order_acquire, memory_order_relaxed)) return true;
        }
        return false;
    }
    void tell_all() noexcept;
    // Under the queue's lock: true when `attended` is set and the future was not done then.
    bool attend(const wait::WaitQueue::Guard& guard) noexcept;
    static const wait::WaitSite wait_site;

    atomic<std::uint32_t> state_{pending};
    atomic<std::uint32_t> references_;
    atomic<bool> error_unseen_{false};
    std::exception_ptr error_;
    wait::WaitQueue queue_;
    base::IntrusiveList observers_; // under the queue's lock
};

/// While it lives the calling worker is away, and its executor makes up for it. For a hook of nullptr: nothing.
class Absence {
  public:
    explicit Absence(FutureCore::WaitHook* hook) noexcept : hook_(hook) {
        if (hook_) hook_->before_park();
    }
    ~Absence() {
        if (hook_) hook_->after_park();
    }
    Absence(const Absence&) = delete;
    Absence& operator=(const Absence&) = delete;

  private:
    FutureCore::WaitHook* hook_;
};

/// The core with room for a value of type T.
template <class T>
class FutureState : public FutureCore {
  public:
    explicit FutureState(std::uint32_t references) noexcept : FutureCore(references) {}
    ~FutureState() override {
        if (has_value_) std::destroy_at(value());
    }
    template <class... Args>
    void emplace(Args&&... args) {
        ::new (static_cast<void*>(storage_)) T(std::forward<Args>(args)...);
        has_value_ = true;
    }
    T* value() noexcept { return std::launder(reinterpret_cast<T*>(storage_)); }

  private:
    alignas(T) unsigned char storage_[sizeof(T)];
    bool has_value_ = false;
};
template <>
class FutureState<void> : public FutureCore {
  public:
    explicit FutureState(std::uint32_t references) noexcept : FutureCore(references) {}
    void emplace() noexcept {}
};
/// References are kept as pointers.
template <class T>
class FutureState<T&> : public FutureCore {
  public:
    explicit FutureState(std::uint32_t references) noexcept : FutureCore(references) {}
    void emplace(T& value) noexcept { value_ = &value; }
    T* value() noexcept { return value_; }

  private:
    T* value_ = nullptr;
};

/// Gets errors that nobody can catch: thrown by a done-callback, or kept in a future whose last owner let go without having
/// looked. `what` says which. The default prints type and text to stderr. Returns the former hook. Thread-safe.
using UnseenErrorHook = void (*)(std::exception_ptr error, const char* what) noexcept;
UnseenErrorHook set_unseen_error_hook(UnseenErrorHook hook) noexcept;
void report_unseen_error(std::exception_ptr error, const char* what) noexcept;

} // namespace sennit::sync
