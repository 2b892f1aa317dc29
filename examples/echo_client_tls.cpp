// Sends a line by TLS and prints the answer.      echo_client_tls HOST PORT LINE [FILE OF CERTIFICATES TO TRUST]
#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/runner.hpp>
#include <sennit/ssl.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace asyncio = sennit::asyncio;
namespace ssl = sennit::ssl;

asyncio::Coro<std::string> ask(const ssl::SSLContext& context, std::string host, int port, std::string line) {
    auto [reader, writer] = co_await asyncio::open_connection(host, port, {.ssl = context});
    writer.write(line + "\n");
    std::string answer = co_await reader.readline();
    writer.close();
    co_await writer.wait_closed();
    co_return answer + "by " + writer.get_extra_info("ssl_object");
}

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fputs("echo_client_tls HOST PORT LINE [FILE OF CERTIFICATES TO TRUST]\n", stderr);
        return 2;
    }
    try {
        const ssl::SSLContext context =
            ssl::create_default_context(ssl::Purpose::SERVER_AUTH, {.cafile = argc > 4 ? argv[4] : ""});
        std::printf("%s\n", asyncio::run(ask(context, argv[1], std::atoi(argv[2]), argv[3])).c_str());
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
