// What a coroutine function returns.
//
// How the frames of one task hang together, while it is suspended:
//
//   Task ── leaf ──> frame of the innermost coroutine ── caller ──> frame of who awaits it ── caller ──> … root ──> Task
//
// `co_await coro` resumes the inner one from within await_suspend. If it ends without suspending, await_suspend gives false and the
// caller just goes on: no stack grows in a loop that awaits, at any level of optimisation. If it suspends, await_suspend gives true,
// and so on outwards until the loop has control again. Later the loop resumes the leaf alone; who then ends transfers to its caller.
//
// Where a result goes is the awaiter's business: a promise has only the address of an Awaited, which lies in the awaiter's frame and
// begins with who that is; or of a Slot in the Task. So all promises have one layout of two words, and a chain can be walked without
// knowing the types in it.
#pragma once

#include <sennit/asyncio/frame_memory.hpp>

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

namespace sennit::asyncio {

template <class T = void>
class Coro;
class TaskBase;

namespace detail {

/// Room for a result: nothing yet, a value, or an error.
template <class T>
class Slot {
    static constexpr bool is_reference = std::is_reference_v<T>;
    using Stored = std::conditional_t<is_reference, std::remove_reference_t<T>*, std::remove_const_t<T>>;

  public:
    Slot() noexcept {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() { clear(); }

    template <class U>
    void set_value(U&& value) {
        if constexpr (is_reference)
            ::new (static_cast<void*>(&value_)) Stored(std::addressof(value));
        else
            ::new (static_cast<void*>(&value_)) Stored(std::forward<U>(value));
        state_ = State::value;
    }
    void set_error(std::exception_ptr error) noexcept {
        clear(); // a value whose coroutine threw after co_return, in a destructor
        ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(error));
        state_ = State::error;
    }
    [[nodiscard]] bool has_error() const noexcept { return state_ == State::error; }
    [[nodiscard]] std::exception_ptr error() const noexcept { return has_error() ? error_ : nullptr; }
    /// The value, moved out; or throws the error.
    T take() {
        if (state_ == State::error) [[unlikely]]
            std::rethrow_exception(error_);
        if constexpr (is_reference)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }
    std::remove_reference_t<T>& value() {
        if (state_ == State::error) [[unlikely]]
            std::rethrow_exception(error_);
        if constexpr (is_reference)
            return *value_;
        else
            return value_;
    }

  private:
    void clear() noexcept {
        if (state_ == State::value)
            std::destroy_at(&value_);
        else if (state_ == State::error)
            std::destroy_at(&error_);
        state_ = State::empty;
    }
    enum class State : unsigned char { empty, value, error };
    union {
        Stored value_;
        std::exception_ptr error_;
    };
    State state_ = State::empty;
};

template <>
class Slot<void> {
  public:
    void set_error(std::exception_ptr error) noexcept { error_ = std::move(error); }
    [[nodiscard]] bool has_error() const noexcept { return error_ != nullptr; }
    [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
    void take() {
        if (error_) [[unlikely]]
            std::rethrow_exception(error_);
    }
    void value() { take(); }

  private:
    std::exception_ptr error_;
};

/// In an awaiter: who awaits.
struct AwaiterLink {
    // The awaiter's frame, with flags: it runs the coroutine from within its await_suspend; its promise is no PromiseBase. 0: nobody,
    // or it has been handed back to.
    std::uintptr_t caller = 0;
    static constexpr std::uintptr_t nested = 1, foreign = 2, flags = 3;
};

/// The same with room for the result.
template <class T>
struct Awaited : AwaiterLink {
    [[no_unique_address]] Slot<T> slot;
};

/// What every promise of asyncio has, whatever its coroutine gives. Other coroutine types of this library (AsyncGenerator) derive
/// their promises from it, too: then they can await Coros, be the root of a task, and show in its stack.
class PromiseBase {
  public:
    PromiseBase() noexcept = default;
    PromiseBase(const PromiseBase&) = delete;
    PromiseBase& operator=(const PromiseBase&) = delete;
    using sennit_keeps_chain = void; // see sync::detail::continuation_of

