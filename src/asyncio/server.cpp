// Each listening socket has an accept in flight while the server serves: one for all connections where the poller has that, else one for
// the next. A connection is a task; the server has a list of their
// streams, weakly, for close_clients(), and counts the tasks, for wait_closed().
#include <sennit/asyncio/server.hpp>

#include "stream_core.hpp"
#include <sennit/asyncio/resolver.hpp>
#include <sennit/asyncio/task.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/os/socket_setup.hpp>
#include <sennit/sync/event.hpp>

#include <algorithm>
#include <cerrno>
#include <netdb.h>
#include <netinet/tcp.h>
#include <unordered_map>

namespace sennit::asyncio {
namespace {
constexpr std::chrono::seconds rest{1}; // after descriptors ran out; Python: ACCEPT_RETRY_DELAY
}

class ServerCore final : public loop::Resource, public std::enable_shared_from_this<ServerCore> {
  public:
    ServerCore(std::shared_ptr<detail::ConnectionHandler> handler, const ServerOptions& o)
        : handler_(std::move(handler)),
          loop_(loop::EventLoop::running()),
          tls_(o.ssl.get()),
          handshake_ns_(o.ssl_handshake_timeout.count()),
          limit_(o.limit),
          backlog_(o.backlog) {
        if (tls_ && tls_->side() != TlsContext::Side::server)
            throw UsageError("start_server: a client's context can't serve; make one with PROTOCOL_TLS_SERVER");
        loop_.add_resource(*this);
    }
    ~ServerCore() { loop::EventLoop::remove_resource(*this); }

    void add_socket(os::Fd fd) {
        sockets_.push_back(std::make_unique<Listening>(*this, std::move(fd)));
        addresses_.push_back(os::local_address(sockets_.back()->fd.get()));
    }
    void own_file(const std::string& path) {
        path_ = path;
        file_ = os::file_identity(path);
    }
    void start_serving() {
        if (closed_) throw UsageError("start_serving: the server is closed; start a new one");
        if (serving_) return;
        for (const auto& one : sockets_)
            if (const int e = os::listen_socket(one->fd.get(), backlog_); e < 0)
                throw OSError(-e, "cannot listen on " + os::local_address(one->fd.get()).to_string());
        serving_ = true;
        for (const auto& one : sockets_) accept(*one);
    }
    void close() noexcept {
        if (closed_) return;
        closed_ = true;
        serving_ = false;
        if (!path_.empty() && os::file_identity(path_) == file_) os::remove_socket_file(path_);
        for (auto& one : sockets_) {
            loop_.disarm(*one);
            if (one->accepting.in_flight()) {
                loop_.cancel(one->accepting); // its done() closes the socket
            } else {
                one->close();
            }
        }
        ended_if_so();
    }
    void loop_closes() noexcept override { close(); }
    template <class F>
    void for_clients(F f) {
        std::vector<std::shared_ptr<StreamCore>> now;
        for (const auto& [address, weak] : clients_)
            if (auto core = weak.lock()) now.push_back(std::move(core));
        for (const auto& core : now) f(*core);
    }

    [[nodiscard]] bool serving() const noexcept { return serving_; }
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] std::size_t connections() const noexcept { return connections_; }
    [[nodiscard]] const std::vector<os::SocketAddress>& addresses() const noexcept { return addresses_; }
    sync::Event ended;   // closed, and no connections
    sync::Event stopped; // closed

