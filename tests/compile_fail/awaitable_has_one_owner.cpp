// expect: what is awaited once has one owner: std::move() it, or make it in the call itself
#include <sennit/asyncio/gather.hpp>
#include <sennit/sync/event.hpp>

sennit::asyncio::Coro<> gather_what_others_may_await(sennit::sync::Event& event) {
    auto up = event.async_wait();
#ifndef COMPILES
    co_await sennit::asyncio::gather(up);
#endif
    co_await sennit::asyncio::gather(std::move(up));
}
