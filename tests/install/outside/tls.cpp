// A user's program that needs sennit::tls.
#include <sennit/ssl.hpp>

#include <cstdio>

int main() {
    const auto context = sennit::ssl::create_default_context();
    std::printf("checks the host: %s\n", context.check_hostname() ? "yes" : "no");
    return context.check_hostname() ? 0 : 1;
}