  private:
    struct Listening : loop::Timer {
        Listening(ServerCore& s, os::Fd f) noexcept
            : Timer([](Timer& t) noexcept {
                  auto& me = static_cast<Listening&>(t);
                  me.server.accept(me);
              }),
              server(s),
              fd(std::move(f)),
              accepting(*this) {}
        struct Accepting : loop::RepeatedOperation {
            explicit Accepting(Listening& l) noexcept
                : RepeatedOperation(
                      l.server.loop_.poller().repeats(Kind::accept_each) ? Kind::accept_each : Kind::accept, l.fd.get(),
                      [](RepeatedOperation& op, std::int32_t result) noexcept {
                          os::Fd fd(result);
                          auto& me = static_cast<Accepting&>(op);
                          try {
                              me.arrived_fds.push_back(std::move(fd));
                          } catch (...) { // no memory: that client finds its connection closed
                              me.no_memory = true;
                          }
                      },
                      [](Operation& op) noexcept {
                          Listening& me = static_cast<Accepting&>(op).listening;
                          const auto alive = op.in_flight() ? me.kept : std::move(me.kept);
                          me.server.accepted(me);
                      }),
                  listening(l) {}
            Listening& listening;
            std::vector<os::Fd> arrived_fds; // of accept_each
            bool no_memory = false;
        };
        void close() noexcept {
            if (fd) server.loop_.poller().forget(fd.get());
            fd.reset();
        }
        ServerCore& server;
        os::Fd fd;
        Accepting accepting;
        std::shared_ptr<ServerCore> kept; // while in flight
    };

    void accept(Listening& l) noexcept {
        if (!serving_) return;
        l.kept = shared_from_this();
        loop_.start(l.accepting);
    }

    void accepted(Listening& l) noexcept {
        Listening::Accepting& op = l.accepting;
        const bool goes_on = op.in_flight();
        if (op.kind == loop::OperationKind::accept_each) {
            std::vector<os::Fd> all;
            all.swap(op.arrived_fds);
            for (os::Fd& fd : all)
                if (!closed_) welcome(std::move(fd));
            if (std::exchange(op.no_memory, false) && !closed_) complain_of(ENOMEM);
            all.clear();
            if (all.capacity() <= 64 && op.arrived_fds.empty()) op.arrived_fds.swap(all);
        } else if (op.result >= 0) {
            os::Fd fd(op.result);
            if (!closed_) welcome(std::move(fd));
        }
        if (goes_on) return;
        if (closed_) {
            l.close();
            return ended_if_so();
        }
        const int error = op.result < 0 ? -op.result : 0;
        if (error == EINVAL && op.kind == loop::OperationKind::accept_each) {
            op.kind = loop::OperationKind::accept; // this kernel can't: one by one
        } else if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            complain_of(error);
            loop_.arm(l, Deadline(rest));
            return;
        } else if (error == EBADF || error == EINVAL || error == ENOTSOCK || error == ECANCELED) {
            complain("a server lost its socket", std::make_exception_ptr(OSError(error, "accept")));
            return close();
        } // else: that connection broke before it was taken
        accept(l);
    }
    void welcome(os::Fd fd) noexcept {
        try {
            connect(std::move(fd));
        } catch (...) {
            complain("a connection could not be served", std::current_exception());
        }
    }
    void complain(const char* text, const std::exception_ptr& error) noexcept {
        try {
            loop_.call_exception_handler({text, error, "Server"});
        } catch (...) {} // no memory even to say so
    }
    void complain_of(int error) noexcept {
        complain("a server can take no more connections for now: descriptors or memory have run out (see ulimit -n); "
                 "it tries again every second",
                 std::make_exception_ptr(OSError(error, "accept")));
    }

    void connect(os::Fd fd) {
        const os::SocketAddress peer = os::peer_address(fd.get());
        if (peer.family() != AF_UNIX) os::set_socket_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
        const std::string text = peer.to_string();
        auto core = StreamCore::make(std::move(fd), StreamCore::Kind::socket, limit_,
                                     text.empty() ? "the connection of a client" : "the connection from " + text);
        clients_.emplace(core.get(), core);
        ++connections_;
        try {
            create_task(serve(shared_from_this(), core));
        } catch (...) {
            gone(core.get());
            throw;
        }
    }

    static Coro<void> serve(std::shared_ptr<ServerCore> self, std::shared_ptr<StreamCore> core) {
        struct Leave {
            ServerCore& server;
            StreamCore* core;
            ~Leave() { server.gone(core); }
        };
        const Leave leave{*self, core.get()};
        std::exception_ptr error;
        const char* what = "the handler of a connection threw";
        try {
            StreamReader reader(core);
            StreamWriter writer(core);
            if (self->tls_) {
                what = nullptr; // any client can make it fail
                co_await writer.start_tls(self->tls_, {}, std::chrono::nanoseconds(self->handshake_ns_));
                what = "the handler of a connection threw";
            }
            co_await self->handler_->serve(std::move(reader), std::move(writer));
        } catch (const CancelledError&) {
            throw;
        } catch (...) {
            error = std::current_exception();
        }
        if (error) {
            if (!what && self->loop_.get_debug()) what = "a client's TLS handshake failed";
            if (what) self->loop_.call_exception_handler({what, error, core->what()});
            error = nullptr;
        }
        try { // it counts until it is closed: the handler may have given its writer to somebody
            co_await sync::Awaitable<detail::WriteOp>(forever, core, detail::WriteOp::What::closed);
        } catch (const CancelledError&) {
            throw;
        } catch (...) { // how it ended is the handler's affair
        }
    }

    void gone(StreamCore* core) noexcept {
        clients_.erase(core);
        --connections_;
        ended_if_so();
    }
    void ended_if_so() noexcept {
        if (!closed_) return;
        stopped.set();
        bool listening = false; // an accept that is cancelled keeps its socket for a moment
        for (const auto& one : sockets_) listening = listening || one->fd;
        if (connections_ == 0 && !listening) ended.set();
    }

    std::shared_ptr<detail::ConnectionHandler> handler_;
    loop::EventLoop& loop_;
    std::shared_ptr<const TlsContext> tls_;
    std::int64_t handshake_ns_;
    std::size_t limit_;
    int backlog_;
    bool serving_ = false;
    bool closed_ = false;
    std::vector<std::unique_ptr<Listening>> sockets_;
    std::vector<os::SocketAddress> addresses_;
    std::string path_; // of a Unix socket
    std::pair<unsigned long, unsigned long> file_;
    std::unordered_map<StreamCore*, std::weak_ptr<StreamCore>> clients_;
    std::size_t connections_ = 0;
};

