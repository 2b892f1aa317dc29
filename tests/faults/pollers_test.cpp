// F21: an io_uring that is refused is epoll, with the same results; queues that overflow lose nothing. F36: peers that stop, reset, or
// say nothing. F38: short counts and EAGAIN that nobody expects.
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/asyncio/wait.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/base/fault_point.hpp>
#include <sennit/loop/epoll_poller.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/loop/uring_poller.hpp>
#include <sennit/sync/semaphore.hpp>

#include "support/fault_row.hpp"
#include "support/seed.hpp"
#include "support/shim.hpp"
#include "support/tier.hpp"
#include "support/wait_audit.hpp"
#include "support/watchdog.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <memory>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sennit {
namespace {

using namespace std::chrono_literals;
using asyncio::Coro;
using asyncio::Task;
using testing::FaultRow;

std::unique_ptr<loop::Poller> make_poller(const std::string& name) {
    if (name == "epoll") return std::make_unique<loop::EpollPoller>();
    if (name == "io_uring") return std::make_unique<loop::UringPoller>();
    return std::make_unique<loop::UringPoller>(4, 8);
}

/// A TCP listener on 127.0.0.1.
struct Listener {
    explicit Listener(int backlog = 1024, bool small_buffers = false, int at_once = 500)
        : room(at_once), fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), small(small_buffers) {
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (small_buffers) use_small_buffers(fd.get());
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd.get(), backlog) != 0 ||
            ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
            throw OSError(errno, "listen");
    }
    // What thousands of connections whose peers do not read hold at most must fit into the kernel's memory for TCP (tcp_mem): else
    // it makes the healthy ones wait, too.
    static void use_small_buffers(int socket) {
        const int bytes = 4096;
        ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    Coro<os::Fd> connect() {
        co_await room.async_acquire();
        os::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!client) throw OSError(errno, "socket");
        if (small) use_small_buffers(client.get());
        co_await loop::sock_connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        co_return client;
    }
    // More connections at once than the listener's queue takes are dropped by the kernel, to be tried again after seconds.
    sync::Semaphore room;
    os::Fd fd;
    bool small;
    sockaddr_in address{};
};

Coro<void> echo(os::Fd fd) {
    char buffer[4096];
    try {
        for (;;) {
            const std::size_t n = co_await loop::sock_recv_into(fd.get(), buffer, sizeof buffer);
            if (n == 0) break;
            co_await loop::sock_sendall(fd.get(), buffer, n);
        }
    } catch (const OSError&) {} // reset by the peer
}

// Ends when it is cancelled; its sessions end by themselves.
Coro<void> serve(Listener& listener, std::vector<Task<void>>& sessions) {
    for (;;) {
        os::Fd fd = co_await loop::sock_accept(listener.fd.get());
        listener.room.release();
        sessions.push_back(asyncio::create_task(echo(std::move(fd))));
    }
}

Coro<void> talk(Listener& listener, int rounds, std::size_t bytes) {
    const os::Fd fd = co_await listener.connect();
    for (int round = 0; round < rounds; ++round) {
        std::string sent(bytes, '\0'), got;
        for (std::size_t i = 0; i < bytes; ++i) sent[i] = static_cast<char>(i * 13 + static_cast<std::size_t>(round));
        co_await loop::sock_sendall(fd.get(), sent, 30s);
        while (got.size() < bytes) {
            std::string part = co_await loop::sock_recv(fd.get(), bytes - got.size(), 30s);
            if (part.empty()) throw Error("the server has closed the connection");
            got += part;
        }
        if (got != sent) throw Error("what came back is not what was sent");
    }
}

Coro<void> stop_server(Task<void> server, std::vector<Task<void>>& sessions) {
    server.cancel();
    try {
        co_await server;
    } catch (const CancelledError&) {}
    for (Task<void>& session : sessions) co_await session;
}

