#pragma once

#include <sennit/sync/future_core.hpp>

#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>
#include <vector>

namespace sennit::sync {

template <class T>
class Future;

namespace detail {

[[noreturn]] void throw_not_done();
[[noreturn]] void throw_set_twice();
[[noreturn]] void throw_cancelled();
/// For each pointer, whether it did not occur before.
std::vector<bool> first_of_their_kind(const std::vector<const FutureCore*>& cores);

/// Whether T can really be copied: a container says so whatever its elements can.
template <class T>
inline constexpr bool can_be_copied = std::is_copy_constructible_v<T>;
template <class T>
requires requires {
    typename T::value_type;
    typename T::allocator_type;
} &&(!std::is_same_v<typename T::value_type, T>)inline constexpr bool can_be_copied<T> =
    std::is_copy_constructible_v<T> && can_be_copied<typename T::value_type>;

/// A counted reference to a core.
template <class Core>
class Ref {
  public:
    Ref() noexcept = default;
    /// Takes over one reference.
    explicit Ref(Core* adopted) noexcept : core_(adopted) {}
    Ref(const Ref& other) noexcept : core_(other.core_) {
        if (core_) core_->retain();
    }
    Ref(Ref&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
        std::swap(core_, other.core_);
        return *this;
    }
    ~Ref() {
        if (core_) core_->release();
    }
    [[nodiscard]] Core* get() const noexcept { return core_; }
    Core* operator->() const noexcept { return core_; }

  private:
    Core* core_ = nullptr;
};

} // namespace detail

/// A value that will be there later: what submit() gives back.        Python: concurrent.futures.Future
///
///     Future<int> sum = pool.submit([] { return 1 + 1; });
///     int two = sum.result();
///
/// A handle that is cheap to copy; all copies are the same future. Made by an executor, or by hand (`Future<int> f;`) to hand a
/// result from any agent to any other.
///
/// Agents    Every member, at the same time, from threads, green threads and coroutines, mixed at will; one handle object
///           itself is assigned by one agent at a time.
/// Blocks    result(), exception() and wait() park the agent; `co_await future` suspends the coroutine. A worker of a thread pool
///           that waits for a task of its own pool runs that task, or is replaced while it waits: it never deadlocks the pool.
/// Order     What was done before the result was set is visible to who gets it.
/// Cancel    A cancelled waiter leaves and throws CancelledError. cancel() on the future itself makes result() throw that.
/// Cost      One allocation for state and value (an executor puts the task into the same one).
/// Source    Python 3.13.
template <class T>
class Future {
    using State = FutureState<T>;
    static constexpr bool is_void = std::is_void_v<T>;

  public:
    using value_type = T;

    /// A new, pending one.
    Future() : state_(new State(1)) {}
    /// For executors: takes over one reference of the state.
    explicit Future(State* adopted) noexcept : state_(adopted) {}

    /// Waits for the value. As often as one likes on an lvalue, which gives a reference that lives as long as any handle.
    /// Throws what the task threw, CancelledError when it was cancelled, TimeoutError at the deadline.
    std::add_lvalue_reference_t<T> result(Deadline deadline = forever) & {
        wait_or_throw(deadline);
        if constexpr (!is_void) return *state_->value();
    }
    /// On a temporary: the value itself, moved out when no other handle is left, else copied (moved if it can't be).
    T result(Deadline deadline = forever) && {
        wait_or_throw(deadline);
        return take();
    }
    /// Waits; gives what the task threw, nullptr when it ended well. Throws CancelledError and TimeoutError as result().
    std::exception_ptr exception(Deadline deadline = forever) const {
        if (!state_->wait(deadline)) detail::throw_not_done();
        if (state_->was_cancelled()) detail::throw_cancelled();
        state_->mark_error_seen();
        return state_->error();
    }
    /// Waits; false at the deadline. Throws nothing of the task's.
    bool wait(Deadline deadline = forever) const { return state_->wait(deadline); }

    [[nodiscard]] bool done() const noexcept { return state_->done(); }
    [[nodiscard]] bool running() const noexcept { return state_->is_running(); }
    [[nodiscard]] bool cancelled() const noexcept { return state_->was_cancelled(); }
    /// True when no result will come: it was pending, cancelled before, or a process pool's call, whose worker is ended. Else false.
    bool cancel() const noexcept {
        const detail::Ref<State> keep = state_;
        return state_->cancel();
    }

    /// Calls f(Future) once it is done: in the agent that completes it, at once if it is done already; several in the order in
    /// which they were added. What f throws is told to threading::excepthook.
    template <class F>
    void add_done_callback(F&& f) const {
        static_assert(std::is_invocable_v<std::decay_t<F>&, Future>,
                      "a done-callback takes the Future: [](Future<T> f) { ... }");
        struct Callback final : FutureObserver {
            std::decay_t<F> f;
            explicit Callback(F&& given) : f(std::forward<F>(given)) {}
            void on_done(FutureCore& core) override {
                struct Delete {
                    Callback* self;
                    ~Delete() { delete self; }
                } guard{this};
                core.retain();
                f(Future(static_cast<State*>(&core)));
            }
            void discard() noexcept override { delete this; }
        };
        state_->observe(*new Callback(std::forward<F>(f)));
    }

