#include <sennit/asyncio/sleep.hpp>

#include <sennit/base/errors.hpp>

namespace sennit::asyncio {

bool Sleep::suspend(void* continuation) {
    TaskBase* const task = deadline().is_poll() ? detail::running_task() : nullptr;
    if (task) {
        task->yield(continuation);
        return true;
    }
    wait::Agent& me = wait::current_agent();
    if (me.kind() != wait::AgentKind::coroutine)
        throw UsageError("co_await of asyncio.sleep outside of an event loop; run the coroutine with asyncio::run()");
    return me.sleep(*this, deadline(), continuation);
}

void Sleep::await_resume() const {
    wait::Agent& me = wait::current_agent();
    if (deadline().is_poll() ? me.cancel_requested() : outcome() == wait::Outcome::cancelled) me.throw_cancelled();
}

} // namespace sennit::asyncio