Coro<void> several_talk(int clients, int rounds, std::size_t bytes) {
    Listener listener;
    std::vector<Task<void>> sessions, talks;
    Task<void> server = asyncio::create_task(serve(listener, sessions));
    for (int i = 0; i < clients; ++i) talks.push_back(asyncio::create_task(talk(listener, rounds, bytes)));
    for (Task<void>& t : talks) co_await t;
    co_await stop_server(server, sessions);
}

void run_on(const char* poller, Coro<void> body) {
    loop::EventLoop loop(make_poller(poller));
    loop.run_until_complete(std::move(body));
    loop.close();
}

bool io_uring_is_allowed() {
    try {
        make_poller("io_uring");
        return true;
    } catch (const OSError&) {
        return false;
    }
}

std::vector<const char*> pollers() {
    return io_uring_is_allowed() ? std::vector<const char*>{"epoll", "io_uring", "small io_uring"}
                                 : std::vector<const char*>{"epoll"};
}

// From now on io_uring_setup gives this error in this process.
bool forbid_io_uring(int error) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(F21Pollers, where_the_kernel_refuses_io_uring_the_same_program_runs_on_epoll) {
    FaultRow row("F21");
    for (const int error : {EPERM, ENOSYS, ENOMEM}) {
        testing::Watchdog::kick(); // waits more than it works
        FaultRow::Trial trial(row);
        trial.injected = 1;
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(60);
            ::unsetenv("SENNIT_POLLER");
            const os::Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
            ::dup2(null.get(), 2); // the line that says so
            int code = 1;
            try {
                if (!forbid_io_uring(error)) ::_exit(77);
                asyncio::run(several_talk(5, 5, 10'000));
                loop::EventLoop loop;
                code = std::string(loop.poller().name()) == "epoll" ? 0 : 2;
            } catch (const std::exception&) {
                code = 3;
            }
            ::_exit(code);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "seccomp filters are not allowed here";
        EXPECT_EQ(WEXITSTATUS(status), 0) << "errno " << error;
    }
}

TEST(F21Pollers, queues_that_overflow_lose_nothing) {
    if (!io_uring_is_allowed()) GTEST_SKIP() << "io_uring is refused here";
    FaultRow row("F21");
    testing::Watchdog::kick(); // waits more than it works
    FaultRow::Trial trial(row);
    const auto clients = static_cast<int>(testing::by_tier(100, 1000, 4000));
    trial.injected = clients;
    run_on("small io_uring", several_talk(clients, 3, 3000));
}

TEST(ForkedPollers, the_child_makes_a_loop_of_its_own_and_the_parents_goes_on) {
    for (const char* poller : pollers())
        run_on(poller, [](const char* kind) -> Coro<void> {
            Listener listener;
            Task<os::Fd> in_flight = asyncio::create_task(
                [&listener]() -> Coro<os::Fd> { co_return co_await loop::sock_accept(listener.fd.get()); });
            co_await several_talk(1, 1, 100); // it waits by now
            const pid_t child = ::fork();
            if (child == 0) {
                ::alarm(60);
                int code = 1;
                try {
                    run_on(kind, several_talk(3, 3, 1000));
                    code = 0;
                } catch (const std::exception&) {}
                ::_exit(code);
            }
            int status = 0;
            EXPECT_EQ(::waitpid(child, &status, 0), child);
            EXPECT_EQ(status, 0) << kind;
            const os::Fd client = co_await listener.connect();
            EXPECT_TRUE(co_await in_flight);
        }(poller));
}

TEST(F38Pollers, short_counts_and_calls_that_must_be_repeated_leave_every_byte_in_its_place) {
#if defined(SENNIT_FAULT_POINTS)
    FaultRow row("F38");
    const auto trials = testing::by_tier(3, 20, 200);
    for (std::int64_t i = 0; i < trials; ++i)
        for (const char* poller : pollers()) {
            testing::Watchdog::kick(); // waits more than it works
            FaultRow::Trial trial(row);
            base::arm_faults("epoll.ask_level=fail:EAGAIN");
            testing::Shim shim;
            shim.disturb(30);
            run_on(poller, several_talk(4, 3, 50'000));
            trial.injected = shim.injected();
            base::disarm_faults();
        }
#else
    GTEST_SKIP() << "built without fault points";
#endif
}

TEST(F36HalfOpen, a_peer_that_stops_says_nothing_or_resets_is_a_typed_error_at_the_deadline_at_the_latest) {
    FaultRow row("F36");
    const auto trials = testing::by_tier(1, 20, 100);
    for (std::int64_t i = 0; i < trials; ++i)
        for (const char* poller : pollers()) {
            testing::Watchdog::kick(); // waits more than it works
            FaultRow::Trial trial(row);
            trial.injected = 3;
            run_on(poller, []() -> Coro<void> {
                Listener listener;
                const std::string much(20'000'000, 'x');
                {
                    const os::Fd client = co_await listener.connect();
                    const os::Fd peer = co_await loop::sock_accept(listener.fd.get());
                    bool timed_out = false;
                    try {
                        co_await loop::sock_sendall(client.get(), much, 20ms); // it has stopped reading
                    } catch (const TimeoutError&) {
                        timed_out = true;
                    }
                    EXPECT_TRUE(timed_out);
                }
                {
                    const os::Fd client = co_await listener.connect();
                    const os::Fd peer = co_await loop::sock_accept(listener.fd.get());
                    bool timed_out = false;
                    try {
                        co_await loop::sock_recv(client.get(), 10, 5ms); // it says nothing
                    } catch (const TimeoutError&) {
                        timed_out = true;
                    }
                    EXPECT_TRUE(timed_out);
                }
                {
                    const os::Fd client = co_await listener.connect();
                    os::Fd peer = co_await loop::sock_accept(listener.fd.get());
                    linger at_once{1, 0};
                    ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
                    int code = 0;
                    Task<void> resets = asyncio::create_task([&peer]() -> Coro<void> {
                        peer.reset();
                        co_return;
                    });
                    try {
                        co_await loop::sock_recv(client.get(), 10, 10s);
                    } catch (const OSError& e) {
                        code = e.code();
                    }
                    EXPECT_EQ(code, ECONNRESET);
                    co_await resets;
                }
            }());
        }
}

// ---- many clients, most of them bad
//
// All come at once, more than the listener's queue takes. What the kernel then does is slow and looks like a hang, but is none:
//
//   a SYN is dropped          the client sends it again after 1, 2, 3, 4, 6, 10 … s
//   an ACK is dropped         the client thinks that it is connected; what it says is sent again after 0.2, 0.4, 0.8 … s, and who sends
//                             nothing waits for the server's SYN-ACK, after 1, 3, 7 … s
//   SYN cookies are in use    of who says more than one segment before it is accepted the second one is answered by a reset
//
// The audit tells that from a lost event. And a client counts as connected when it has an answer.

struct Crowd {
    Crowd(int backlog, int clients) : listener(backlog, true, clients) {}
    Coro<os::Fd> connect() {
        co_await listener.room.async_acquire();
        os::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!fd) throw OSError(errno, "socket");
        Listener::use_small_buffers(fd.get());
        {
            const testing::WaitAudit::Waiting here(audit, fd.get(), POLLOUT);
            co_await loop::sock_connect(fd.get(), reinterpret_cast<const sockaddr*>(&listener.address),
                                        sizeof listener.address);
        }
        char answer = 0;
        co_await send(fd.get(), "?");
        if (co_await recv(fd.get(), &answer, 1) != 1 || answer != '?') throw Error("the server has not answered");
        co_return fd;
    }
    Coro<std::size_t> recv(int fd, char* buffer, std::size_t size) {
        const testing::WaitAudit::Waiting here(audit, fd, POLLIN);
        co_return co_await loop::sock_recv_into(fd, buffer, size);
    }
    Coro<void> send(int fd, std::string_view bytes) {
        const testing::WaitAudit::Waiting here(audit, fd, POLLOUT);
        co_await loop::sock_sendall(fd, bytes);
    }
    Listener listener;
    testing::WaitAudit audit;
    std::vector<os::Fd> kept;
    std::vector<Task<void>> sessions;
};

Coro<void> echo_session(Crowd& crowd, os::Fd fd) {
    char buffer[2048];
    try {
        while (const std::size_t n = co_await crowd.recv(fd.get(), buffer, sizeof buffer))
            co_await crowd.send(fd.get(), std::string_view(buffer, n));
    } catch (const OSError&) {} // reset by the peer
}
Coro<void> serve_crowd(Crowd& crowd) {
    for (;;) {
        os::Fd fd;
        {
            const testing::WaitAudit::Waiting here(crowd.audit, crowd.listener.fd.get(), POLLIN);
            fd = co_await loop::sock_accept(crowd.listener.fd.get());
        }
        crowd.sessions.push_back(asyncio::create_task(echo_session(crowd, std::move(fd))));
    }
}

// Sends until nobody takes it any more, and never reads.
Coro<void> stops_reading(Crowd& crowd, std::string_view much) {
    os::Fd fd = co_await crowd.connect();
    try {
        for (int i = 0; i < 100; ++i) co_await loop::sock_sendall(fd.get(), much, 50ms);
    } catch (const TimeoutError&) {}
    crowd.kept.push_back(std::move(fd));
}
// Says half a message, and nothing more.
Coro<void> stops_writing(Crowd& crowd) {
    os::Fd fd = co_await crowd.connect();
    char buffer[100];
    co_await crowd.send(fd.get(), "half a mess");
    co_await crowd.recv(fd.get(), buffer, sizeof buffer);
    crowd.kept.push_back(std::move(fd));
}
Coro<void> resets(Crowd& crowd, std::string_view much) {
    const os::Fd fd = co_await crowd.connect();
    co_await crowd.send(fd.get(), much.substr(0, 5000));
    const linger at_once{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}
Coro<void> is_healthy(Crowd& crowd) {
    const os::Fd fd = co_await crowd.connect();
    char back[2000];
    for (int round = 0; round < 10; ++round) {
        std::string sent(sizeof back, '\0');
        for (std::size_t i = 0; i < sent.size(); ++i)
            sent[i] = static_cast<char>(i * 13 + static_cast<std::size_t>(round));
        co_await crowd.send(fd.get(), sent);
        for (std::size_t got = 0; got < sizeof back;) {
            const std::size_t n = co_await crowd.recv(fd.get(), back + got, sizeof back - got);
            if (n == 0) throw Error("the server has closed the connection");
            got += n;
        }
        if (std::string_view(back, sizeof back) != sent) throw Error("what came back is not what was sent");
    }
}

std::int64_t resident_kib() {
    std::ifstream statm("/proc/self/statm");
    std::int64_t pages = 0, resident = 0;
    statm >> pages >> resident;
    return resident * ::sysconf(_SC_PAGESIZE) / 1024;
}

Coro<void> a_bad_crowd(int bad, int good, int backlog) {
    const std::string much(100'000, 'x');
    const std::int64_t resident = resident_kib(), overflows = testing::tcp_counter("ListenOverflows"),
                       timeouts = testing::tcp_counter("TCPTimeouts");
    Crowd crowd(backlog, bad + good);
    std::vector<Task<void>> bad_ones, healthy;
    Task<void> looking = asyncio::create_task(crowd.audit.look());
    Task<void> server = asyncio::create_task(serve_crowd(crowd));
    for (int i = 0; i < bad; ++i) {
        if (i % 3 == 0) bad_ones.push_back(asyncio::create_task(stops_reading(crowd, much)));
        if (i % 3 == 1) bad_ones.push_back(asyncio::create_task(stops_writing(crowd)));
        if (i % 3 == 2) bad_ones.push_back(asyncio::create_task(resets(crowd, much)));
    }
    for (int i = 0; i < good; ++i) healthy.push_back(asyncio::create_task(is_healthy(crowd)));
    for (Task<void>& t : healthy) co_await t; // unharmed, while the others are as they are
    for (Task<void>& t : bad_ones) co_await t;
    // Those that do not read or write are still there, and so are their sessions: waiting, with what the kernel has of them.
    const auto waiting =
        std::count_if(crowd.sessions.begin(), crowd.sessions.end(), [](const Task<void>& t) { return !t.done(); });
    EXPECT_GE(waiting, static_cast<std::ptrdiff_t>(crowd.kept.size()));
    const std::int64_t grown = resident_kib() - resident;
    std::printf("%d clients on %s: %lld KiB more resident; longest quiet %lld ms; in the kernel %lld overflows, %lld "
                "time-outs\n",
                bad + good, loop::EventLoop::running().poller().name(), static_cast<long long>(grown),
                static_cast<long long>(crowd.audit.longest_quiet().count()),
                static_cast<long long>(testing::tcp_counter("ListenOverflows") - overflows),
                static_cast<long long>(testing::tcp_counter("TCPTimeouts") - timeouts));
    // A session is a frame with its buffer, and its client another one.
    EXPECT_LT(grown, (20'000 + (bad + good) * std::int64_t{16}) * (testing::sanitized() ? 8 : 1));
    EXPECT_EQ(crowd.audit.lost(), "") << crowd.audit.looks() << " looks";
    crowd.kept.clear();
    looking.cancel();
    co_await asyncio::wait(looking);
    co_await stop_server(server, crowd.sessions); // each session ends: nothing is left behind
}

// All the descriptors that there may be; how many clients have room in them.
class ManyDescriptors {
  public:
    ManyDescriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit more = before_;
        more.rlim_cur = more.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &more);
        ::getrlimit(RLIMIT_NOFILE, &more);
        clients = static_cast<std::int64_t>(std::min<rlim_t>(more.rlim_cur, 1'000'000)) / 2 - 200;
    }
    ~ManyDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    std::int64_t clients;

  private:
    rlimit before_{};
};

TEST(BadClients, a_third_stops_reading_a_third_stops_writing_a_third_resets_and_the_healthy_ones_are_unharmed) {
    const ManyDescriptors room;
    const auto bad = static_cast<int>(std::min(testing::by_tier(300, 10'000, 10'000), room.clients));
    ASSERT_GT(bad, 30) << "RLIMIT_NOFILE is too small";
    for (const char* poller : pollers())
        if (std::string(poller) != "small io_uring") run_on(poller, a_bad_crowd(bad, 20, 4096));
}

TEST(BadClients, the_audit_finds_who_waits_for_what_is_there) {
    run_on("epoll", []() -> Coro<void> {
        testing::WaitAudit audit;
        Task<void> looking = asyncio::create_task(audit.look());
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw OSError(errno, "pipe2");
        const os::Fd in(ends[0]), out(ends[1]), still(::eventfd(0, EFD_CLOEXEC));
        {
            const testing::WaitAudit::Waiting a(audit, in.get(), POLLIN), b(audit, still.get(), POLLIN);
            co_await audit.until_looks(3);
            EXPECT_EQ(audit.lost(), "");
            EXPECT_EQ(::write(out.get(), "x", 1), 1);
            co_await audit.until_looks(10);
        }
        EXPECT_NE(audit.lost().find("descriptor " + std::to_string(in.get()) + " is ready"), std::string::npos);
        EXPECT_EQ(audit.lost().find("descriptor " + std::to_string(still.get()) + ' '), std::string::npos);
        looking.cancel();
        co_await asyncio::wait(looking);
    }());
}

TEST(BadClients, a_listener_whose_queue_overflows_is_slow_and_no_event_is_lost) {
    const ManyDescriptors room;
    const auto bad = static_cast<int>(std::min(testing::by_tier(150, 3'000, 10'000), room.clients));
    // Daily one wave is turned away, which is back after a second.
    const int backlog = testing::fault_tier() == 1 ? bad * 3 / 4 : bad / 3;
    for (const char* poller : pollers()) run_on(poller, a_bad_crowd(bad, 20, backlog));
}

} // namespace
} // namespace sennit
