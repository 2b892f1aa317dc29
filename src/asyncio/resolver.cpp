#include <sennit/asyncio/resolver.hpp>

#include <sennit/base/errors.hpp>
#include <sennit/loop/event_loop.hpp>
#include <sennit/sync/executor.hpp>

namespace sennit::asyncio {
namespace {

Coro<std::vector<os::SocketAddress>> look_up(std::string host, int port, int family, int type, int flags) {
    if (port < 0 || port > 65535)
        throw UsageError("port " + std::to_string(port) + " of '" + host + "': ports are 0 to 65535");
    if (!host.empty()) {
        if (const auto address = os::SocketAddress::numeric(host, static_cast<std::uint16_t>(port)))
            if (family == AF_UNSPEC || family == address->family())
                co_return std::vector<os::SocketAddress>(1, *address);
    }
    auto future =
        loop::EventLoop::running().run_in_executor(nullptr, [host = std::move(host), port, family, type, flags] {
            return os::resolve(host, std::to_string(port), family, type, flags);
        });
    co_return co_await future;
}

Coro<std::pair<std::string, std::string>> look_up_name(os::SocketAddress address, int flags) {
    auto future = loop::EventLoop::running().run_in_executor(
        nullptr, [address, flags] { return os::resolve_name(address, flags); });
    co_return co_await future;
}

} // namespace

Coro<std::vector<os::SocketAddress>> getaddrinfo(std::string host, int port, const AddrInfoOptions& options) {
    return look_up(std::move(host), port, options.family, options.type, options.flags);
}

Coro<std::pair<std::string, std::string>> getnameinfo(os::SocketAddress address, int flags) {
    return look_up_name(address, flags);
}

} // namespace sennit::asyncio
