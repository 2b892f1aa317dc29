#include <sennit/asyncio/wait_for.hpp>

namespace sennit::asyncio::detail {

Coro<void> cancel_and_wait(TaskRef task) {
    TaskBase& me = *running_task();
    const int before = me.cancelling();
    task.cancel();
    co_await task.async_join();
    if (me.cancelling() > before) me.throw_cancelled(); // it came meanwhile, and went to the task, which has ended
}

void throw_timed_out() { throw TimeoutError("the time limit of asyncio::wait_for has passed"); }

} // namespace sennit::asyncio::detail
