// Streams whose peers are too slow, or are not there any more: F36 and F37 of the guarantees. F26: signals at a loop's handler.
#include "support/fault_row.hpp"
#include "support/on_both_pollers.hpp"
#include "support/tier.hpp"
#include "support/watchdog.hpp"

#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/server.hpp>
#include <sennit/asyncio/sleep.hpp>
#include <sennit/asyncio/wait_for.hpp>
#include <sennit/os/socket_setup.hpp>

#include <arpa/inet.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using sennit::testing::by_tier;
using sennit::testing::FaultRow;
using sennit::testing::on_both_pollers;

// The machine at the other end is gone, without a word: no packet to this socket is taken any more, so none is answered.
void make_vanish(int fd) {
    sock_filter drop_all[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    const sock_fprog program{1, drop_all};
    if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
        throw OSError(errno, "SO_ATTACH_FILTER");
}

Coro<> echo(StreamReader reader, StreamWriter writer) {
    for (std::string some; !(some = co_await reader.read(65536)).empty();) {
        writer.write(some);
        co_await writer.drain();
    }
}

Coro<bool> times_out(StreamReader& reader, Deadline deadline) {
    try {
        co_await reader.read(10, deadline);
    } catch (const TimeoutError&) {
        co_return true;
    }
    co_return false;
}

// A server that keeps its connections and says nothing; and one that answers.
Coro<> talk_to_vanishing_peers() {
    std::vector<Streams> held;
    Server silent = co_await start_server(
        [&held](StreamReader r, StreamWriter w) -> Coro<> {
            held.emplace_back(std::move(r), std::move(w));
            co_return;
        },
        "127.0.0.1", 0);
    Server answering = co_await start_server(echo, "127.0.0.1", 0);
    Streams healthy = co_await open_connection("127.0.0.1", answering.port());
    const std::string much(1'000'000, 'x');
    { // what is read and what is written ends at the deadline
        Streams client = co_await open_connection("127.0.0.1", silent.port());
        while (held.empty()) co_await sleep(1ms);
        make_vanish(held.back().second.fileno());
        EXPECT_TRUE(co_await times_out(client.first, 10ms));
        bool timed_out = false;
        try {
            for (int i = 0; i < 20; ++i) {
                client.second.write(much);
                co_await client.second.drain(20ms);
            }
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        EXPECT_TRUE(timed_out);
        client.second.abort();
        co_await client.second.wait_closed(10s);
    }
    held.clear();
    { // where the program has asked the kernel to notice, that is an error with a name
        Streams client = co_await open_connection("127.0.0.1", silent.port());
        while (held.empty()) co_await sleep(1ms);
        make_vanish(held.back().second.fileno());
        os::set_socket_option(client.second.fileno(), IPPROTO_TCP, TCP_USER_TIMEOUT, 50);
        client.second.write("is anybody there?");
        int code = 0;
        try {
            co_await client.first.read(10, 30s);
        } catch (const OSError& e) {
            code = e.code();
        }
        EXPECT_EQ(code, ETIMEDOUT);
        client.second.abort();
    }
    held.clear();
    { // a server's client: its session ends at its deadline, and the others are served
        Streams client = co_await open_connection("127.0.0.1", silent.port());
        while (held.empty()) co_await sleep(1ms);
        make_vanish(client.second.fileno());
        healthy.second.write("well\n");
        EXPECT_EQ(co_await healthy.first.readline(), "well\n");
        EXPECT_TRUE(co_await times_out(held.back().first, 10ms));
        client.second.abort();
    }
    held.clear();
    { // nobody is where one connects to
        const os::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
            ::listen(listener.get(), 1) != 0 ||
            ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
            throw OSError(errno, "listen");
        make_vanish(listener.get());
        bool timed_out = false;
        try {
            co_await wait_for(open_connection("127.0.0.1", ntohs(address.sin_port)), 20ms);
        } catch (const TimeoutError&) {
            timed_out = true;
        }
        EXPECT_TRUE(timed_out);
    }
    healthy.second.close();
    silent.close();
    answering.close();
    silent.abort_clients();
    co_await silent.wait_closed();
    co_await answering.wait_closed();
}

TEST(F36HalfOpen, a_peer_that_vanished_is_a_typed_error_at_the_deadline_and_harms_nobody_else) {
    FaultRow row("F36");
    for (std::int64_t i = 0, n = by_tier(1, 10, 50); i < n; ++i)
        on_both_pollers([&row]() -> Coro<> {
            sennit::testing::Watchdog::kick(); // waits more than it works
            FaultRow::Trial trial(row);
            trial.injected = 4;
            co_await talk_to_vanishing_peers();
        });
}

// F37

int buffer_of(int fd, int option) {
    int bytes = 0;
    socklen_t size = sizeof bytes;
    ::getsockopt(fd, SOL_SOCKET, option, &bytes, &size);
    return bytes;
}

TEST(F37SlowConsumer, a_stream_holds_its_marks_and_one_item) {
    FaultRow row("F37");
    const std::int64_t items = by_tier(60, 1'000, 4'000);
    on_both_pollers([&]() -> Coro<> {
        constexpr std::size_t item = 100'000, piece = 5'000, high = 64 * 1024, low = 16 * 1024, limit = 32 * 1024;
        std::size_t written = 0, consumed = 0, right = 0;
        int kernel = 0;
        ServerOptions options;
        options.limit = limit;
        Server server = co_await start_server(
            [&](StreamReader reader, StreamWriter writer) -> Coro<> {
                os::set_socket_option(writer.fileno(), SOL_SOCKET, SO_RCVBUF, 16 * 1024);
                kernel += buffer_of(writer.fileno(), SO_RCVBUF);
                for (std::string some; !(some = co_await reader.read(piece)).empty();) {
                    for (const char c : some) right += c == static_cast<char>(consumed++ / item) ? 1 : 0;
                    if (consumed / item * item + piece > consumed) co_await sleep(1ms); // an item takes long
                }
                writer.close();
            },
            "127.0.0.1", 0, options);
        Streams client = co_await open_connection("127.0.0.1", server.port());
        os::set_socket_option(client.second.fileno(), SOL_SOCKET, SO_SNDBUF, 16 * 1024);
        client.second.set_write_buffer_limits(high, low);
        kernel += buffer_of(client.second.fileno(), SO_SNDBUF);
        for (std::int64_t i = 0; i < items; ++i) {
            sennit::testing::Watchdog::kick(); // waits more than it works
            FaultRow::Trial trial(row);
            trial.injected = 1;
            client.second.write(std::string(item, static_cast<char>(i)));
            written += item;
            EXPECT_LE(client.second.get_write_buffer_size(), high + item);
            // Here, in the kernel (where the window was larger before it was made small), and twice a limit there.
            EXPECT_LE(written - consumed, high + item + 2 * limit + static_cast<std::size_t>(kernel) + 400'000);
            co_await client.second.drain();
        }
        client.second.write_eof();
        EXPECT_EQ(co_await client.first.read(), "");
        EXPECT_EQ(right, static_cast<std::size_t>(items) * item);
        client.second.close();
        server.close();
        co_await server.wait_closed();
    });
}

// F26

TEST(F26Signals, each_burst_calls_the_loops_handler_at_least_once_and_never_within_itself) {
    FaultRow row("F26");
    constexpr std::int64_t burst = 100;
    const std::int64_t bursts = by_tier(10'000, 100'000, 1'000'000) / burst;
    on_both_pollers([&]() -> Coro<> {
        std::atomic<std::int64_t> calls{0};
        std::atomic<bool> over{false};
        int inside = 0;
        EventLoop& loop = EventLoop::running();
        loop.add_signal_handler(SIGUSR1, [&] {
            EXPECT_EQ(inside++, 0);
            ++calls;
            --inside;
        });
        std::thread sender([&] {
            for (std::int64_t b = 0; b < bursts; ++b) {
                for (std::int64_t i = 1; i < burst; ++i) ::kill(::getpid(), SIGUSR1);
                const std::int64_t before = calls;
                ::kill(::getpid(), SIGUSR1);
                while (calls == before) std::this_thread::yield(); // the last one of a burst is not lost either
            }
            over = true;
        });
        {
            sennit::testing::Watchdog::kick(); // waits more than it works
            FaultRow::Trial trial(row);
            trial.injected = bursts * burst;
            while (!over) co_await sleep(1ms);
        }
        sender.join();
        EXPECT_GE(calls, bursts);
        EXPECT_LE(calls, bursts * burst);
        loop.remove_signal_handler(SIGUSR1);
    });
}

} // namespace
} // namespace sennit::asyncio
