//       try_now──────> under_way ──result──> over, or again
//                       │    ^                     │
//                       │    └──timer── pausing <──┤ later
//                       └──deadline, cancelled──> ending ──done()──> over
//
// done() and the timer come on the loop's thread, between two steps. done() settles the wait; if the deadline or a canceller has
// settled it before, the step that this leads to finds the operation no longer in flight, and its result.
#include <sennit/loop/io_wait.hpp>

#include <sennit/base/errors.hpp>

#include <new>
#include <string>
#include <utility>

namespace sennit::loop {
namespace {

constexpr std::int64_t pause_ns = 1'000'000;

} // namespace

IoWait::IoWait(const wait::WaitSite& site, Kind kind, int fd, void* data, std::size_t size) noexcept
    : Wait(reinterpret_cast<const void*>(static_cast<std::intptr_t>(fd)), site),
      Operation(kind, fd, data, size, on_done) {}

IoWait::IoWait(IoWait&& unbegun) noexcept
    : Wait(std::move(unbegun)), Operation(unbegun.kind, unbegun.fd, unbegun.data, unbegun.size, on_done) {
    offset = unbegun.offset;
    other = unbegun.other;
    flags = unbegun.flags;
}

bool IoWait::try_now(Deadline) {
    loop_ = &EventLoop::running();
    if (wait::current_agent().kind() != wait::AgentKind::coroutine) return false; // suspend() throws
    if (!loop_->may_go_on()) {
        loop_->start(*this);
        return false;
    }
    return loop_->poller().start_or_finish(*this) && settle_result();
}

// The operation is not in flight and has a result. True when the wait is over; false when it waits again.
bool IoWait::settle_result() noexcept {
    for (;;) {
        const Next next = result >= 0 ? succeeded() : failed();
        switch (next) {
        case Next::over:
            whole_ = result >= 0;
            return true;
        case Next::later:
            try {
                loop_->arm(*pause_timer(), Deadline::at_monotonic_ns(base::monotonic_ns() + pause_ns));
            } catch (const std::bad_alloc&) {
                result = -ENOMEM;
                return true;
            }
            phase_ = Phase::pausing;
            return false;
        case Next::again:
            if (!loop_->poller().start_or_finish(*this)) return false;
        }
    }
}

void IoWait::pause_is_over() noexcept {
    phase_ = Phase::under_way;
    loop_->start(*this);
}

bool IoWait::step() noexcept {
    switch (phase_) {
    case Phase::under_way:
    case Phase::pausing:
        break;
    case Phase::ending:
        if (result >= 0) whole_ = succeeded() == Next::over && result >= 0;
        return true;
    }
    if (outcome() == wait::Outcome::waiting) { // the first step
        arm();
        return false;
    }
    how_ = outcome();
    if (phase_ == Phase::pausing) { // only the deadline and a cancellation end it
        loop_->disarm(*pause_timer());
        return true;
    }
    if (!in_flight()) {
        if (how_ != wait::Outcome::woken) {
            if (result >= 0) whole_ = succeeded() == Next::over && result >= 0;
            return true;
        }
        if (settle_result()) return true;
        arm();
        return false;
    }
    phase_ = Phase::ending;
    interruptible_ = false; // not before the kernel has let go
    loop_->cancel(*this);
    arm();
    return false;
}

void IoWait::on_done(Operation& op) noexcept {
    auto& self = static_cast<IoWait&>(op);
    if (self.settle(wait::Outcome::woken)) self.agent().unpark(self);
}

void IoWait::throw_failure(wait::Agent& me) const {
    if (how_ == wait::Outcome::cancelled) me.throw_cancelled();
    const std::string call = site().call;
    if (how_ == wait::Outcome::timed_out) throw TimeoutError(call + ": timed out on descriptor " + std::to_string(fd));
    if (result == -ECANCELED)
        throw OSError(EBADF, call + ": descriptor " + std::to_string(fd) + " was closed while this waited for it");
    throw OSError(-result, call + ": failed on descriptor " + std::to_string(fd));
}

} // namespace sennit::loop