// ---- listening

namespace detail {
namespace {

struct Wanted { // ServerOptions without what has been used
    int family;
    bool reuse_port;
    bool start_serving;
};

os::Fd bound(const os::SocketAddress& address, bool reuse_port) {
    const int made = os::open_socket(address.family(), SOCK_STREAM);
    if (made < 0) throw OSError(-made, "start_server: cannot make a socket for " + address.to_string());
    os::Fd fd(made);
    if (address.family() != AF_UNIX) os::set_socket_option(made, SOL_SOCKET, SO_REUSEADDR, 1);
    if (address.family() == AF_INET6) os::set_socket_option(made, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (reuse_port) {
        if (const int e = os::set_socket_option(made, SOL_SOCKET, SO_REUSEPORT, 1); e < 0)
            throw OSError(-e, "start_server: .reuse_port is not to be had");
    }
    if (const int e = os::bind_socket(made, address); e < 0)
        throw OSError(-e, "start_server: cannot bind to " + address.to_string() +
                              (e == -EADDRINUSE ? ", which another server has; port 0 takes a free one" : ""));
    return fd;
}

Coro<std::shared_ptr<ServerCore>> listen_on(std::shared_ptr<ServerCore> core, std::string host, int port, Wanted o) {
    AddrInfoOptions what;
    what.family = o.family;
    what.flags = host.empty() ? 0 : AI_PASSIVE;
    auto addresses = co_await getaddrinfo(std::move(host), port, what);
    std::exception_ptr refused;
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        os::SocketAddress address = addresses[i];
        // One free port for all addresses of a name.
        if (port == 0 && !core->addresses().empty())
            if (const auto same =
                    os::SocketAddress::numeric(address.host(), static_cast<std::uint16_t>(core->addresses()[0].port())))
                address = *same;
        try {
            core->add_socket(bound(address, o.reuse_port));
        } catch (const OSError& e) {
            // A machine without IPv6 still resolves localhost to ::1.
            if (e.code() != EADDRNOTAVAIL && e.code() != EAFNOSUPPORT) throw;
            refused = std::current_exception();
        }
    }
    if (core->addresses().empty()) std::rethrow_exception(refused);
    if (o.start_serving) core->start_serving();
    co_return core;
}

} // namespace

Coro<std::shared_ptr<ServerCore>> listen(std::shared_ptr<ConnectionHandler> handler, std::string host, int port,
                                         const ServerOptions& o) {
    const Wanted wanted{o.family, o.reuse_port, o.start_serving};
    return listen_on(std::make_shared<ServerCore>(std::move(handler), o), std::move(host), port, wanted);
}

std::shared_ptr<ServerCore> listen_unix(std::shared_ptr<ConnectionHandler> handler, const std::string& path,
                                        const ServerOptions& o) {
    const auto address = os::SocketAddress::unix_path(path);
    auto core = std::make_shared<ServerCore>(std::move(handler), o);
    const int made = os::open_socket(AF_UNIX, SOCK_STREAM);
    if (made < 0) throw OSError(-made, "start_unix_server: cannot make a socket");
    os::Fd fd(made);
    os::set_socket_mode(made, o.mode); // before bind: the file never is anybody else's
    if (const int e = os::remove_socket_file(path); e < 0)
        throw OSError(e == -ENOTSOCK ? EEXIST : -e, "start_unix_server: cannot take the place of '" + path + "'" +
                                                        (e == -ENOTSOCK ? ", which is no socket" : ""));
    if (const int e = os::bind_socket(made, address); e < 0)
        throw OSError(-e, "start_unix_server: cannot bind to '" + path + "'");
    core->add_socket(std::move(fd));
    core->own_file(path);
    if (o.start_serving) core->start_serving();
    return core;
}

Server server_of(std::shared_ptr<ServerCore> core) { return Server(std::move(core)); }

Coro<Server> start(Coro<std::shared_ptr<ServerCore>> listening) { co_return Server(co_await std::move(listening)); }

} // namespace detail

