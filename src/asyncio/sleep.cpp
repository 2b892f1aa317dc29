#include <sennit/asyncio/sleep.hpp>

#include <sennit/base/errors.hpp>

namespace sennit::asyncio {

std::coroutine_handle<> Sleep::suspend_for_a_turn(void* continuation) {
    wait::Agent* const me = wait::detail::current;
    EventLoop* const loop = EventLoop::running_or_null();
    if (!me || me->kind() != wait::AgentKind::coroutine || !loop) [[unlikely]]
        return suspend(continuation);
    return static_cast<TaskBase*>(me)->yield(*loop, continuation);
}

std::coroutine_handle<> Sleep::suspend(void* continuation) {
    wait::Agent& me = wait::current_agent();
    if (me.kind() != wait::AgentKind::coroutine)
        throw UsageError("co_await of asyncio.sleep outside of an event loop; run the coroutine with asyncio::run()");
    if (me.sleep(*this, deadline(), continuation)) return std::noop_coroutine();
    return sync::detail::coroutine_of(continuation); // it was cancelled before
}

} // namespace sennit::asyncio
