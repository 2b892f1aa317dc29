// Servers, connecting to them, datagrams, names.
#include "asyncio/connect_race.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/on_both_pollers.hpp"

#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/datagram.hpp>
#include <sennit/asyncio/resolver.hpp>
#include <sennit/asyncio/server.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/os/socket_setup.hpp>

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::cancel_everywhere;
using ::testing::HasSubstr;
using testing::on_both_pollers;

Coro<> echo(StreamReader reader, StreamWriter writer) {
    for (std::string some; !(some = co_await reader.read(65536)).empty();) {
        writer.write(some);
        co_await writer.drain();
    }
}

TEST(Server, serves_many_at_once_each_in_a_task_of_its_own) {
    on_both_pollers([]() -> Coro<> {
        std::set<std::string> peers;
        auto handler = [&peers](StreamReader& reader, StreamWriter& writer) -> Coro<> { // by reference is as good
            peers.insert(writer.get_extra_info("peername"));
            co_await echo(std::move(reader), std::move(writer));
        };
        Server server = co_await start_server(handler, "127.0.0.1", 0);
        EXPECT_TRUE(server.is_serving());
        const int port = server.port();
        constexpr int clients = 40;
        std::vector<Task<bool>> tasks;
        for (int i = 0; i < clients; ++i) {
            tasks.push_back(create_task([port, i]() -> Coro<bool> {
                auto [reader, writer] = co_await open_connection("127.0.0.1", port);
                const std::string text(static_cast<std::size_t>(1 + i * 3000), static_cast<char>('a' + i % 26));
                writer.write(text);
                const bool same = co_await reader.readexactly(text.size()) == text;
                EXPECT_EQ(writer.get_extra_info("peername"), "127.0.0.1:" + std::to_string(port));
                writer.write_eof();
                co_return same && (co_await reader.read()).empty();
            }));
        }
        int right = 0;
        for (auto& t : tasks) right += co_await t ? 1 : 0;
        EXPECT_EQ(right, clients);
        EXPECT_EQ(peers.size(), static_cast<std::size_t>(clients));
        server.close();
        co_await server.wait_closed();
        EXPECT_EQ(server.connections(), 0U);
        EXPECT_TRUE(server.sockets().empty());
        bool refused = false;
        try {
            co_await open_connection("127.0.0.1", port);
        } catch (const OSError& e) {
            refused = e.code() == ECONNREFUSED;
            EXPECT_THAT(e.what(), AllOf(HasSubstr("cannot connect to '127.0.0.1' port"), HasSubstr("refused")));
        }
        EXPECT_TRUE(refused);
    });
}

