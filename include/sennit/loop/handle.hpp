// What call_soon and call_later give back.
#pragma once

#include <sennit/base/atomic.hpp>
#include <sennit/base/chrono.hpp>
#include <sennit/loop/ready.hpp>
#include <sennit/loop/timer.hpp>
#include <sennit/sync/task_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <functional> // std::invoke
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace sennit::loop {

class EventLoop;

namespace detail {

/// A callable with its arguments, to be run by a loop. Counted: the handles' references, and one of the loop while it has it.
class Callback : public Ready {
  public:
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;
    void retain() noexcept { references_.fetch_add(1, memory_order_relaxed); } // whoever copies has one already
    void release() noexcept {
        // acq_rel: what the other owners did is before the destruction.
        if (references_.fetch_sub(1, memory_order_acq_rel) == 1) delete this;
    }
    /// The type of the callable.
    [[nodiscard]] virtual const std::type_info& type() const noexcept = 0;
    [[nodiscard]] bool cancelled() const noexcept { return cancelled_.load(memory_order_acquire); } // meets cancel()
    void cancel() noexcept { cancelled_.store(true, memory_order_release); }                        // meets cancelled()
    [[nodiscard]] EventLoop& loop() const noexcept { return loop_; }

    static void* operator new(std::size_t bytes) { return sync::TaskMemory::take(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        sync::TaskMemory::give_back(memory, bytes);
    }
    static void* operator new(std::size_t bytes, std::align_val_t alignment) {
        return ::operator new(bytes, alignment);
    }
    static void operator delete(void* memory, std::size_t bytes, std::align_val_t alignment) noexcept {
        ::operator delete(memory, bytes, alignment);
    }

  protected:
    explicit Callback(EventLoop& loop) noexcept;
    virtual ~Callback() = default;

  private:
    friend class sennit::loop::EventLoop;
    friend class Watcher;
    virtual void call() = 0;
    static void run_and_release(Ready& r) noexcept;

    atomic<std::uint32_t> references_{1};
    atomic<bool> cancelled_{false};
    EventLoop& loop_;
};

/// One that a timer puts on the ready list.
class TimedCallback : public Callback, public Timer {
  public:
    [[nodiscard]] std::int64_t when_ns() const noexcept { return when_ns_; }

  protected:
    TimedCallback(EventLoop& loop, std::int64_t when_ns) noexcept;
    ~TimedCallback() override = default;

  private:
    friend class sennit::loop::EventLoop;
    static void fire(Timer& t) noexcept;
    const std::int64_t when_ns_;
};

template <class Base, class F, class... Args>
class CallbackOf final : public Base {
  public:
    template <class Start, class G, class... Given>
    explicit CallbackOf(EventLoop& loop, Start start, G&& f, Given&&... args)
        : Base(loop, start), f_(std::forward<G>(f)), args_(std::forward<Given>(args)...) {}
    template <class G, class... Given>
    explicit CallbackOf(EventLoop& loop, std::nullptr_t, G&& f, Given&&... args)
        : Base(loop), f_(std::forward<G>(f)), args_(std::forward<Given>(args)...) {}
    [[nodiscard]] const std::type_info& type() const noexcept override { return typeid(F); }

  private:
    ~CallbackOf() override = default;
    void call() override {
        std::apply([this](Args&... args) { static_cast<void>(std::invoke(f_, args...)); }, args_);
    }
    F f_;
    [[no_unique_address]] std::tuple<Args...> args_;
};

/// A callback of the given base, with copies of f and args.
template <class Base, class Start, class F, class... Args>
auto* make_callback(EventLoop& loop, Start start, F&& f, Args&&... args) {
    static_assert(
        std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>&...>,
        "a callback of the event loop can't be called with these arguments (it gets copies of them; pass std::ref(x) "
        "for a reference)");
    return new CallbackOf<Base, std::decay_t<F>, std::decay_t<Args>...>(loop, start, std::forward<F>(f),
                                                                        std::forward<Args>(args)...);
}

/// A counted reference to a callback.
template <class C>
class CallbackRef {
  public:
    CallbackRef() noexcept = default;
    explicit CallbackRef(C& shared) noexcept : callback_(&shared) { shared.retain(); }
    CallbackRef(const CallbackRef& other) noexcept : callback_(other.callback_) {
        if (callback_) callback_->retain();
    }
    CallbackRef(CallbackRef&& other) noexcept : callback_(std::exchange(other.callback_, nullptr)) {}
    CallbackRef& operator=(CallbackRef other) noexcept {
        std::swap(callback_, other.callback_);
        return *this;
    }
    ~CallbackRef() {
        if (callback_) callback_->release();
    }
    [[nodiscard]] C* get() const noexcept { return callback_; }

  private:
    C* callback_ = nullptr;
};

} // namespace detail

/// A callback that a loop is to run.             Python: asyncio.Handle
///
/// Agents    cancel() on the loop's thread; from elsewhere it may come too late by itself.
/// Lifetime  Independent of the loop's; letting go of it changes nothing.
class Handle {
  public:
    Handle() noexcept = default;
    explicit Handle(detail::Callback& callback) noexcept : callback_(callback) {}
    /// The callback will not be run. Nothing if it has run.
    void cancel() noexcept;
    [[nodiscard]] bool cancelled() const noexcept { return callback_.get() && callback_.get()->cancelled(); }

  private:
    detail::CallbackRef<detail::Callback> callback_;
};

/// The same, with a time.                        Python: asyncio.TimerHandle
class TimerHandle {
  public:
    TimerHandle() noexcept = default;
    explicit TimerHandle(detail::TimedCallback& callback) noexcept : callback_(callback) {}
    void cancel() noexcept;
    [[nodiscard]] bool cancelled() const noexcept { return callback_.get() && callback_.get()->cancelled(); }
    /// When it is to run, by the loop's clock.
    [[nodiscard]] std::chrono::steady_clock::time_point when() const noexcept {
        const std::int64_t ns = callback_.get() ? callback_.get()->when_ns() : 0;
        return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
    }

  private:
    detail::CallbackRef<detail::TimedCallback> callback_;
};

} // namespace sennit::loop
