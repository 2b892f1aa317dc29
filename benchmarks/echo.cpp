// TCP echo on loopback, 64-byte messages: every server alone on the first core, one and the same client on the second.
//
//   echo [--rounds N] [--only TEXT]     measures
//   echo --serve KIND                   is a server: prints its port, echoes until killed
//
// The client has one epoll; each connection sends a message, waits until all of it has come back, and sends the next. The server's CPU
// time is what the kernel accounts to its threads meanwhile.
#include "common/bench.hpp"

#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/os/fd.hpp>

#include <arpa/inet.h>
#include <array>
#include <boost/asio.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <dirent.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include <vector>

using bench::die;
using bench::seconds;

namespace {

constexpr int message_bytes = 64, buffer_bytes = 4096, backlog = 4096;

void tell_port(int port) {
    std::printf("%d\n", port);
    std::fflush(stdout);
}

int listen_anywhere(bool nonblocking) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd, backlog) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        die("cannot listen on 127.0.0.1");
    tell_port(ntohs(address.sin_port));
    return fd;
}

// ---- the limits

void serve_raw_epoll() {
    const int listener = listen_anywhere(true), epoll = ::epoll_create1(0);
    epoll_event watch{};
    watch.events = EPOLLIN;
    watch.data.fd = listener;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &watch);
    std::array<epoll_event, 256> events;
    char buffer[buffer_bytes];
    for (;;) {
        const int n = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < n; ++i) {
            const int fd = events[static_cast<std::size_t>(i)].data.fd;
            if (fd == listener) {
                watch.data.fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
                if (watch.data.fd >= 0) ::epoll_ctl(epoll, EPOLL_CTL_ADD, watch.data.fd, &watch);
                continue;
            }
            const ssize_t got = ::read(fd, buffer, sizeof buffer);
            if (got <= 0 || ::write(fd, buffer, static_cast<std::size_t>(got)) != got) ::close(fd);
        }
    }
}

