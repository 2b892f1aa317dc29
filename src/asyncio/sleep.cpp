#include <sennit/asyncio/sleep.hpp>

#include <sennit/base/errors.hpp>

namespace sennit::asyncio {

constexpr wait::WaitSite Sleep::sleep_site{"asyncio", "sleep", nullptr};
constexpr wait::WaitSite Sleep::turn_site{"asyncio", "sleep(0)", nullptr};

bool Sleep::suspend(std::coroutine_handle<> caller) {
    TaskBase* const me = detail::running_task();
    if (!me && wait::current_agent().kind() == wait::AgentKind::coroutine) { // on a thread pool
        op_.set_continuation(caller.address());
        return wait::current_agent().suspend(op_, until_);
    }
    if (!me)
        throw UsageError("co_await of asyncio.sleep outside of an event loop; run the coroutine with asyncio::run()");
    if (!deadline().is_poll()) return me->sleep(*this, deadline(), caller);
    me->yield(caller);
    return true;
}

void Sleep::await_resume() const {
    wait::Agent& me = wait::current_agent();
    if (deadline().is_poll() ? me.cancel_requested() : outcome() == wait::Outcome::cancelled) me.throw_cancelled();
}

} // namespace sennit::asyncio
