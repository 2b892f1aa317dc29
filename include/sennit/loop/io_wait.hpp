#pragma once

#include <sennit/loop/event_loop.hpp>
#include <sennit/loop/operation.hpp>
#include <sennit/wait/agent.hpp>

#include <cstddef>
#include <cstdint>

namespace sennit::loop {

/// A coroutine's wait for an Operation: what co_await of input and output is made of. It is tried at once; what would wait is carried
/// out by the running loop's poller, and deadline and cancellation reach it like every other wait.
///
/// Agents    Coroutines on an event loop.
/// Order     What the kernel said is there when the coroutine goes on.
/// Cancel    The operation is cancelled, and the coroutine goes on once the kernel has let go of its memory. If the operation was
///           quicker its result is given, and the cancellation comes at the agent's next wait: no byte is lost. The deadline likewise.
/// Lifetime  In the coroutine's frame, with its buffer, until await_resume().
class IoWait : public wait::Wait, protected Operation {
  public:
    /// Starts it; once, and first of all. True: it has ended without waiting. Throws UsageError where no event loop runs.
    bool try_now(Deadline deadline);
    bool step() noexcept final;

  protected:
    IoWait(const wait::WaitSite& site, Kind kind, int fd, void* data, std::size_t size) noexcept;
    /// One that has not begun; where `data` lies in it, who derives sets that anew.
    IoWait(IoWait&& unbegun) noexcept;
    ~IoWait() = default;

    enum class Next : std::uint8_t {
        over,  // that was all
        again, // start it again, with what it now says
        later, // the same after pause_timer() has fired
    };
    /// The operation has succeeded with `result`.
    virtual Next succeeded() noexcept { return Next::over; }
    /// It has failed with `result`. Over: so it ends.
    virtual Next failed() noexcept { return Next::over; }
    /// For Next::later: a timer whose fire calls pause_is_over(). Armed by this.
    virtual Timer* pause_timer() noexcept { return nullptr; }
    void pause_is_over() noexcept;
    /// Throws unless it has succeeded as a whole: CancelledError, TimeoutError, OSError.
    void check(wait::Agent& me) {
        if (!whole_) [[unlikely]]
            throw_failure(me);
    }

  private:
    enum class Phase : std::uint8_t {
        under_way, // the poller has it
        pausing,   // a timer starts it again
        ending,    // cancelled, at the deadline or by somebody; the poller still has it
    };
    static void on_done(Operation& op) noexcept;
    bool settle_result() noexcept;
    [[noreturn]] void throw_failure(wait::Agent& me) const;

    EventLoop* loop_ = nullptr;
    Phase phase_ = Phase::under_way;
    bool whole_ = false; // it has succeeded, as a whole
    wait::Outcome how_ = wait::Outcome::woken;
};

} // namespace sennit::loop
