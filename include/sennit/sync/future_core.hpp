#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/mutex.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/sync/task_memory.hpp>
#include <sennit/wait/waiter.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace sennit::sync {

class FutureCore;
class Task;

/// What can be told that a future is done: a done-callback, or a wait for several futures at once. Linked in the future.
class FutureObserver : public base::ListNode {
  public:
    FutureObserver() noexcept = default;
    FutureObserver(const FutureObserver&) = delete;
    FutureObserver& operator=(const FutureObserver&) = delete;
    /// Called once, by who completes the future, outside of its lock; may destroy *this. What it throws is reported.
    virtual void on_done(FutureCore& future) = 0;
    /// Called instead when the future dies undone.
    virtual void discard() noexcept = 0;
    /// An agent that waits, to be woken instead of the call of on_done(); nullptr: none.
    virtual wait::Wait* waiter() noexcept { return nullptr; }

  protected:
    virtual ~FutureObserver() = default;
};

/// The untyped heart of a Future: state, waiters, callbacks. One allocation with the value and, in an executor, the task.
///
///   pending ──start()──> running ──finish()──> finished
///      └──cancel()──> cancelled <──cancel()── running, if it is interruptible      (both ends are "done")
///
/// The state word has the status in its low bits, and five more:
///   attended   somebody waits or wants to be called. Who completes looks for them, under the lock, only when it is set; who
///              attends sets it under the lock, unless the future is done. May be set with nobody left: a needless look.
///   claimed    somebody has the right to finish it: an executor from start() on, or who sets the result by hand.
///   failed     an error was stored in the place of a value.
///   unseen     and nobody has looked at it.
///   interruptible  running, and whoever does it can be stopped: cancel() still may win, until end() is called.
///
/// Cost      40 bytes, in which a value of up to 8 has its place, so that with a small task all is on one cache line.
class FutureCore {
  public:
    FutureCore(const FutureCore&) = delete;
    FutureCore& operator=(const FutureCore&) = delete;

    // ---- for owners of a reference
    void retain() noexcept { references_.fetch_add(1, memory_order_relaxed); } // whoever copies has one already
    void release() noexcept {
        // acquire and acq_rel: all that the other owners did is before the destruction. Who sees that it is alone stays so.
        if (references_.load(memory_order_acquire) == 1 || references_.fetch_sub(1, memory_order_acq_rel) == 1)
            delete this;
    }