// ---- the face

Server::Server(std::shared_ptr<ServerCore> core) noexcept {
    ServerCore* const it = core.get();
    // The last handle closes; operations and connections keep the core itself. (Throws bad_alloc: then it is closed.)
    core_ = std::shared_ptr<ServerCore>(it, [kept = std::move(core)](ServerCore* c) { c->close(); });
}

ServerCore& Server::core(const char* call) const {
    if (!core_) throw UsageError(std::string(call) + ": this server was moved from, or never started");
    return *core_;
}

std::vector<os::SocketAddress> Server::sockets() const {
    const ServerCore& c = core("sockets");
    return c.closed() ? std::vector<os::SocketAddress>() : c.addresses();
}
int Server::port() const { return core("port").addresses().at(0).port(); }
bool Server::is_serving() const noexcept { return core_ && core_->serving(); }
void Server::start_serving() { core("start_serving").start_serving(); }
void Server::close() { core("close").close(); }
std::size_t Server::connections() const noexcept { return core_ ? core_->connections() : 0; }

void Server::close_clients() {
    core("close_clients").for_clients([](StreamCore& c) { c.close(); });
}
void Server::abort_clients() {
    core("abort_clients").for_clients([](StreamCore& c) { c.abort(); });
}

namespace {

Coro<void> serve_until_closed(Server /*kept*/, ServerCore& core) {
    core.start_serving();
    struct Close {
        ServerCore& core;
        ~Close() { core.close(); }
    };
    const Close close{core};
    co_await core.stopped.async_wait();
}

Coro<void> until_ended(Server /*kept*/, ServerCore& core) { co_await core.ended.async_wait(); }

} // namespace

Coro<void> Server::serve_forever() { return serve_until_closed(*this, core("serve_forever")); }
Coro<void> Server::wait_closed() { return until_ended(*this, core("wait_closed")); }

} // namespace sennit::asyncio
