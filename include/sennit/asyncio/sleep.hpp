#pragma once

#include <sennit/asyncio/task.hpp>
#include <sennit/base/deadline.hpp>
#include <sennit/sync/awaitable.hpp>
#include <sennit/wait/waiter.hpp>

#include <coroutine>
#include <source_location>

namespace sennit::asyncio {

/// The wait of sleep().
class SleepOp final : public wait::Wait {
  public:
    SleepOp() noexcept : Wait(nullptr, sleep_site) {}
    bool step() noexcept override;

  private:
    static const wait::WaitSite sleep_site;
    bool began_ = false;
};

/// What sleep() gives: co_await it, once, in the full expression that made it.
class [[nodiscard]] Sleep {
  public:
    explicit Sleep(Deadline until) noexcept : until_(until) {}
    Sleep(const Sleep&) = delete;
    Sleep& operator=(const Sleep&) = delete;
    bool await_ready() const noexcept { return false; }
    template <class P>
    bool await_suspend(std::coroutine_handle<P> caller, std::source_location where = std::source_location::current()) {
        if constexpr (requires { caller.promise().suspended_at(where); }) caller.promise().suspended_at(where);
        return suspend(caller);
    }
    void await_resume() const;
    [[nodiscard]] Deadline until() const noexcept { return until_; }

  private:
    bool suspend(std::coroutine_handle<> caller);
    Deadline until_;
    SleepOp op_;
};

/// Suspends the task for a while; zero and negative durations: for one turn of the loop.       Python: asyncio.sleep
///
/// Cancel    Throws CancelledError.
/// Cost      No allocation. For one turn: neither a clock nor a timer.
inline Sleep sleep(Deadline until) noexcept { return Sleep(until); }

} // namespace sennit::asyncio
