// Coroutines' input and output, on each poller.
#include <sennit/loop/socket_io.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/loop/uring_poller.hpp>
#include <sennit/os/io.hpp>

#include "support/test_loop.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace sennit::loop {
namespace {

using namespace std::chrono_literals;
using testing::Co;

/// A task that stops its loop when it ends.
class LoopTask {
  public:
    LoopTask(EventLoop& loop, std::function<Co<void>()> body)
        : task_(asyncio::create_task_on(loop, {}, std::move(body))) {
        task_.add_done_callback([&loop](const asyncio::TaskRef&) { loop.stop(); });
    }
    [[nodiscard]] bool done() const noexcept { return task_.done(); }
    void rethrow() const { task_.result(); }
    [[nodiscard]] wait::Agent& agent() const noexcept { return task_.base(); }

  private:
    asyncio::Task<> task_;
};

std::unique_ptr<Poller> make(const std::string& name) {
    if (name == "epoll") return std::make_unique<EpollPoller>();
    if (name == "io_uring") return std::make_unique<UringPoller>();
    return std::make_unique<UringPoller>(2, 4); // its queues are always full
}

void no_delay(int fd) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

class SocketIo : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        try {
            loop = std::make_unique<EventLoop>(make(GetParam()));
        } catch (const OSError& refused) {
            GTEST_SKIP() << refused.what();
        }
    }
    LoopTask& spawn(std::function<Co<void>()> body) {
        tasks.push_back(std::make_unique<LoopTask>(*loop, std::move(body)));
        return *tasks.back();
    }
    // Runs until all have ended; throws what the first one threw.
    void run() {
        const auto all_done = [&] {
            for (const auto& task : tasks)
                if (!task->done()) return false;
            return true;
        };
        while (!all_done()) loop->run_forever();
        for (const auto& task : tasks) task->rethrow();
    }
    std::pair<os::Fd, os::Fd> unix_pair(int type = SOCK_STREAM) {
        int ends[2];
        if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
            throw OSError(errno, "socketpair");
        return {os::Fd(ends[0]), os::Fd(ends[1])};
    }
    std::unique_ptr<EventLoop> loop;
    std::vector<std::unique_ptr<LoopTask>> tasks;
};
INSTANTIATE_TEST_SUITE_P(Pollers, SocketIo, ::testing::Values("epoll", "io_uring", "small_io_uring"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(SocketIo, a_server_and_its_clients_talk_over_tcp) {
    constexpr int clients = 20;
    const os::Fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(server.get(), clients), 0);
    ASSERT_EQ(::getsockname(server.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);

    std::vector<os::Fd> accepted(clients);
    spawn([&]() -> Co<void> {
        for (int i = 0; i < clients; ++i) {
            os::Fd& fd = accepted[static_cast<std::size_t>(i)];
            fd = co_await sock_accept(server.get());
            no_delay(fd.get());
            spawn([&fd]() -> Co<void> {
                char buffer[4096];
                for (;;) {
                    const std::size_t n = co_await sock_recv_into(fd.get(), buffer, sizeof buffer);
                    if (n == 0) break;
                    co_await sock_sendall(fd.get(), buffer, n);
                }
                forget_descriptor(fd.get());
                fd.reset();
            });
        }
    });
    for (int i = 0; i < clients; ++i) {
        spawn([&, i]() -> Co<void> {
            const os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            no_delay(fd.get());
            co_await sock_connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
            for (int round = 0; round < 10; ++round) {
                const std::string sent(static_cast<std::size_t>(1 + i * 500 + round), static_cast<char>('a' + round));
                co_await sock_sendall(fd.get(), sent);
                std::string got;
                while (got.size() < sent.size()) got += co_await sock_recv(fd.get(), 100'000);
                EXPECT_TRUE(got == sent);
            }
            forget_descriptor(fd.get());
        });
    }
    run();
}

TEST_P(SocketIo, a_cancelled_wait_throws_and_loses_no_byte) {
    const auto pair = unix_pair();
    wait::Agent* waiter = nullptr;
    bool cancelled = false;
    std::string got;
    LoopTask& task = spawn([&]() -> Co<void> {
        char buffer[10];
        try {
            co_await sock_recv_into(pair.first.get(), buffer, sizeof buffer);
        } catch (const CancelledError&) {
            cancelled = true;
        }
        got = co_await sock_recv(pair.first.get(), 10);
    });
    waiter = &task.agent();
    spawn([&]() -> Co<void> {
        co_await wait_writable(pair.second.get()); // a turn of the kernel's: the other one waits by now
        waiter->cancel();
        co_await wait_writable(pair.second.get());
        co_await sock_sendall(pair.second.get(), "abc");
    });
    run();
    EXPECT_TRUE(cancelled);
    EXPECT_EQ(got, "abc");
}

TEST_P(SocketIo, a_cancellation_before_the_wait_ends_it) {
    const auto pair = unix_pair();
    spawn([&]() -> Co<void> {
        char buffer[10];
        wait::current_agent().cancel();
        EXPECT_THROW(co_await sock_recv_into(pair.first.get(), buffer, sizeof buffer), CancelledError);
    });
    run();
}

TEST_P(SocketIo, what_is_there_is_given_though_the_deadline_has_passed_and_what_is_not_is_a_timeout) {
    const auto pair = unix_pair();
    spawn([&]() -> Co<void> {
        char buffer[10];
        EXPECT_THROW(co_await sock_recv_into(pair.first.get(), buffer, sizeof buffer, 1ms), TimeoutError);
        co_await sock_sendall(pair.second.get(), "ab");
        EXPECT_EQ(co_await sock_recv_into(pair.first.get(), buffer, sizeof buffer, 10s), 2u);
        EXPECT_THROW(co_await wait_readable(pair.first.get(), 1ms), TimeoutError);
        co_await wait_writable(pair.first.get(), 10s);
    });
    run();
}

TEST_P(SocketIo, sendall_waits_for_a_slow_reader_and_every_byte_arrives) {
    const auto pair = unix_pair();
    const std::size_t size = 3'000'000;
    std::string sent(size, 0), got;
    for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<char>(i * 7 >> 4);
    spawn([&]() -> Co<void> { co_await sock_sendall(pair.first.get(), sent); });
    spawn([&]() -> Co<void> {
        while (got.size() < size) got += co_await sock_recv(pair.second.get(), 70'000);
    });
    run();
    EXPECT_TRUE(got == sent);
}

TEST_P(SocketIo, errors_name_the_call_and_the_descriptor) {
    auto pair = unix_pair();
    spawn([&]() -> Co<void> {
        pair.second.reset();
        try {
            co_await sock_sendall(pair.first.get(), "x");
            ADD_FAILURE();
        } catch (const OSError& e) { // and no SIGPIPE
            EXPECT_EQ(e.code(), EPIPE);
            EXPECT_NE(std::string(e.what()).find("sock_sendall"), std::string::npos);
            EXPECT_NE(std::string(e.what()).find(std::to_string(pair.first.get())), std::string::npos);
        }
    });
    run();
}

TEST_P(SocketIo, who_waits_for_a_descriptor_that_is_closed_gets_an_error) {
    auto pair = unix_pair();
    spawn([&]() -> Co<void> {
        try {
            co_await sock_recv(pair.first.get(), 10);
            ADD_FAILURE();
        } catch (const OSError& e) {
            EXPECT_EQ(e.code(), EBADF);
        }
    });
    spawn([&]() -> Co<void> {
        co_await wait_writable(pair.second.get());
        forget_descriptor(pair.first.get());
        pair.first.reset();
    });
    run();
}

TEST_P(SocketIo, datagrams_say_where_they_came_from) {
    const auto bound = [] {
        os::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw OSError(errno, "bind");
        return fd;
    };
    const auto address_of = [](int fd) {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
        return address;
    };
    const os::Fd a = bound(), b = bound();
    spawn([&]() -> Co<void> {
        char buffer[4];
        const Datagram first = co_await sock_recvfrom(b.get(), buffer, sizeof buffer);
        EXPECT_EQ(first.bytes, 3u);
        EXPECT_FALSE(first.truncated);
        EXPECT_EQ(reinterpret_cast<const sockaddr_in&>(first.address).sin_port, address_of(a.get()).sin_port);
        const Datagram second = co_await sock_recvfrom(b.get(), buffer, sizeof buffer);
        EXPECT_TRUE(second.truncated);
    });
    spawn([&]() -> Co<void> {
        const sockaddr_in to = address_of(b.get());
        EXPECT_EQ(co_await sock_sendto(a.get(), "abc", 3, reinterpret_cast<const sockaddr*>(&to), sizeof to), 3u);
        co_await sock_sendto(a.get(), "abcdef", 6, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    });
    run();
}

TEST_P(SocketIo, files_go_to_a_socket_and_back) {
    char name[] = "/tmp/sennit_io_XXXXXX";
    const os::Fd file(::mkostemp(name, O_CLOEXEC));
    ::unlink(name);
    const auto pair = unix_pair();
    std::string text(1'000'000, 'f'), got;
    text.replace(500, 3, "abc");
    spawn([&]() -> Co<void> {
        EXPECT_EQ(co_await file_write(file.get(), text.data(), text.size(), 0), text.size());
        std::string back(1000, '\0');
        EXPECT_EQ(co_await file_read(file.get(), back.data(), back.size(), static_cast<std::int64_t>(text.size()) - 10),
                  10u);
        EXPECT_EQ(co_await file_read(file.get(), back.data(), 3, 500), 3u);
        EXPECT_EQ(back.substr(0, 3), "abc");
        EXPECT_EQ(co_await sock_sendfile(pair.first.get(), file.get(), 0, 5'000'000), text.size());
    });
    spawn([&]() -> Co<void> {
        while (got.size() < text.size()) got += co_await sock_recv(pair.second.get(), 100'000);
    });
    run();
    EXPECT_TRUE(got == text);
}

TEST_P(SocketIo, a_unix_listener_without_room_is_waited_for) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = "/tmp/sennit_io_" + std::to_string(::getpid());
    std::strcpy(address.sun_path, path.c_str());
    ::unlink(path.c_str());
    const os::Fd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(server.get(), 0), 0);
    constexpr int clients = 5;
    int connected = 0;
    for (int i = 0; i < clients; ++i)
        spawn([&]() -> Co<void> {
            const os::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            co_await sock_connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
            ++connected;
            forget_descriptor(fd.get());
        });
    spawn([&]() -> Co<void> {
        for (int i = 0; i < clients; ++i) co_await sock_accept(server.get());
    });
    run();
    EXPECT_EQ(connected, clients);
    ::unlink(path.c_str());
}

TEST_P(SocketIo, a_task_that_never_has_to_wait_does_not_keep_others_from_running) {
    const auto pair = unix_pair();
    bool other_ran = false;
    int rounds = 0;
    spawn([&]() -> Co<void> {
        char byte = 'x';
        while (!other_ran && rounds < 100'000) {
            ++rounds;
            co_await sock_sendall(pair.first.get(), &byte, 1);
            co_await sock_recv_into(pair.second.get(), &byte, 1);
        }
    });
    spawn([&]() -> Co<void> {
        other_ran = true;
        co_return;
    });
    run();
    EXPECT_LT(rounds, 100'000);
}

TEST(SocketIoOutside, of_a_loop_is_a_usage_error) {
    char byte = 0;
    auto wait = sock_recv_into(0, &byte, 1);
    EXPECT_THROW(wait.await_ready(), UsageError);
}

} // namespace
} // namespace sennit::loop
