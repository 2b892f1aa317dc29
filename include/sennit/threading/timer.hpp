#pragma once

#include <sennit/base/chrono.hpp>
#include <sennit/sync/event.hpp>
#include <sennit/threading/thread.hpp>

#include <utility>

namespace sennit::threading {

namespace detail {

class TimerState : public ThreadState {
  public:
    TimerState() : ThreadState(Kind::made) { self_contained = true; }
    void call() final;
    bool cancel() noexcept;

  protected:
    ~TimerState() override = default;
    virtual Deadline due() const = 0;
    virtual void fire() = 0;

  private:
    enum class Fate : std::uint8_t { open, fires, cancelled };
    atomic<Fate> fate_{Fate::open};
    sync::Event decided_;
};

template <class Duration, class F, class... Args>
class TimerTarget final : public TimerState {
  public:
    template <class F2, class... Args2>
    explicit TimerTarget(Duration interval, F2&& f, Args2&&... args)
        : interval_(interval), target_(make_target(std::forward<F2>(f), std::forward<Args2>(args)...)) {}
    void drop_target() noexcept override { target_->drop_target(); }

  private:
    ~TimerTarget() override = default;
    Deadline due() const override { return interval_; }
    void fire() override { target_->call(); }
    Duration interval_;
    StatePtr target_; // never started: holds the function
};

} // namespace detail

/// A thread that calls a function after some time, unless it is cancelled before.          Python: threading.Timer
///
///     Timer t(30s, hello, "world");
///     t.start();
///     t.cancel();
///
/// For many timers use an event loop's call_later: each of these is a thread.
///
/// Agents    As Thread; cancel() from anywhere, also before start() and from the function itself.
/// Blocks    As Thread: the destructor waits till the function has run. Call cancel() first if it shall not.
/// Order     The interval counts from start(). Zero or less: at once.
class Timer final : public Thread {
  public:
    template <class Rep, class Period, class F, class... Args>
    Timer(std::chrono::duration<Rep, Period> interval, F&& f, Args&&... args)
        : Timer(ThreadOptions{}, interval, std::forward<F>(f), std::forward<Args>(args)...) {}
    template <class Rep, class Period, class F, class... Args>
    Timer(ThreadOptions options, std::chrono::duration<Rep, Period> interval, F&& f, Args&&... args)
        : Thread(make(interval, std::forward<F>(f), std::forward<Args>(args)...), std::move(options)) {}

    /// True when the function will not run, for this or an earlier cancel(). False when it runs, has run, or never waits any
    /// more. The thread ends then, and can be joined.
    bool cancel() noexcept;

  private:
    template <class Duration, class F, class... Args>
    static detail::StatePtr make(Duration interval, F&& f, Args&&... args) {
        [[maybe_unused]] const Deadline refuses_nan(interval);
        return detail::StatePtr::adopt(new detail::TimerTarget<Duration, std::decay_t<F>, std::decay_t<Args>...>(
            interval, std::forward<F>(f), std::forward<Args>(args)...));
    }
};

} // namespace sennit::threading