    static void* operator new(std::size_t bytes) { return FrameMemory::take(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept { FrameMemory::give_back(memory, bytes); }

    struct FinalAwaiter {
        bool await_ready() noexcept { return false; }
        template <class P>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
            return h.promise().hand_back();
        }
        void await_resume() noexcept {}
    };
    std::suspend_always initial_suspend() noexcept { return {}; }
    FinalAwaiter final_suspend() noexcept { return {}; }

    /// The promise of a frame; of any coroutine whose promise derives from PromiseBase.
    static PromiseBase& of(std::coroutine_handle<> h) noexcept {
        return std::coroutine_handle<PromiseBase>::from_address(h.address()).promise();
    }
    [[nodiscard]] std::coroutine_handle<> handle() noexcept {
        return std::coroutine_handle<PromiseBase>::from_promise(*this);
    }

    // ---- who awaits this coroutine
    /// The coroutine to go on with when this one ends; the noop coroutine when it is a task's root.
    [[nodiscard]] std::coroutine_handle<> caller() const noexcept {
        const AwaiterLink* const by = awaiter();
        return by && by->caller
                   ? std::coroutine_handle<>::from_address(reinterpret_cast<void*>(by->caller & ~AwaiterLink::flags))
                   : static_cast<std::coroutine_handle<>>(std::noop_coroutine());
    }
    /// Its promise; nullptr for a root, and where the caller is a coroutine of another library.
    [[nodiscard]] PromiseBase* caller_promise() const noexcept {
        const AwaiterLink* const by = awaiter();
        return by && by->caller && !(by->caller & AwaiterLink::foreign) ? &of(caller()) : nullptr;
    }
    /// By the caller's await_suspend: resumes this coroutine on behalf of `caller`, whose awaiter has `by`. False: it has handed
    /// back, and the caller goes on at once. True: it waits, and will transfer to the caller when it hands back.
    template <class P>
    bool resume_for(std::coroutine_handle<P> caller, AwaiterLink& by, std::source_location where) noexcept {
        std::uintptr_t link = reinterpret_cast<std::uintptr_t>(caller.address());
        if constexpr (std::is_base_of_v<PromiseBase, P>)
            caller.promise().suspended_at(where);
        else
            link |= AwaiterLink::foreign;
        by.caller = link | AwaiterLink::nested;
        target_ = reinterpret_cast<std::uintptr_t>(&by);
        handle().resume();
        if (by.caller == 0) return false;
        by.caller = link;
        return true;
    }
    /// By this coroutine's own await_suspend at its end (or where it yields a value): what to transfer to.
    std::coroutine_handle<> hand_back() noexcept {
        if (AwaiterLink* const by = awaiter()) [[likely]] {
            if (!(by->caller & AwaiterLink::nested))
                return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(by->caller & ~AwaiterLink::flags));
            by->caller = 0; // back into the caller's await_suspend
        } else if (target_ & of_task) {
            tell_task();
        }
        return std::noop_coroutine();
    }
    /// By who runs this coroutine as the first of a chain, before it runs: where its result goes.
    void set_slot(void* slot) noexcept { target_ = reinterpret_cast<std::uintptr_t>(slot) | root; }
    /// The same by the task whose first coroutine this is, that is to be told of its end, and of its error in place of a result.
    void set_root() noexcept { target_ |= root | of_task; }
    /// By await_suspend of whatever this coroutine awaits.
    void suspended_at(std::source_location where) noexcept { where_ = where; }
    [[nodiscard]] std::source_location where() const noexcept { return where_; }

  protected:
    template <class T>
    Slot<T>& slot() noexcept {
        return target_ & root ? *reinterpret_cast<Slot<T>*>(target_ & ~flags)
                              : static_cast<Awaited<T>*>(awaiter())->slot;
    }
    template <class T>
    void set_error() noexcept {
        if (target_ & of_task)
            fail_task();
        else
            slot<T>().set_error(std::current_exception());
    }

