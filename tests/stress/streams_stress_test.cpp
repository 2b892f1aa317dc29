// A server whose clients misbehave: a third stops reading, a third stops writing, a third resets. The healthy ones are unharmed.
#include "support/on_both_pollers.hpp"
#include "support/tier.hpp"

#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/server.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/os/socket_setup.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;

Coro<> echo(StreamReader reader, StreamWriter writer) {
    for (std::string some; !(some = co_await reader.read(65536)).empty();) {
        writer.write(some);
        co_await writer.drain();
    }
}

std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t pages = 0, resident = 0;
    statm >> pages >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(StreamsStress, a_crowd_that_stops_reading_stops_writing_or_resets_harms_nobody_else) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    const rlimit before = files;
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    const auto room = static_cast<std::int64_t>(files.rlim_cur > 200'000 ? 200'000 : files.rlim_cur);
    const std::int64_t crowd = std::min(testing::by_tier(300, 9'000, 10'000), (room - 200) / 2);
    testing::on_both_pollers([crowd]() -> Coro<> {
        EventLoop::running().set_exception_handler([](EventLoop&, const loop::ExceptionContext&) {}); // resets
        ServerOptions options;
        options.backlog = 4096;
        Server server = co_await start_server(echo, "127.0.0.1", 0, options);
        const int port = server.port();
        const std::size_t memory_before = resident_bytes();
        std::vector<Streams> bad;
        const std::string much(200'000, 'x');
        for (std::int64_t i = 0; i < crowd; ++i) {
            Streams streams = co_await open_connection("127.0.0.1", port);
            if (i % 3 == 0) {
                os::set_socket_option(streams.second.fileno(), SOL_SOCKET, SO_RCVBUF, 4096);
                streams.second.write(much); // and never reads what comes back
            } else if (i % 3 == 1) {
                streams.second.write("half a li"); // and no more
            } else {
                const linger at_once{1, 0};
                ::setsockopt(streams.second.fileno(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
                streams.second.write("x");
                streams.second.abort(); // a reset
                continue;
            }
            bad.push_back(std::move(streams));
        }
        // The healthy ones, in the midst of it.
        std::vector<Task<int>> healthy;
        for (int i = 0; i < 20; ++i) {
            healthy.push_back(create_task([port]() -> Coro<int> {
                auto [reader, writer] = co_await open_connection("127.0.0.1", port);
                int right = 0;
                for (int k = 0; k < 50; ++k) {
                    const std::string line = "line " + std::to_string(k) + "\n";
                    writer.write(line);
                    right += co_await reader.readline() == line ? 1 : 0;
                }
                co_return right;
            }));
        }
        int right = 0;
        for (auto& t : healthy) right += co_await t;
        EXPECT_EQ(right, 20 * 50);
        const std::size_t memory = resident_bytes() - std::min(resident_bytes(), memory_before);
        std::printf("%lld clients, %zu connections left, %zu KiB more resident\n", static_cast<long long>(crowd),
                    server.connections(), memory / 1024);
        // Both ends are here: a stalled one holds at most what it wrote, and the server's two marks.
        EXPECT_LT(memory, static_cast<std::size_t>(crowd) * 600'000 + 50'000'000);
        server.close();
        server.abort_clients();
        for (Streams& s : bad) s.second.abort();
        bad.clear();
        co_await server.wait_closed();
        EXPECT_EQ(server.connections(), 0U);
        EventLoop::running().set_exception_handler(nullptr);
    });
    ::setrlimit(RLIMIT_NOFILE, &before);
}

} // namespace
} // namespace sennit::asyncio