    // ---- for whoever produces the value
    /// pending -> running, and the caller alone may finish it. False when it was cancelled, or started by somebody else.
    bool start() noexcept { return leave_pending(running | claimed); }
    /// pending -> running; whoever claims it first may finish it.
    bool start_unclaimed() noexcept { return leave_pending(running); }
    /// As start(), and cancel() wins as long as end() was not called. Who cancels calls on_interrupted().
    bool start_interruptible() noexcept { return leave_pending(running | claimed | interruptible); }
    /// After start_interruptible(), before the value is stored. False: it was cancelled, and there is nothing to finish.
    bool end() noexcept {
        // relaxed: decides who wins, by the order of changes of this one word; values are told by finish() and cancel().
        return (state_.fetch_and(~interruptible, memory_order_relaxed) & status_mask) == running;
    }
    /// From pending or running-and-unclaimed: the caller alone may finish it now. False when it is too late.
    bool claim() noexcept;
    /// running -> finished: the value or error() has been stored before.
    void finish() noexcept {
        // release: the value, for who sees `finished`; acquire: the attendants, for us.
        const std::uint32_t before = state_.fetch_add(finished - running, memory_order_acq_rel);
        if (before & attended) [[unlikely]]
            tell_all();
    }
    /// In place of a value, by who may finish it.
    void set_error(std::exception_ptr error) noexcept {
        ::new (static_cast<void*>(small_)) std::exception_ptr(std::move(error));
        // relaxed: read by who sees `finished`, and by the last owner; both are ordered after this.
        state_.fetch_or(failed | unseen, memory_order_relaxed);
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
    /// pending, or interruptible -> cancelled: true, also when it was cancelled before. False when it runs or has finished.
    bool cancel() noexcept;
    /// After done().
    [[nodiscard]] std::exception_ptr error() const noexcept { return has_failed() ? stored_error() : nullptr; }
    /// After done().
    [[nodiscard]] bool has_failed() const noexcept { return state_.load(memory_order_relaxed) & failed; }
    /// Somebody has looked at the error: it need not be reported when the last owner lets go.
    void mark_error_seen() noexcept {
        if (state_.load(memory_order_relaxed) & unseen) state_.fetch_and(~unseen, memory_order_relaxed);
    }
    /// True when the caller's is the last reference. acquire: what former owners did is over.
    [[nodiscard]] bool is_sole_owner() const noexcept { return references_.load(memory_order_acquire) == 1; }

    /// Links an observer; when the future is done already, calls it at once.
    void observe(FutureObserver& observer);
    /// Takes it out again. False when its on_done() runs, has run or is about to.
    bool unobserve(FutureObserver& observer) noexcept;

    /// Waits until done. False at the deadline. A worker of an executor runs its own executor's task right here instead, or
    /// is made up for while it waits: see WaitHook.
    bool wait(Deadline deadline);

    /// What a cancelled waiter does in place of leaving: it stays until the future is done, and is cancelled then.
    class OnCancel {
      public:
        virtual void on_cancel() noexcept = 0;

      protected:
        ~OnCancel() = default;
    };

    class WaitOp final : public wait::Wait {
      public:
        explicit WaitOp(FutureCore& core, OnCancel* stay = nullptr) noexcept
            : Wait(&core, wait_site), core_(core), stay_(stay) {}
        WaitOp(WaitOp&& unbegun) noexcept : WaitOp(unbegun.core_, unbegun.stay_) {}
        bool try_now(Deadline deadline) noexcept { return core_.done() || deadline.is_poll(); }
        bool step() noexcept override;
        /// Whether the future is done.
        bool finish(wait::Agent& me) {
            if (cancelled_) me.throw_cancelled();
            return core_.done();
        }

      private:
        // What stands in the future's list. Not the Wait's own node, which is for who wakes it.
        struct Link final : FutureObserver {
            explicit Link(WaitOp& o) noexcept : op(o) {}
            void on_done(FutureCore&) override {}
            void discard() noexcept override {}
            wait::Wait* waiter() noexcept override { return &op; }
            WaitOp& op;
        };
        FutureCore& core_;
        OnCancel* const stay_;
        Link link_{*this};
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

    /// It was cancelled while it ran: whoever does it is to be stopped. By who called cancel(), and holds a reference.
    virtual void on_interrupted() noexcept {}

    /// The task behind this future; nullptr: set by hand.
    virtual Task* task() noexcept { return nullptr; }

    static void* operator new(std::size_t bytes) { return TaskMemory::take(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept { TaskMemory::give_back(memory, bytes); }
    static void* operator new(std::size_t bytes, std::align_val_t alignment) {
        return ::operator new(bytes, alignment);
    }
    static void operator delete(void* memory, std::size_t bytes, std::align_val_t alignment) noexcept {
        ::operator delete(memory, bytes, alignment);
    }

  protected:
    explicit FutureCore(std::uint32_t references) noexcept : references_(references) {}
    virtual ~FutureCore();
    /// For destructors: whether there is a value.
    [[nodiscard]] bool has_value() const noexcept {
        // relaxed: the last owner, ordered by release().
        return (state_.load(memory_order_relaxed) & (status_mask | failed)) == finished;
    }
    /// Room for a small value, or the error.
    [[nodiscard]] void* small_room() noexcept { return small_; }
    static constexpr std::size_t small_bytes = sizeof(std::exception_ptr);

  private:
    static constexpr std::uint32_t pending = 0, running = 1, cancelled = 2, finished = 3, status_mask = 3, attended = 4,
                                   claimed = 8, failed = 16, unseen = 32, interruptible = 64;
    const std::exception_ptr& stored_error() const noexcept {
        return *std::launder(reinterpret_cast<const std::exception_ptr*>(small_));
    }
    bool leave_pending(std::uint32_t to) noexcept {
        std::uint32_t seen = state_.load(memory_order_relaxed);
        while ((seen & status_mask) == pending) {
            // acquire: meets the submitter's release of the task.
            if (state_.compare_exchange_weak(seen, seen | to, memory_order_acquire, memory_order_relaxed)) return true;
        }
        return false;
    }
    void tell_all() noexcept;
    // True when `attended` is set and the future was not done then.
    bool attend() noexcept SENNIT_REQUIRES(mutex_);
    void link(FutureObserver& observer) noexcept SENNIT_REQUIRES(mutex_);
    void unlink(FutureObserver& observer) noexcept SENNIT_REQUIRES(mutex_);
    static const wait::WaitSite wait_site;

    atomic<std::uint32_t> state_{pending};
    atomic<std::uint32_t> references_;
    os::Mutex mutex_;

  protected:
    bool has_call_ = false; ///< for a task in the same object: its callable is there. In what would be padding

  private:
    plain<base::ListNode*> first_ SENNIT_GUARDED_BY(mutex_) = nullptr; // a ring of FutureObservers, oldest first
    alignas(std::exception_ptr) unsigned char small_[small_bytes];
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
    static constexpr bool is_small = sizeof(T) <= small_bytes && alignof(T) <= small_bytes;

  public:
    explicit FutureState(std::uint32_t references) noexcept : FutureCore(references) {}
    ~FutureState() override {
        if (has_value()) std::destroy_at(value());
    }
    template <class... Args>
    void emplace(Args&&... args) {
        ::new (room()) T(std::forward<Args>(args)...);
    }
    T* value() noexcept { return std::launder(static_cast<T*>(room())); }

  private:
    struct Nothing {};
    struct Large {
        alignas(T) unsigned char bytes[sizeof(T)];
    };
    void* room() noexcept {
        if constexpr (is_small)
            return small_room();
        else
            return large_.bytes;
    }
    [[no_unique_address]] std::conditional_t<is_small, Nothing, Large> large_;
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
    void emplace(T& value) noexcept { ::new (small_room()) T*(&value); }
    T* value() noexcept { return *std::launder(static_cast<T**>(small_room())); }
};

/// Gets errors that nobody can catch: thrown by a done-callback, or kept in a future whose last owner let go without having
/// looked. `what` says which. nullptr: the default, which tells threading::excepthook once there has been a pool, and prints type
/// and text to stderr before. Returns the former hook. Thread-safe.
using UnseenErrorHook = void (*)(std::exception_ptr error, const char* what) noexcept;
UnseenErrorHook set_unseen_error_hook(UnseenErrorHook hook) noexcept;
/// By an upper layer, which knows the excepthook.
void set_default_unseen_error_hook(UnseenErrorHook hook) noexcept;
void report_unseen_error(std::exception_ptr error, const char* what) noexcept;

} // namespace sennit::sync
