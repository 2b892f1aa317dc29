// The same five downloads, a coroutine each, on one thread: takes the longest of their times.
#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/task.hpp>

#include "slow_server.hpp"

#include <string>
#include <vector>

namespace asyncio = sennit::asyncio;

asyncio::Coro<std::size_t> fetch_file(int port, const Download& file) {
    auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
    writer.write(file.name + " " + std::to_string(file.milliseconds) + " " + std::to_string(file.bytes) + "\n");
    const std::string content = co_await reader.read();
    co_return content.size();
}

asyncio::Coro<std::size_t> fetch_all(int port) {
    std::vector<asyncio::Task<std::size_t>> tasks;
    for (const Download& file : downloads) tasks.push_back(asyncio::create_task(fetch_file(port, file)));
    std::size_t bytes = 0;
    for (auto& t : tasks) bytes += co_await t;
    co_return bytes;
}

int main() {
    SlowServer server;
    report("coroutines", [&] { return asyncio::run(fetch_all(server.port())); });
}
