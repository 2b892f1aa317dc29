// An echo server that speaks TLS.      echo_server_tls CERTIFICATE.pem KEY.pem [PORT]
#include <sennit/asyncio/runner.hpp>
#include <sennit/asyncio/server.hpp>
#include <sennit/ssl.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace asyncio = sennit::asyncio;
namespace ssl = sennit::ssl;

asyncio::Coro<> echo(asyncio::StreamReader reader, asyncio::StreamWriter writer) {
    for (std::string some; !(some = co_await reader.read(65536)).empty();) {
        writer.write(some);
        co_await writer.drain();
    }
}

asyncio::Coro<> serve(const ssl::SSLContext& context, int port) {
    asyncio::Server server = co_await asyncio::start_server(echo, "127.0.0.1", port, {.ssl = context});
    std::printf("%d\n", server.port());
    std::fflush(stdout);
    co_await server.serve_forever();
}

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fputs("echo_server_tls CERTIFICATE.pem KEY.pem [PORT]\n", stderr);
        return 2;
    }
    try {
        ssl::SSLContext context(ssl::PROTOCOL_TLS_SERVER);
        context.load_cert_chain(argv[1], argv[2]);
        asyncio::run(serve(context, argc > 3 ? std::atoi(argv[3]) : 0));
    } catch (const std::exception& e) { // Ctrl-C, too
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