    // ---- for who makes the result
    /// pending -> running: true. False when it was cancelled. Throws InvalidStateError when it runs or is done.
    bool set_running_or_notify_cancel() const {
        if (state_->start_unclaimed()) return true;
        if (state_->was_cancelled()) return false;
        detail::throw_set_twice();
    }
    /// Throws InvalidStateError when it is done already, cancelled included.
    template <class... Args>
    requires(is_void ? sizeof...(Args) == 0 : sizeof...(Args) == 1) void set_result(Args&&... value) const {
        const detail::Ref<State> keep = state_; // while it tells those who wait
        claim_to_set();
        try {
            state_->emplace(std::forward<Args>(value)...);
        } catch (...) {
            state_->set_error(std::current_exception());
        }
        state_->finish();
    }
    void set_exception(std::exception_ptr error) const {
        const detail::Ref<State> keep = state_;
        claim_to_set();
        state_->set_error(std::move(error));
        state_->finish();
    }

    // ---- co_await future
    class ResultOp {
      public:
        explicit ResultOp(const Future& f) noexcept : future_(f), op_(*f.state_.get()) {}
        bool try_now(Deadline deadline) noexcept { return op_.try_now(deadline); }
        T finish(wait::Agent& me) {
            if (!op_.finish(me)) detail::throw_not_done();
            future_.rethrow();
            return future_.take();
        }
        operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
        void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

      private:
        Future future_;
        FutureCore::WaitOp op_;
    };
    /// The twin of result() for coroutines; gives the value (copied while other handles are left).
    Awaitable<ResultOp> async_result(Deadline deadline = forever) const { return Awaitable<ResultOp>(deadline, *this); }
    Awaitable<ResultOp> operator co_await() const { return async_result(); }

    class DoneOp {
      public:
        explicit DoneOp(const Future& f) noexcept : future_(f), op_(*f.state_.get()) {}
        bool try_now(Deadline deadline) noexcept { return op_.try_now(deadline); }
        bool finish(wait::Agent& me) { return op_.finish(me); }
        operator wait::Wait&() noexcept { return op_; } // NOLINT(google-explicit-constructor): what one suspends on
        void set_continuation(void* handle_address) noexcept { op_.set_continuation(handle_address); }

      private:
        Future future_;
        FutureCore::WaitOp op_;
    };
    /// The twin of wait().
    Awaitable<DoneOp> async_wait(Deadline deadline = forever) const { return Awaitable<DoneOp>(deadline, *this); }
    class ErrorOp : public DoneOp {
      public:
        explicit ErrorOp(const Future& f) noexcept : DoneOp(f), future_(f) {}
        std::exception_ptr finish(wait::Agent& me) {
            if (!DoneOp::finish(me)) detail::throw_not_done();
            return future_.exception(Deadline::poll());
        }

      private:
        Future future_;
    };
    /// The twin of exception().
    Awaitable<ErrorOp> async_exception(Deadline deadline = forever) const {
        return Awaitable<ErrorOp>(deadline, *this);
    }

    /// Whether both are the same future.
    friend bool operator==(const Future& a, const Future& b) noexcept { return a.state_.get() == b.state_.get(); }
    /// The untyped core, for wait() and as_completed(). The handle keeps it alive.
    [[nodiscard]] FutureCore& core() const noexcept { return *state_.get(); }

  private:
    void claim_to_set() const {
        if (!state_->claim()) detail::throw_set_twice();
    }
    void wait_or_throw(Deadline deadline) const {
        if (!state_->done() && !state_->wait(deadline)) detail::throw_not_done();
        rethrow();
    }
    void rethrow() const {
        if (state_->was_cancelled()) detail::throw_cancelled();
        if (state_->has_failed()) {
            state_->mark_error_seen();
            std::rethrow_exception(state_->error());
        }
    }
    T take() {
        if constexpr (!is_void) {
            if constexpr (std::is_reference_v<T>) {
                return *state_->value();
            } else if constexpr (detail::can_be_copied<T>) {
                if (!state_->is_sole_owner()) return *state_->value();
                return std::move(*state_->value());
            } else {
                return std::move(*state_->value());
            }
        }
    }
    detail::Ref<State> state_;
};

/// Leaves each future once, at its first place.
template <class T>
void remove_doubles(std::vector<Future<T>>& all) {
    std::vector<const FutureCore*> cores(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) cores[i] = &all[i].core();
    const std::vector<bool> first = detail::first_of_their_kind(cores);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (!first[i]) continue;
        if (kept != i) all[kept] = std::move(all[i]);
        ++kept;
    }
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(kept), all.end());
}

} // namespace sennit::sync
