// What is whose: the scope remembers the task's count of requests for cancellation at its beginning. At the deadline it adds one. At its end
// it takes that back; if the count is then as before, a CancelledError that comes out can only be the scope's own.
#include <sennit/asyncio/timeout.hpp>

#include <sennit/asyncio/wait_for_tasks.hpp>
#include <sennit/base/errors.hpp>

namespace sennit::asyncio {

Timeout::~Timeout() {
    if (armed()) task_->loop().disarm(*this); // the frame of a body that never ran to its end
}

void Timeout::enter() {
    if (state_ != State::created) throw UsageError("asyncio::Timeout runs once; make another one");
    task_ = detail::running_task();
    if (!task_)
        throw UsageError(
            "asyncio::timeout outside of a task; run it in a coroutine, by asyncio::run() or create_task()");
    cancelling_ = task_->cancelling();
    state_ = State::active;
    try {
        arm();
    } catch (...) { // no memory for a timer
        state_ = State::created;
        throw;
    }
}

void Timeout::reschedule(Deadline when) {
    if (state_ == State::created)
        throw UsageError("Timeout::reschedule before run(); give the limit to the constructor");
    if (state_ != State::active)
        throw UsageError(expired() ? "Timeout::reschedule: it has expired"
                                   : "Timeout::reschedule: the scope has ended");
    task_->loop().disarm(*this);
    when_ = when;
    arm();
}

void Timeout::arm() {
    if (when_.has_passed())
        expire();
    else
        task_->loop().arm(*this, when_);
}

void Timeout::on_timer(loop::Timer& t) noexcept { static_cast<Timeout&>(t).expire(); }

void Timeout::expire() noexcept {
    state_ = State::expiring;
    task_->cancel();
}

void Timeout::leave(const std::exception_ptr& error) {
    task_->loop().disarm(*this);
    if (state_ != State::expiring) {
        state_ = State::exited;
        return;
    }
    state_ = State::expired;
    if (task_->uncancel() <= cancelling_ && detail::is_cancelled_error(error))
        throw TimeoutError("the time limit (of asyncio::timeout, timeout_at or wait_for) has passed");
}

} // namespace sennit::asyncio
