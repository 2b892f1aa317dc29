#include <sennit/asyncio/sleep.hpp>

#include <sennit/base/errors.hpp>

namespace sennit::asyncio {

constexpr wait::WaitSite SleepOp::sleep_site{"asyncio", "sleep", nullptr};

bool SleepOp::step() noexcept {
    if (began_) return true; // the time has come, or it was cancelled
    began_ = true;
    arm();
    return false;
}

bool Sleep::suspend(std::coroutine_handle<> caller) {
    if (!until_.is_poll()) {
        op_.set_continuation(caller.address());
        return wait::current_agent().suspend(op_, until_);
    }
    TaskBase* const me = detail::running_task();
    if (!me && wait::current_agent().kind() == wait::AgentKind::coroutine) { // on a thread pool
        op_.set_continuation(caller.address());
        return wait::current_agent().suspend(op_, until_);
    }
    if (!me)
        throw UsageError("co_await of asyncio.sleep outside of an event loop; run the coroutine with asyncio::run()");
    me->yield(caller);
    return true;
}

void Sleep::await_resume() const {
    wait::Agent& me = wait::current_agent();
    if (until_.is_poll() ? me.cancel_requested() : op_.outcome() == wait::Outcome::cancelled) me.throw_cancelled();
}

} // namespace sennit::asyncio
