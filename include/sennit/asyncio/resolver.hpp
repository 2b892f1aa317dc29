#pragma once

#include <sennit/asyncio/coro.hpp>
#include <sennit/os/address.hpp>
#include <sennit/os/resolve.hpp>

#include <string>
#include <utility>
#include <vector>

namespace sennit::asyncio {

using os::ResolveError;

struct AddrInfoOptions {
    int family = AF_UNSPEC;
    int type = SOCK_STREAM;
    int flags = 0; // AI_...
};

/// The addresses of a host, best first (RFC 6724). A number is no look-up; a name is looked up on a helper thread of the loop,
/// so that the loop goes on.      Python: loop.getaddrinfo
///
/// Cancel    At once; the helper thread goes on, and what it finds is dropped.
/// Errors    ResolveError when there is no such host; UsageError for a port that is none.
Coro<std::vector<os::SocketAddress>> getaddrinfo(std::string host, int port, const AddrInfoOptions& options = {});

/// The names of an address and its port (flags: NI_...), by a helper thread.      Python: loop.getnameinfo
Coro<std::pair<std::string, std::string>> getnameinfo(os::SocketAddress address, int flags = 0);

} // namespace sennit::asyncio
