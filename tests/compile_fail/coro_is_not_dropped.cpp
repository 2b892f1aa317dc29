// expect: a Coro does nothing until it is awaited (co_await) or made a task (create_task)
#include <sennit/asyncio/sleep.hpp>

#include <chrono>

using sennit::asyncio::sleep;

sennit::asyncio::Coro<> naps() { co_await sleep(std::chrono::seconds(1)); }

sennit::asyncio::Coro<> forgets_to_await() {
#ifndef COMPILES
    naps();
#endif
    co_await naps();
}
