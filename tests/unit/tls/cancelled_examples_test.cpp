// The coroutines of the examples that speak TLS, each cancelled at its 1st, 2nd, … suspension.
#include <sennit/asyncio.hpp>
#include <sennit/ssl.hpp>

#include "certificates.hpp"
#include "support/cancel_everywhere.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <gtest/gtest.h>
#include <string>

// Their sources, each in a namespace of its own; what they include is included above.
#define main run_as_a_program
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type" // main may do without a return
namespace echo_server_tls {
#include "../../../examples/echo_server_tls.cpp"
}
namespace echo_client_tls {
#include "../../../examples/echo_client_tls.cpp"
}
#pragma GCC diagnostic pop
#undef main

namespace sennit::asyncio {
namespace {

using testing::cancel_everywhere;

ssl::SSLContext server_context() {
    ssl::SSLContext context(ssl::PROTOCOL_TLS_SERVER);
    context.load_cert_chain(testing::good().certificate_file, testing::good().key_file);
    return context;
}

TEST(CancelledExamples, a_client_and_a_server_that_speak_tls) {
    const ssl::SSLContext server = server_context();
    const ssl::SSLContext client =
        ssl::create_default_context(ssl::Purpose::SERVER_AUTH, {.cafile = testing::ca().certificate_file});
    const int asked = cancel_everywhere([&]() -> Coro<> {
        Server echo = co_await start_server(echo_server_tls::echo, "127.0.0.1", 0, {.ssl = server});
        const std::string answer = co_await echo_client_tls::ask(client, "127.0.0.1", echo.port(), "hello");
        EXPECT_TRUE(answer.starts_with("hello\nby TLS")) << answer;
    });
    EXPECT_GE(asked, 3);
}

TEST(CancelledExamples, a_tls_server_that_serves_for_ever) {
    const ssl::SSLContext server = server_context();
    const int served = cancel_everywhere([&]() -> Coro<> {
        Task<> serving = create_task(echo_server_tls::serve(server, 0));
        co_await sleep(std::chrono::milliseconds(1));
        serving.cancel();
        co_await serving.async_join();
    });
    EXPECT_GE(served, 2);
}

} // namespace
} // namespace sennit::asyncio
