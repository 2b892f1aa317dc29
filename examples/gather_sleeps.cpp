// Two coroutines, each waits, gathered: takes the longer wait.
#include <sennit/asyncio.hpp>

#include <chrono>
#include <cstdio>

namespace asyncio = sennit::asyncio;
using namespace std::chrono_literals;

asyncio::Coro<> wait_for(const char* name, std::chrono::milliseconds time) {
    co_await asyncio::sleep(time);
    std::printf("%s woke\n", name);
}

asyncio::Coro<> both() { co_await asyncio::gather(wait_for("long", 400ms), wait_for("short", 200ms)); }

int main() {
    const auto began = std::chrono::steady_clock::now();
    asyncio::run(both());
    std::printf("seconds: %.3f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}
