// expect: this awaitable can't be moved into a task (it is awaited in the full expression that makes it)
#include <sennit/asyncio/gather.hpp>

struct InPlace {
    InPlace() = default;
    InPlace(const InPlace&) = delete;
    bool await_ready() const { return true; }
    void await_suspend(std::coroutine_handle<>) const {}
    void await_resume() const {}
};

sennit::asyncio::Coro<> gather_what_stays_where_it_is() {
#ifndef COMPILES
    co_await sennit::asyncio::gather(InPlace());
#endif
    co_await InPlace();
}