  private:
    static constexpr std::uintptr_t root = 1, of_task = 2, flags = 3;
    [[nodiscard]] AwaiterLink* awaiter() const noexcept {
        return target_ & root ? nullptr : reinterpret_cast<AwaiterLink*>(target_);
    }
    // The task is the one that runs.
    static void fail_task() noexcept;
    void tell_task() noexcept;
    std::uintptr_t target_ = 0;  // an AwaiterLink; with `root` a Slot. 0: nobody yet
    std::source_location where_; // where it was suspended last
};

template <class T>
class Promise final : public PromiseBase {
  public:
    Coro<T> get_return_object() noexcept;
    template <class U = T>
    requires std::is_convertible_v<U&&, T>
    void return_value(U&& value) { slot<T>().set_value(std::forward<U>(value)); }
    void unhandled_exception() noexcept { set_error<T>(); }
};

template <>
class Promise<void> final : public PromiseBase {
  public:
    Coro<void> get_return_object() noexcept;
    void return_void() noexcept {}
    void unhandled_exception() noexcept { set_error<void>(); }
};

void report_dropped(std::coroutine_handle<> unrun) noexcept;
[[noreturn]] void throw_awaited_before();

} // namespace detail

/// What a coroutine function returns: lazy, owned once.          Python: a coroutine object
///
///     Coro<int> twice(int x) { co_await sleep(1s); co_return 2 * x; }
///     int four = co_await twice(2);                 // runs it, as a part of this task
///     Task<int> t = create_task(twice(3));          // runs it beside this one
///
/// Nothing of it runs before it is awaited or made a task. Its arguments are copied into its frame as the parameters say: a
/// parameter that is a reference refers to what must still live when it runs.
///
/// Agents    One at a time.
/// Cancel    When the task is cancelled, what it waits for throws CancelledError; destructors run on the way out.
/// Lifetime  The frame is destroyed when its last value has been given, or with a Coro that never ran. A suspended coroutine is
///           cancelled and runs to its end; it is never destroyed in the middle of a wait.
/// Cost      Awaiting: one allocation from a list of its thread, no queue, no lock.
/// Source    Python 3.13
template <class T>
class [[nodiscard("a Coro does nothing until it is awaited (co_await) or made a task (create_task)")]] Coro {
  public:
    using promise_type = detail::Promise<T>;
    using value_type = T;

    Coro(Coro && other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    Coro& operator=(Coro&& other) noexcept {
        if (this != &other) {
            drop();
            handle_ = std::exchange(other.handle_, {});
        }
        return *this;
    }
    ~Coro() { drop(); }

    class Awaiter {
      public:
        explicit Awaiter(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
        Awaiter(const Awaiter&) = delete;
        Awaiter& operator=(const Awaiter&) = delete;
        ~Awaiter() {
            if (handle_) handle_.destroy();
        }
        bool await_ready() const noexcept { return false; }
        template <class P>
        bool await_suspend(std::coroutine_handle<P> caller,
                           std::source_location where = std::source_location::current()) noexcept {
            return handle_.promise().resume_for(caller, awaited_, where);
        }
        T await_resume() {
            // Its locals go before its result is used, as with a function.
            std::exchange(handle_, {}).destroy();
            return awaited_.slot.take();
        }

      private:
        std::coroutine_handle<promise_type> handle_;
        detail::Awaited<T> awaited_;
    };
    /// Throws UsageError when it has been awaited before.
    Awaiter operator co_await() {
        if (!handle_) [[unlikely]]
            detail::throw_awaited_before();
        return Awaiter(release());
    }

    /// Whether there is a coroutine: false once it has been awaited, moved from, or made a task.
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(handle_); }
    /// Hands over the frame, which has not run.
    std::coroutine_handle<promise_type> release() noexcept { return std::exchange(handle_, {}); }

  private:
    friend promise_type;
    explicit Coro(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    void drop() noexcept {
        if (!handle_) return;
        detail::report_dropped(handle_);
        std::exchange(handle_, {}).destroy();
    }
    std::coroutine_handle<promise_type> handle_;
};

template <class T>
Coro<T> detail::Promise<T>::get_return_object() noexcept {
    return Coro<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Coro<void> detail::Promise<void>::get_return_object() noexcept {
    return Coro<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

} // namespace sennit::asyncio