// Multishot accept; receives are multishot into a ring of provided buffers, and are sent from there or copied out of it first, as
// who hands them to a reader must; or one after the other into a buffer of each connection.
enum class Receives { provided, copied, single };
void serve_raw_uring(Receives how) {
    const bool multishot = how != Receives::single;
    constexpr unsigned buffers = 2048, bytes = 2048;
    enum Kind : std::uint64_t { accept, receive, send };
    const int listener = listen_anywhere(false);
    io_uring ring;
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    params.cq_entries = 8192;
    if (::io_uring_queue_init_params(2048, &ring, &params) != 0) die("no io_uring here");
    const auto map = [](std::size_t n) {
        return ::mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    };
    auto* const provided = static_cast<io_uring_buf_ring*>(map(buffers * sizeof(io_uring_buf)));
    auto* const memory = static_cast<char*>(map(std::size_t{buffers} * bytes));
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uint64_t>(provided);
    registration.ring_entries = buffers;
    if (::io_uring_register_buf_ring(&ring, &registration, 0) != 0) die("no provided buffers here");
    ::io_uring_buf_ring_init(provided);
    const int mask = ::io_uring_buf_ring_mask(buffers);
    const auto memory_of = [&](unsigned id) { return memory + std::size_t{id} * bytes; };
    for (unsigned i = 0; i < buffers; ++i)
        ::io_uring_buf_ring_add(provided, memory_of(i), bytes, static_cast<unsigned short>(i), mask,
                                static_cast<int>(i));
    ::io_uring_buf_ring_advance(provided, static_cast<int>(buffers));
    const auto next = [&](Kind kind, int fd, unsigned id, auto prepare) {
        io_uring_sqe* entry = ::io_uring_get_sqe(&ring);
        if (!entry) {
            ::io_uring_submit(&ring);
            entry = ::io_uring_get_sqe(&ring);
        }
        prepare(entry);
        ::io_uring_sqe_set_data64(entry, kind << 56 | std::uint64_t{id} << 32 | static_cast<std::uint32_t>(fd));
    };
    const auto arm_accept = [&] {
        next(accept, listener, 0,
             [&](io_uring_sqe* e) { ::io_uring_prep_multishot_accept(e, listener, nullptr, nullptr, 0); });
    };
    std::vector<std::array<char, buffer_bytes>> own(how == Receives::provided ? 0 : 4096); // by descriptor
    const auto give_back = [&](unsigned id) {
        ::io_uring_buf_ring_add(provided, memory_of(id), bytes, static_cast<unsigned short>(id), mask, 0);
        ::io_uring_buf_ring_advance(provided, 1);
    };
    const auto arm_receive = [&](int fd) {
        next(receive, fd, 0, [&](io_uring_sqe* e) {
            if (!multishot) {
                ::io_uring_prep_recv(e, fd, own.at(static_cast<std::size_t>(fd)).data(), buffer_bytes, 0);
                e->ioprio |= IORING_RECVSEND_POLL_FIRST; // it has just been emptied
                return;
            }
            ::io_uring_prep_recv_multishot(e, fd, nullptr, 0, 0);
            e->flags |= IOSQE_BUFFER_SELECT;
            e->buf_group = 0;
        });
    };
    arm_accept();
    for (;;) {
        ::io_uring_submit_and_wait(&ring, 1);
        unsigned head = 0, n = 0;
        io_uring_cqe* entry = nullptr;
        io_uring_for_each_cqe(&ring, head, entry) {
            ++n;
            const int fd = static_cast<int>(static_cast<std::uint32_t>(entry->user_data));
            const bool more = (entry->flags & IORING_CQE_F_MORE) != 0;
            switch (entry->user_data >> 56) {
            case accept:
                if (entry->res >= 0) arm_receive(entry->res);
                if (!more) arm_accept();
                break;
            case receive:
                if (entry->res > 0 && how != Receives::provided) {
                    const auto length = static_cast<std::size_t>(entry->res);
                    char* const from = own[static_cast<std::size_t>(fd)].data();
                    if (multishot) {
                        const unsigned id = entry->flags >> IORING_CQE_BUFFER_SHIFT;
                        std::memcpy(from, memory_of(id), length);
                        give_back(id);
                        if (!more) arm_receive(fd);
                    }
                    next(send, fd, 0, [&](io_uring_sqe* e) { ::io_uring_prep_send(e, fd, from, length, 0); });
                } else if (entry->res > 0) {
                    const unsigned id = entry->flags >> IORING_CQE_BUFFER_SHIFT;
                    const auto length = static_cast<std::size_t>(entry->res);
                    next(send, fd, id, [&](io_uring_sqe* e) { ::io_uring_prep_send(e, fd, memory_of(id), length, 0); });
                    if (!more) arm_receive(fd);
                } else if (entry->res == -ENOBUFS) {
                    arm_receive(fd);
                } else {
                    ::close(fd);
                }
                break;
            default:
                if (how == Receives::single) arm_receive(fd);
                if (how == Receives::provided) give_back(static_cast<unsigned>(entry->user_data >> 32) & 0xffffff);
            }
        }
        ::io_uring_cq_advance(&ring, n);
    }
}

// ---- sennit

sennit::asyncio::Coro<void> sennit_session(sennit::os::Fd fd) {
    char buffer[buffer_bytes];
    try {
        for (;;) {
            const std::size_t n = co_await sennit::loop::sock_recv_into(fd.get(), buffer, sizeof buffer);
            if (n == 0) break;
            co_await sennit::loop::sock_sendall(fd.get(), buffer, n);
        }
    } catch (const sennit::OSError&) {}
}
sennit::asyncio::Coro<void> sennit_server() {
    const sennit::os::Fd listener(listen_anywhere(true));
    for (;;) {
        sennit::os::Fd fd = co_await sennit::loop::sock_accept(listener.get());
        sennit::asyncio::create_task(sennit_session(std::move(fd)));
    }
}
void serve_sennit(const char* poller) {
    ::setenv("SENNIT_POLLER", poller, 1);
    sennit::asyncio::run(sennit_server());
}

// ---- the others

namespace asio = boost::asio;
using asio::ip::tcp;

asio::awaitable<void> asio_session(tcp::socket socket) {
    try {
        for (char buffer[buffer_bytes];;) {
            const std::size_t n = co_await socket.async_read_some(asio::buffer(buffer), asio::use_awaitable);
            co_await asio::async_write(socket, asio::buffer(buffer, n), asio::use_awaitable);
        }
    } catch (const std::exception&) {}
}
asio::awaitable<void> asio_accept(tcp::acceptor acceptor) {
    for (;;) {
        tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
        asio::co_spawn(acceptor.get_executor(), asio_session(std::move(socket)), asio::detached);
    }
}
void serve_asio() {
    asio::io_context io(1);
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    acceptor.listen(backlog);
    tell_port(acceptor.local_endpoint().port());
    asio::co_spawn(io, asio_accept(std::move(acceptor)), asio::detached);
    io.run();
}

