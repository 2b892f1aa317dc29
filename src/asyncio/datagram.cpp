#include <sennit/asyncio/datagram.hpp>

#include <sennit/asyncio/resolver.hpp>
#include <sennit/base/errors.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/loop/socket_io.hpp>
#include <sennit/os/fd.hpp>
#include <sennit/os/socket_setup.hpp>

namespace sennit::asyncio {

class DatagramCore final : public loop::Resource {
  public:
    explicit DatagramCore(os::Fd f) : fd(std::move(f)), loop_(loop::EventLoop::running()) { loop_.add_resource(*this); }
    ~DatagramCore() { close(); }
    void close() noexcept {
        if (!fd) return;
        loop::EventLoop::remove_resource(*this);
        loop_.poller().forget(fd.get());
        fd.reset();
    }
    void loop_closes() noexcept override { close(); }
    os::Fd fd;

  private:
    loop::EventLoop& loop_;
};

namespace {

constexpr std::size_t longest = 65'535;

struct Options {
    std::string local_host, remote_host;
    int local_port, remote_port, family;
    bool reuse_port, allow_broadcast;
};

void must(int result, const std::string& what) {
    if (result < 0) throw OSError(-result, "create_datagram_endpoint: " + what);
}

Coro<DatagramEndpoint> make(Options o) {
    const bool local = !o.local_host.empty() || o.local_port != 0;
    const bool remote = !o.remote_host.empty();
    AddrInfoOptions what;
    what.type = SOCK_DGRAM;
    what.family = o.family;
    os::SocketAddress to;
    if (remote) {
        auto found = co_await getaddrinfo(o.remote_host, o.remote_port, what);
        to = found.at(0);
        what.family = to.family();
    }
    os::SocketAddress from;
    if (local) {
        auto found = co_await getaddrinfo(o.local_host, o.local_port, what);
        from = found.at(0);
    }
    const int family = remote ? to.family() : local ? from.family() : o.family != 0 ? o.family : AF_INET;
    const int made = os::open_socket(family, SOCK_DGRAM);
    must(made, "cannot make a socket");
    os::Fd fd(made);
    if (o.reuse_port) must(os::set_socket_option(made, SOL_SOCKET, SO_REUSEPORT, 1), ".reuse_port is not to be had");
    if (o.allow_broadcast) must(os::set_socket_option(made, SOL_SOCKET, SO_BROADCAST, 1), "broadcast is not to be had");
    if (local) must(os::bind_socket(made, from), "cannot bind to " + from.to_string());
    DatagramEndpoint endpoint(std::make_shared<DatagramCore>(std::move(fd)));
    if (remote) co_await loop::sock_connect(made, to);
    co_return std::move(endpoint);
}

int open_fd(const DatagramCore& core) {
    if (!core.fd) throw InvalidStateError("the datagram endpoint is closed");
    return core.fd.get();
}

Coro<std::pair<std::string, os::SocketAddress>> receive(std::shared_ptr<DatagramCore> core, Deadline deadline) {
    std::string buffer(longest, '\0');
    const loop::Datagram got = co_await loop::sock_recvfrom(open_fd(*core), buffer.data(), buffer.size(), deadline);
    buffer.resize(got.bytes);
    co_return std::pair(std::string(buffer), // without the room for the longest
                        os::SocketAddress(reinterpret_cast<const sockaddr*>(&got.address), got.address_bytes));
}

Coro<void> send(std::shared_ptr<DatagramCore> core, std::string data, os::SocketAddress to, Deadline deadline) {
    const bool connected = to.family() == AF_UNSPEC;
    co_await loop::sock_sendto(open_fd(*core), data.data(), data.size(), connected ? nullptr : to.data(),
                               connected ? 0 : to.size(), deadline);
}

} // namespace

DatagramEndpoint::DatagramEndpoint(std::shared_ptr<DatagramCore> core) noexcept : core_(std::move(core)) {}
DatagramEndpoint::~DatagramEndpoint() { close(); }
DatagramEndpoint& DatagramEndpoint::operator=(DatagramEndpoint&& other) noexcept {
    if (this != &other) {
        close();
        core_ = std::move(other.core_);
    }
    return *this;
}
const std::shared_ptr<DatagramCore>& DatagramEndpoint::core(const char* call) const {
    if (!core_) throw UsageError(std::string(call) + ": this endpoint was moved from, or never made");
    return core_;
}
Coro<std::pair<std::string, os::SocketAddress>> DatagramEndpoint::recvfrom(Deadline deadline) {
    return receive(core("recvfrom"), deadline);
}
Coro<void> DatagramEndpoint::sendto(std::string data, os::SocketAddress to, Deadline deadline) {
    return send(core("sendto"), std::move(data), to, deadline);
}
void DatagramEndpoint::close() noexcept {
    if (core_) core_->close();
}
bool DatagramEndpoint::is_closing() const noexcept { return !core_ || !core_->fd; }
os::SocketAddress DatagramEndpoint::sockname() const { return os::local_address(open_fd(*core("sockname"))); }
os::SocketAddress DatagramEndpoint::peername() const { return os::peer_address(open_fd(*core("peername"))); }
int DatagramEndpoint::fileno() const noexcept { return core_ ? core_->fd.get() : -1; }

Coro<DatagramEndpoint> create_datagram_endpoint(const DatagramOptions& o) {
    return make(Options{std::string(o.local_host), std::string(o.remote_host), o.local_port, o.remote_port, o.family,
                        o.reuse_port, o.allow_broadcast});
}

} // namespace sennit::asyncio
