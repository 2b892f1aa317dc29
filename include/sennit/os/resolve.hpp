#pragma once

#include <sennit/base/errors.hpp>
#include <sennit/os/address.hpp>

#include <string>
#include <utility>
#include <vector>

namespace sennit::os {

/// A name could not be looked up.      Python: socket.gaierror
class ResolveError : public Error {
  public:
    ResolveError(int code, const std::string& what) : Error(what), code_(code) {}
    /// EAI_NONAME, EAI_AGAIN, ...
    [[nodiscard]] int code() const noexcept { return code_; }

  private:
    int code_;
};

/// What getaddrinfo gives for a stream socket, in its order (RFC 6724). An empty host: this machine's loopback; with `passive`
/// every interface. Throws ResolveError, OSError, UsageError for a NUL.
/// Blocks    The OS thread, maybe for many seconds.
std::vector<SocketAddress> resolve(const std::string& host, const std::string& service, int family, int type,
                                   int flags);

/// Host and service of an address (getnameinfo). Blocks: as above.
std::pair<std::string, std::string> resolve_name(const SocketAddress& address, int flags);

} // namespace sennit::os