TEST(Server, what_a_handler_throws_goes_to_the_exception_handler_and_closes_the_connection) {
    on_both_pollers([]() -> Coro<> {
        std::string told;
        EventLoop::running().set_exception_handler([&](EventLoop&, const loop::ExceptionContext& context) {
            told = context.message;
            try {
                std::rethrow_exception(context.exception);
            } catch (const std::exception& e) {
                told += std::string(": ") + e.what();
            }
        });
        Server server = co_await start_server(
            [](StreamReader reader, StreamWriter) -> Coro<> {
                co_await reader.readline();
                throw Error("out of paper");
            },
            "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        writer.write("print\n");
        EXPECT_EQ(co_await reader.read(), "");
        EXPECT_EQ(told, "the handler of a connection threw: out of paper");
        EventLoop::running().set_exception_handler(nullptr);
    });
}

TEST(Server, serve_forever_ends_when_cancelled_and_clients_can_be_sent_away) {
    on_both_pollers([]() -> Coro<> {
        Server server = co_await start_server(echo, "", 0); // this machine alone
        for (const auto& address : server.sockets()) EXPECT_TRUE(address.is_loopback()) << address.to_string();
        auto forever_task = create_task([&]() -> Coro<> { co_await server.serve_forever(); });
        auto [r1, w1] = co_await open_connection("localhost", server.port());
        auto [r2, w2] = co_await open_connection("localhost", server.port());
        w1.write("1");
        w2.write("2");
        EXPECT_EQ(co_await r1.read(1), "1");
        EXPECT_EQ(co_await r2.read(1), "2");
        EXPECT_EQ(server.connections(), 2U);
        forever_task.cancel();
        co_await forever_task.async_join();
        EXPECT_TRUE(forever_task.cancelled());
        EXPECT_FALSE(server.is_serving());
        w1.write("still here");
        EXPECT_EQ(co_await r1.readexactly(10), "still here");
        server.close_clients();
        co_await server.wait_closed();
        EXPECT_EQ(co_await r1.read(), "");
        EXPECT_EQ(co_await r2.read(), "");
    });
}

TEST(Server, of_a_unix_socket_is_this_users_alone_and_takes_its_file_away) {
    const auto folder = std::filesystem::temp_directory_path() / ("sennit-unix-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const std::string path = folder / "socket";
    const std::string other = folder / "file";
    std::ofstream(other) << "somebody's";
    on_both_pollers([&]() -> Coro<> {
        { // left behind by one that was killed
            const os::Fd stale(os::open_socket(AF_UNIX, SOCK_STREAM));
            EXPECT_EQ(os::bind_socket(stale.get(), os::SocketAddress::unix_path(path)), 0);
        }
        Server server = co_await start_unix_server(echo, path);
        struct stat info {};
        EXPECT_EQ(::stat(path.c_str(), &info), 0);
        EXPECT_EQ(info.st_mode & 0777, 0600U);
        auto [reader, writer] = co_await open_unix_connection(path);
        EXPECT_EQ(writer.get_extra_info("peername"), path);
        writer.write("hello");
        EXPECT_EQ(co_await reader.readexactly(5), "hello");
        server.close();
        EXPECT_FALSE(std::filesystem::exists(path));
        EXPECT_THROW(static_cast<void>(start_unix_server(echo, other)), OSError);
        EXPECT_TRUE(std::filesystem::exists(other));
        bool missing = false;
        try {
            co_await open_unix_connection(path);
        } catch (const OSError& e) {
            missing = e.code() == ENOENT;
        }
        EXPECT_TRUE(missing);
    });
    std::filesystem::remove_all(folder);
}

TEST(Server, rests_when_descriptors_have_run_out_and_goes_on) { // F17
    on_both_pollers([]() -> Coro<> {
        std::string told;
        int times = 0;
        EventLoop::running().set_exception_handler([&](EventLoop&, const loop::ExceptionContext& context) {
            told = context.message;
            ++times;
        });
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        os::Fd fd(os::open_socket(AF_INET, SOCK_STREAM));
        rlimit before{};
        ::getrlimit(RLIMIT_NOFILE, &before);
        const int next = ::dup(0);
        ::close(next);
        rlimit none{static_cast<rlim_t>(next), before.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &none);
        co_await loop::sock_connect(fd.get(), server.sockets()[0]); // the kernel takes it
        while (told.empty()) co_await sleep(1ms);
        bool refused = false;
        try {
            co_await open_connection("127.0.0.1", server.port());
        } catch (const OSError& e) {
            refused = e.code() == EMFILE;
        }
        EXPECT_TRUE(refused);
        ::setrlimit(RLIMIT_NOFILE, &before);
        EXPECT_EQ(times, 1);
        EXPECT_THAT(told, HasSubstr("descriptors"));
        auto [reader, writer] = stream_of_socket(std::move(fd));
        writer.write("after all");
        EXPECT_EQ(co_await reader.readexactly(9), "after all");
        EventLoop::running().set_exception_handler(nullptr);
    });
}

TEST(Connect, tries_the_next_address_beside_one_that_does_not_answer) {
    on_both_pollers([]() -> Coro<> {
        // A listener whose queue is full does not answer.
        const os::Fd silent(os::open_socket(AF_INET, SOCK_STREAM));
        os::bind_socket(silent.get(), *os::SocketAddress::numeric("127.0.0.1", 0));
        os::listen_socket(silent.get(), 0);
        std::vector<os::Fd> queue;
        for (int i = 0; i < 3; ++i) {
            queue.emplace_back(os::open_socket(AF_INET, SOCK_STREAM));
            const auto to = os::local_address(silent.get());
            try {
                co_await loop::sock_connect(queue.back().get(), to, 50ms);
            } catch (const TimeoutError&) {}
        }
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        const auto good = server.sockets()[0];
        const auto nobody = *os::SocketAddress::numeric("127.0.0.1", 1);
        const auto silent_address = os::local_address(silent.get());
        std::vector<os::SocketAddress> both{silent_address, nobody, good};
        auto won = co_await sync::Awaitable<detail::ConnectRace>(forever, both, os::SocketAddress(), 1'000'000, "x");
        EXPECT_EQ(won.second, good);
        // All fail: each is named. Late: what did not answer is left.
        std::vector<os::SocketAddress> one{nobody};
        std::string error;
        try {
            co_await sync::Awaitable<detail::ConnectRace>(forever, one, os::SocketAddress(), 1'000'000, "x");
        } catch (const OSError& e) {
            error = e.what();
        }
        EXPECT_THAT(error, HasSubstr("127.0.0.1:1: Connection refused"));
        std::vector<os::SocketAddress> mute{silent_address};
        bool late = false;
        try {
            co_await sync::Awaitable<detail::ConnectRace>(20ms, mute, os::SocketAddress(), 1'000'000, "x");
        } catch (const TimeoutError&) {
            late = true;
        }
        EXPECT_TRUE(late);
    });
}

TEST(Connect, the_families_take_turns) {
    const auto address = [](const char* host) { return *os::SocketAddress::numeric(host, 1); };
    const auto a = address("127.0.0.1"), b = address("127.0.0.2"), c = address("127.0.0.3"), x = address("::1");
    EXPECT_EQ(detail::interleaved({a, b, c, x}), (std::vector{a, x, b, c}));
    EXPECT_EQ(detail::interleaved({}), std::vector<os::SocketAddress>());
}

TEST(Connect, names_are_looked_up_off_the_loop_and_errors_name_them) {
    on_both_pollers([]() -> Coro<> {
        auto found = co_await getaddrinfo("localhost", 80);
        EXPECT_FALSE(found.empty());
        auto named = co_await getnameinfo(found[0], 1 | 2); // NI_NUMERICHOST | NI_NUMERICSERV
        EXPECT_EQ(named.second, "80");
        for (const int port : {-1, 65536}) {
            bool refused = false;
            try {
                co_await open_connection("localhost", port);
            } catch (const UsageError&) {
                refused = true;
            }
            EXPECT_TRUE(refused) << port;
        }
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port(), {.local_host = "127.0.0.9"});
        EXPECT_THAT(writer.get_extra_info("sockname"), HasSubstr("127.0.0.9:"));
    });
}

TEST(Datagram, goes_there_and_back_and_each_has_a_sender) {
    on_both_pollers([]() -> Coro<> {
        DatagramEndpoint server = co_await create_datagram_endpoint({.local_host = "127.0.0.1"});
        DatagramEndpoint client =
            co_await create_datagram_endpoint({.remote_host = "127.0.0.1", .remote_port = server.sockname().port()});
        co_await client.sendto("one");
        co_await client.sendto("");
        auto [one, from] = co_await server.recvfrom();
        EXPECT_EQ(one, "one");
        EXPECT_EQ(from, client.sockname());
        auto [empty, from_too] = co_await server.recvfrom();
        EXPECT_EQ(empty, "");
        co_await server.sendto(std::string(60'000, 'x'), from);
        auto [much, back] = co_await client.recvfrom();
        EXPECT_EQ(much.size(), 60'000U);
        EXPECT_EQ(back, server.sockname());
        bool late = false;
        try {
            co_await client.recvfrom(1ms);
        } catch (const TimeoutError&) {
            late = true;
        }
        EXPECT_TRUE(late);
        bool too_long = false;
        try {
            co_await client.sendto(std::string(70'000, 'x'));
        } catch (const OSError& e) {
            too_long = e.code() == EMSGSIZE;
        }
        EXPECT_TRUE(too_long);
        client.close();
        bool closed = false;
        try {
            co_await client.sendto("x");
        } catch (const InvalidStateError&) {
            closed = true;
        }
        EXPECT_TRUE(closed);
    });
}

TEST(Cancelled, at_any_suspension_a_client_and_its_server_leave_nothing_behind) {
    on_both_pollers([]() -> Coro<> { co_return; }); // both pollers work, or say why not
    const int suspensions = cancel_everywhere([]() -> Coro<> {
        Server server = co_await start_server(echo, "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        const std::string much(1'000'000, 'm');
        writer.write(much);
        auto draining = create_task([](StreamWriter& w) -> Coro<> { co_await w.drain(); }, std::ref(writer));
        struct Stop {
            Task<void>& task;
            ~Stop() { task.cancel(); }
        };
        const Stop stop{draining};
        EXPECT_TRUE(co_await reader.readexactly(much.size()) == much);
        writer.write("a line\nmore|");
        EXPECT_EQ(co_await reader.readline(), "a line\n");
        EXPECT_EQ(co_await reader.readuntil("|"), "more|");
        co_await writer.drain();
        writer.write_eof();
        co_await reader.read();
        server.close();
        writer.close();
        co_await writer.wait_closed();
        co_await server.wait_closed();
    });
    EXPECT_GE(suspensions, 3);
}

TEST(Cancelled, at_any_suspension_a_look_up_and_datagrams_leave_nothing_behind) {
    const int suspensions = cancel_everywhere([]() -> Coro<> {
        Server server = co_await start_server(echo, "localhost", 0);
        auto [reader, writer] = co_await open_connection("localhost", server.port());
        DatagramEndpoint a = co_await create_datagram_endpoint({.local_host = "127.0.0.1"});
        auto late =
            create_task([](DatagramEndpoint& e) -> Coro<> { co_await e.sendto("x", e.sockname()); }, std::ref(a));
        auto [text, from] = co_await a.recvfrom();
        co_await late;
    });
    EXPECT_GE(suspensions, 3);
}

} // namespace
} // namespace sennit::asyncio
