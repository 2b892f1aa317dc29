// One thread, one event loop, thousands of connections that are all open at once: each asks, waits until all have connected, and is
// answered.      event_driven_server [CONNECTIONS]
#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/server.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/asyncio/task_group.hpp>
#include <sennit/sync/event.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <vector>

namespace asyncio = sennit::asyncio;
using asyncio::Coro;
using asyncio::StreamReader;
using asyncio::StreamWriter;

// Answers each line, a number, with its square.
Coro<> answer(StreamReader reader, StreamWriter writer) {
    for (std::string line; !(line = co_await reader.readline()).empty();) {
        const long number = std::stol(line);
        writer.write(std::to_string(number * number) + "\n");
        co_await writer.drain();
    }
}

struct Crowd {
    explicit Crowd(int people) : missing(people) {}
    int missing;
    sennit::sync::Event complete;
};

Coro<bool> client(int port, long number, Crowd& crowd) {
    auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
    if (--crowd.missing == 0) crowd.complete.set();
    co_await crowd.complete.async_wait();
    writer.write(std::to_string(number) + "\n");
    const std::string line = co_await reader.readline();
    co_return line == std::to_string(number * number) + "\n";
}

std::size_t threads_now() {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& one : std::filesystem::directory_iterator("/proc/self/task")) ++n;
    return n;
}

Coro<int> serve(int connections) {
    asyncio::Server server = co_await asyncio::start_server(answer, "127.0.0.1", 0, {.backlog = 4096});
    Crowd crowd(connections);
    std::vector<asyncio::Task<bool>> clients;
    const auto began = std::chrono::steady_clock::now();
    co_await asyncio::TaskGroup::run([&](asyncio::TaskGroup& group) { // no client outlives the crowd, whatever happens
        for (int i = 0; i < connections; ++i) clients.push_back(group.create_task(client(server.port(), i, crowd)));
    });
    int right = 0;
    for (auto& c : clients) right += c.result() ? 1 : 0;
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    std::printf("answered: %d of %d, all open at once, threads: %zu, seconds: %.3f\n", right, connections,
                threads_now(), took);
    server.close();
    co_await server.wait_closed();
    co_return right == connections ? 0 : 1;
}

int main(int argc, char** argv) {
    const int connections = argc > 1 ? std::atoi(argv[1]) : 2000;
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files); // two descriptors a connection: both of its ends are here
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    return asyncio::run(serve(connections));
}
