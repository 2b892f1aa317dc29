#include <sennit/os/resolve.hpp>

#include <cerrno>
#include <memory>
#include <netdb.h>

namespace sennit::os {
namespace {

[[noreturn]] void throw_error(int code, const std::string& what) {
    const int error = errno;
    if (code == EAI_SYSTEM) throw OSError(error, what);
    std::string advice;
    if (code == EAI_NONAME) advice = "; is it spelled right?";
    if (code == EAI_AGAIN) advice = "; the name server did not answer: try again later";
    throw ResolveError(code, what + ": " + ::gai_strerror(code) + advice);
}

} // namespace

std::vector<SocketAddress> resolve(const std::string& host, const std::string& service, int family, int type,
                                   int flags) {
    if (host.find('\0') != std::string::npos || service.find('\0') != std::string::npos)
        throw UsageError("a NUL byte in the host's name '" + std::string(host.c_str()) + "...'");
    addrinfo hints{};
    hints.ai_family = family;
    hints.ai_socktype = type;
    hints.ai_flags = flags;
    addrinfo* list = nullptr;
    const int code = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.empty() ? nullptr : service.c_str(),
                                   &hints, &list);
    if (code != 0)
        throw_error(code, "cannot look up '" + host + "'" + (service.empty() ? "" : " port '" + service + "'"));
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, ::freeaddrinfo);
    std::vector<SocketAddress> result;
    for (const addrinfo* a = list; a; a = a->ai_next) {
        const SocketAddress one(a->ai_addr, a->ai_addrlen);
        bool known = false;
        for (const SocketAddress& other : result) known = known || other == one;
        if (!known) result.push_back(one);
    }
    return result;
}

std::pair<std::string, std::string> resolve_name(const SocketAddress& address, int flags) {
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
    const int code = ::getnameinfo(address.data(), static_cast<socklen_t>(address.size()), host, sizeof host, service,
                                   sizeof service, flags);
    if (code != 0) throw_error(code, "cannot look up the name of " + address.to_string());
    return {host, service};
}

} // namespace sennit::os
