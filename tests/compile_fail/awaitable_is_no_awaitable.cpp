// expect: this can't be awaited: give a Coro, a coroutine function without arguments, a Task, a Future, sleep(), or an async_ call
#include <sennit/asyncio/wait_for.hpp>

sennit::asyncio::Coro<> wait_for_a_number() {
#ifndef COMPILES
    co_await sennit::asyncio::wait_for(42, std::chrono::seconds(1));
#endif
    co_return;
}