struct UvConnection {
    uv_tcp_t tcp;
    uv_write_t write;
    char buffer[buffer_bytes];
};
void serve_libuv() {
    static uv_loop_t* const loop = ::uv_default_loop();
    static uv_tcp_t server;
    ::uv_tcp_init(loop, &server);
    sockaddr_in address;
    ::uv_ip4_addr("127.0.0.1", 0, &address);
    ::uv_tcp_bind(&server, reinterpret_cast<sockaddr*>(&address), 0);
    ::uv_listen(reinterpret_cast<uv_stream_t*>(&server), backlog, [](uv_stream_t* stream, int) {
        auto* const c = new UvConnection;
        ::uv_tcp_init(loop, &c->tcp);
        c->tcp.data = c;
        ::uv_accept(stream, reinterpret_cast<uv_stream_t*>(&c->tcp));
        ::uv_read_start(
            reinterpret_cast<uv_stream_t*>(&c->tcp),
            [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
                *buffer = ::uv_buf_init(static_cast<UvConnection*>(handle->data)->buffer, buffer_bytes);
            },
            [](uv_stream_t* from, ssize_t n, const uv_buf_t*) {
                auto* const connection = static_cast<UvConnection*>(from->data);
                if (n < 0) {
                    ::uv_close(reinterpret_cast<uv_handle_t*>(from),
                               [](uv_handle_t* handle) { delete static_cast<UvConnection*>(handle->data); });
                    return;
                }
                uv_buf_t buffer = ::uv_buf_init(connection->buffer, static_cast<unsigned>(n));
                ::uv_write(&connection->write, from, &buffer, 1, nullptr);
            });
    });
    int size = sizeof address;
    ::uv_tcp_getsockname(&server, reinterpret_cast<sockaddr*>(&address), &size);
    tell_port(ntohs(address.sin_port));
    ::uv_run(loop, UV_RUN_DEFAULT);
}

int serve(const std::string& kind) {
    if (kind == "raw-epoll") serve_raw_epoll();
    if (kind == "raw-io_uring") serve_raw_uring(Receives::provided);
    if (kind == "raw-io_uring-copied") serve_raw_uring(Receives::copied);
    if (kind == "raw-io_uring-single") serve_raw_uring(Receives::single);
    if (kind == "sennit-epoll") serve_sennit("epoll");
    if (kind == "sennit-io_uring") serve_sennit("io_uring");
    if (kind == "asio") serve_asio();
    if (kind == "libuv") serve_libuv();
    return 255;
}

// ---- measuring

/// A server as a child of this process, pinned to the first core; killed when this dies.
class Server {
  public:
    explicit Server(const std::vector<std::string>& command) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) die("pipe2 failed");
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            bench::pin_to_one_of_two(0);
            ::dup2(ends[1], 1);
            std::vector<char*> words;
            for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
            words.push_back(nullptr);
            ::execv(words[0], words.data());
            ::_exit(127);
        }
        ::close(ends[1]);
        FILE* const out = ::fdopen(ends[0], "r");
        if (std::fscanf(out, "%d", &port) != 1) port = 0;
        std::fclose(out);
    }
    ~Server() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    int port = 0; // 0: it did not start

    [[nodiscard]] double cpu_seconds() const {
        const std::string tasks = "/proc/" + std::to_string(pid_) + "/task";
        double sum = 0;
        DIR* const folder = ::opendir(tasks.c_str());
        while (const dirent* entry = folder ? ::readdir(folder) : nullptr) {
            if (entry->d_name[0] == '.') continue;
            if (FILE* const file = std::fopen((tasks + '/' + entry->d_name + "/schedstat").c_str(), "r")) {
                unsigned long long ns = 0;
                if (std::fscanf(file, "%llu", &ns) == 1) sum += static_cast<double>(ns) * 1e-9;
                std::fclose(file);
            }
        }
        if (folder) ::closedir(folder);
        return sum;
    }

  private:
    pid_t pid_ = -1;
};

struct Figures {
    double rate = 0, p99_us = 0, cpu_us = 0;
};

Figures load(const Server& server, int connections) {
    constexpr double warm_up = 0.15, measured = 0.5;
    struct Connection {
        int fd = -1, got = 0;
        double sent = 0;
    };
    std::vector<Connection> all(static_cast<std::size_t>(connections));
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    char out[message_bytes], in[message_bytes];
    std::memset(out, 'x', sizeof out);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(server.port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (Connection& c : all) {
        c.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (::connect(c.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            die("cannot connect to the server");
        const int one = 1;
        ::setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        ::fcntl(c.fd, F_SETFL, O_NONBLOCK);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &c;
        ::epoll_ctl(epoll, EPOLL_CTL_ADD, c.fd, &event);
    }
    const auto send = [&](Connection& c, double now) {
        c.got = 0;
        c.sent = now;
        if (::write(c.fd, out, sizeof out) != sizeof out) die("cannot send to the server");
    };
    std::vector<std::uint32_t> tenths_of_us(1 << 20);
    double now = seconds(), began = 0, cpu = 0;
    const double start = now + warm_up;
    double stop = start + measured;
    std::uint64_t count = 0;
    for (Connection& c : all) send(c, now);
    std::array<epoll_event, 256> events;
    while (now < stop) {
        const int n = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 2000);
        if (n <= 0) die("the server does not answer");
        now = seconds();
        if (began == 0 && now >= start) {
            cpu = server.cpu_seconds();
            began = now = seconds();
            stop = began + measured;
        }
        for (int i = 0; i < n; ++i) {
            Connection& c = *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
            const ssize_t got = ::read(c.fd, in, sizeof in - static_cast<std::size_t>(c.got));
            if (got <= 0) die("the server has closed a connection");
            if ((c.got += static_cast<int>(got)) < message_bytes) continue;
            const double at = seconds();
            if (began > 0) {
                ++count;
                ++tenths_of_us[std::min(tenths_of_us.size() - 1, static_cast<std::size_t>((at - c.sent) * 1e7))];
            }
            send(c, at);
        }
    }
    Figures f;
    f.rate = static_cast<double>(count) / (now - began);
    f.cpu_us = (server.cpu_seconds() - cpu) * 1e6 / static_cast<double>(count);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < tenths_of_us.size(); ++i)
        if ((seen += tenths_of_us[i]) > count * 99 / 100) {
            f.p99_us = static_cast<double>(i) / 10;
            break;
        }
    for (const Connection& c : all) ::close(c.fd);
    ::close(epoll);
    return f;
}

bool is_there(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

} // namespace

int main(int argc, char** argv) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 3 && std::strcmp(argv[1], "--serve") == 0) return serve(argv[2]);

    bench::pin_to_one_of_two(1);
    const std::string self = "/proc/self/exe";
    const char* const build = std::getenv("BENCH_BUILD");
    const std::string go = std::string(build ? build : ".") + "/bin/benchmarks/go-peers", python = "/usr/bin/python3";
    struct Contender {
        std::string name;
        std::vector<std::string> command;
    };
    std::vector<Contender> contenders{
        {"raw epoll (limit)", {self, "--serve", "raw-epoll"}},
        {"raw io_uring, multishot", {self, "--serve", "raw-io_uring"}},
        {"raw io_uring, multishot, copied", {self, "--serve", "raw-io_uring-copied"}},
        {"raw io_uring, single receives", {self, "--serve", "raw-io_uring-single"}},
        {"sennit coroutines on epoll", {self, "--serve", "sennit-epoll"}},
        {"sennit coroutines on io_uring", {self, "--serve", "sennit-io_uring"}},
        {"Asio awaitables", {self, "--serve", "asio"}},
        {"libuv", {self, "--serve", "libuv"}},
    };
    if (is_there(go)) contenders.push_back({"Go net", {go, "serve-echo"}});
    if (std::system("/usr/bin/python3 -c 'import uvloop' 2> /dev/null") == 0)
        contenders.push_back({"uvloop streams", {python, UVLOOP_SERVER, "streams"}});

    bench::Board board;
    for (const int connections : {1, 64, 1000}) {
        const std::string in_case = std::to_string(connections) + (connections == 1 ? " connection" : " connections");
        for (const Contender& c : contenders)
            board.add(in_case, c.name, "requests/s", [&board, in_case, c, connections] {
                const Server server(c.command);
                if (server.port == 0) die(("cannot start " + c.name).c_str());
                const Figures f = load(server, connections);
                board.also(in_case + ", server CPU", c.name, f.cpu_us, "us/request");
                board.also(in_case + ", p99", c.name, f.p99_us, "us");
                return f.rate;
            });
    }
    return board.run(argc, argv);
}
