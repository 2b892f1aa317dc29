// TLS on streams: clients and servers of this library, and OpenSSL's own.
#include "certificates.hpp"
#include "support/cancel_everywhere.hpp"
#include "support/on_both_pollers.hpp"
#include "support/virtual_clock.hpp"

#include <sennit/asyncio/connection.hpp>
#include <sennit/asyncio/process.hpp>
#include <sennit/asyncio/server.hpp>
#include <sennit/os/socket_setup.hpp>
#include <sennit/ssl.hpp>
#include <sennit/sync/event.hpp>

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace sennit::asyncio {
namespace {

using namespace std::chrono_literals;
using ssl::SSLContext;
using testing::cancel_everywhere;
using ::testing::HasSubstr;
using testing::on_both_pollers;
using testing::TestCertificate;

SSLContext server_with(const TestCertificate& certificate) {
    SSLContext context(ssl::PROTOCOL_TLS_SERVER);
    context.load_cert_chain(certificate.certificate_file, certificate.key_file);
    return context;
}

SSLContext client_that_trusts_the_ca() {
    SSLContext context(ssl::PROTOCOL_TLS_CLIENT);
    context.load_verify_locations(testing::ca().certificate_file);
    return context;
}

Coro<> echo(StreamReader reader, StreamWriter writer) {
    for (std::string some; !(some = co_await reader.read(65536)).empty();) {
        writer.write(some);
        co_await writer.drain();
    }
}

TEST(TlsStream, much_goes_both_ways_and_the_farewell_is_exchanged) {
    const SSLContext server_context = server_with(testing::good());
    const SSLContext client_context = client_that_trusts_the_ca();
    on_both_pollers([&]() -> Coro<> {
        Server server = co_await start_server(echo, "127.0.0.1", 0, {.ssl = server_context});
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port(), {.ssl = client_context});
        EXPECT_EQ(writer.get_extra_info("ssl_object"), "TLSv1.3");
        EXPECT_THAT(writer.get_extra_info("cipher"), HasSubstr("TLS_"));
        EXPECT_EQ(writer.get_extra_info("peercert"), testing::good().certificate);
        EXPECT_FALSE(writer.can_write_eof());
        EXPECT_THROW(writer.write_eof(), UsageError);
        const std::string much(3'000'000, 't');
        auto sending = create_task(
            [](StreamWriter& w, const std::string& text) -> Coro<> {
                for (std::size_t i = 0; i < text.size(); i += 100'000) {
                    w.write(std::string_view(text).substr(i, 100'000));
                    co_await w.drain();
                }
            },
            std::ref(writer), std::cref(much));
        EXPECT_TRUE(co_await reader.readexactly(much.size()) == much);
        co_await sending;
        writer.write("line\nrest");
        EXPECT_EQ(co_await reader.readline(), "line\n");
        EXPECT_EQ(co_await reader.readexactly(4), "rest");
        writer.close();
        co_await writer.wait_closed(); // the other side has said farewell, too: no error
        server.close();
        co_await server.wait_closed();
    });
}

TEST(TlsStream, a_client_refuses_expired_self_signed_and_wrong_host_certificates) {
    const SSLContext client_context = client_that_trusts_the_ca();
    on_both_pollers([&]() -> Coro<> {
        struct Case {
            const TestCertificate& certificate;
            int code;
        };
        const Case cases[] = {{testing::expired(), 10}, {testing::self_signed(), 18}, {testing::wrong_host(), 62}};
        for (const Case& one : cases) {
            const SSLContext server_context = server_with(one.certificate);
            Server server = co_await start_server(echo, "127.0.0.1", 0, {.ssl = server_context});
            int code = 0;
            try {
                co_await open_connection("127.0.0.1", server.port(),
                                         {.ssl = client_context, .server_hostname = "localhost"});
            } catch (const ssl::SSLCertVerificationError& e) {
                code = e.verify_code();
            }
            EXPECT_EQ(code, one.code);
            server.close();
            co_await server.wait_closed(); // told by an alert, it has let go
        }
    });
}

TEST(TlsStream, a_server_survives_clients_that_speak_something_else_or_nothing) {
    const SSLContext server_context = server_with(testing::good());
    const SSLContext client_context = client_that_trusts_the_ca();
    on_both_pollers([&]() -> Coro<> {
        ServerOptions options;
        options.ssl = server_context;
        options.ssl_handshake_timeout = 50ms;
        Server server = co_await start_server(echo, "127.0.0.1", 0, options);
        auto [r1, w1] = co_await open_connection("127.0.0.1", server.port());
        w1.write("GET / HTTP/1.1\r\n\r\n");
        std::string alert;
        try {
            alert = co_await r1.read();
        } catch (const OSError&) { // reset: it had more to say than the server read
        }
        EXPECT_LT(alert.size(), 100U);
        auto [r2, w2] = co_await open_connection("127.0.0.1", server.port()); // silent: sent away after 50 ms
        try {
            EXPECT_EQ(co_await r2.read(), "");
        } catch (const OSError&) {}
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port(), {.ssl = client_context});
        writer.write("and now properly");
        EXPECT_EQ(co_await reader.readexactly(16), "and now properly");
        // A server that says nothing: the client's time-out.
        const os::Fd silent(os::open_socket(AF_INET, SOCK_STREAM));
        os::bind_socket(silent.get(), *os::SocketAddress::numeric("127.0.0.1", 0));
        os::listen_socket(silent.get(), 5);
        bool late = false;
        try {
            co_await open_connection("127.0.0.1", os::local_address(silent.get()).port(),
                                     {.ssl = client_context, .ssl_handshake_timeout = 10ms});
        } catch (const TimeoutError& e) {
            late = true;
            EXPECT_THAT(e.what(), HasSubstr("handshake took too long"));
        }
        EXPECT_TRUE(late);
    });
}

TEST(TlsStream, a_handshake_has_60_seconds_and_a_farewell_30) {
    const SSLContext server_context = server_with(testing::good());
    const SSLContext client_context = client_that_trusts_the_ca();
    testing::VirtualClock clock;
    on_both_pollers([&]() -> Coro<> {
        auto turns = []() -> Coro<> {
            for (int i = 0; i < 50; ++i) co_await sleep(0s);
        };
        sync::Event heard, over;
        auto says_nothing = [&](StreamReader reader, StreamWriter) -> Coro<> {
            co_await reader.readexactly(1);
            heard.set();
            co_await over.async_wait();
        };
        Server silent = co_await start_server(says_nothing, "127.0.0.1", 0);
        ConnectOptions tls;
        tls.ssl = client_context;
        auto connects = create_task(open_connection("127.0.0.1", silent.port(), tls));
        co_await heard.async_wait();
        clock.advance(59s);
        co_await turns();
        EXPECT_FALSE(connects.done());
        clock.advance(2s);
        EXPECT_THROW(co_await connects, TimeoutError);

        auto never_reads = [&](StreamReader, StreamWriter writer) -> Coro<> {
            writer.write("x");
            co_await over.async_wait();
        };
        Server server = co_await start_server(never_reads, "127.0.0.1", 0, {.ssl = server_context});
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port(), tls);
        EXPECT_EQ(co_await reader.readexactly(1), "x");
        writer.close();
        auto closes = create_task([&w = writer]() -> Coro<> { co_await w.wait_closed(); });
        co_await turns();
        clock.advance(29s);
        co_await turns();
        EXPECT_FALSE(closes.done()) << "the other side may still say farewell";
        clock.advance(2s);
        co_await closes.async_join();
        EXPECT_TRUE(writer.is_closing());
        over.set();
        for (Server* one : {&silent, &server}) {
            one->close();
            one->abort_clients();
            co_await one->wait_closed();
        }
    });
}

TEST(TlsStream, a_connection_may_begin_in_the_clear_and_go_on_by_start_tls) {
    const SSLContext server_context = server_with(testing::good());
    const SSLContext client_context = client_that_trusts_the_ca();
    on_both_pollers([&]() -> Coro<> {
        auto handler = [&](StreamReader reader, StreamWriter writer) -> Coro<> {
            EXPECT_EQ(co_await reader.readline(), "STARTTLS\n");
            writer.write("GO\n");
            co_await writer.start_tls(server_context);
            const std::string line = co_await reader.readline();
            writer.write("secret " + line);
            co_await writer.drain();
        };
        Server server = co_await start_server(handler, "127.0.0.1", 0);
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port());
        writer.write("STARTTLS\n");
        EXPECT_EQ(co_await reader.readline(), "GO\n");
        co_await writer.start_tls(client_context, "localhost");
        writer.write("hello\n");
        EXPECT_EQ(co_await reader.readline(), "secret hello\n");
        EXPECT_EQ(co_await reader.read(), "");
        EXPECT_THROW(static_cast<void>(writer.start_tls(client_context, "localhost")), UsageError);
    });
}

TEST(TlsStream, bytes_that_are_cut_off_are_told_after_those_that_came) {
    const SSLContext server_context = server_with(testing::good());
    const SSLContext client_context = client_that_trusts_the_ca();
    on_both_pollers([&]() -> Coro<> {
        auto handler = [](StreamReader reader, StreamWriter writer) -> Coro<> {
            writer.write("Content-Length: 1000\n\nonly this");
            co_await writer.drain();
            co_await reader.read(1);
            writer.abort();
        };
        Server server = co_await start_server(handler, "127.0.0.1", 0, {.ssl = server_context});
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port(), {.ssl = client_context});
        writer.write("x");
        EXPECT_EQ(co_await reader.readline(), "Content-Length: 1000\n");
        std::string body;
        bool cut_off = false;
        try {
            for (std::string some; !(some = co_await reader.read(100)).empty();) body += some;
        } catch (const ssl::SSLEOFError&) {
            cut_off = true;
        }
        EXPECT_TRUE(cut_off);
        EXPECT_EQ(body, "\nonly this");
    });
}

TEST(TlsStream, talks_to_openssl_s_server) {
    const SSLContext client_context = client_that_trusts_the_ca();
    on_both_pollers([&]() -> Coro<> {
        PopenOptions options;
        options.stdin_ = subprocess::PIPE;
        options.stdout_ = subprocess::PIPE;
        options.stderr_ = subprocess::DEVNULL;
        subprocess::Process openssl =
            co_await create_subprocess_exec(options, "openssl", "s_server", "-accept", "127.0.0.1:0", "-rev", "-cert",
                                            testing::good().certificate_file, "-key", testing::good().key_file);
        // "ACCEPT 127.0.0.1:43210"
        int port = 0;
        while (port == 0) {
            const std::string line = co_await openssl.stdout_().readline(30s);
            if (line.empty()) throw Error("openssl s_server did not start");
            if (line.starts_with("ACCEPT ")) port = std::stoi(line.substr(line.rfind(':') + 1));
        }
        auto [reader, writer] = co_await open_connection("127.0.0.1", port, {.ssl = client_context});
        writer.write("olleh\n");
        EXPECT_EQ(co_await reader.readline(), "hello\n");
        writer.close();
        openssl.kill();
        co_await openssl.wait();
    });
}

TEST(TlsStream, is_talked_to_by_openssl_s_client) {
    const SSLContext server_context = server_with(testing::good());
    on_both_pollers([&]() -> Coro<> {
        Server server = co_await start_server(echo, "127.0.0.1", 0, {.ssl = server_context});
        PopenOptions options;
        options.stdin_ = subprocess::PIPE;
        options.stdout_ = subprocess::PIPE;
        options.stderr_ = subprocess::DEVNULL;
        subprocess::Process openssl = co_await create_subprocess_exec(
            options, "openssl", "s_client", "-connect", "127.0.0.1:" + std::to_string(server.port()), "-quiet",
            "-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile", testing::ca().certificate_file);
        openssl.stdin_().write("round and back\n");
        EXPECT_EQ(co_await openssl.stdout_().readline(30s), "round and back\n");
        openssl.stdin_().close();
        openssl.kill();
        co_await openssl.wait();
    });
}

TEST(TlsStream, cancelled_at_any_suspension_leaves_nothing_behind) {
    const SSLContext server_context = server_with(testing::good());
    const SSLContext client_context = client_that_trusts_the_ca();
    const int suspensions = cancel_everywhere([&]() -> Coro<> {
        Server server = co_await start_server(echo, "127.0.0.1", 0, {.ssl = server_context});
        auto [reader, writer] = co_await open_connection("127.0.0.1", server.port(), {.ssl = client_context});
        writer.write("hello");
        EXPECT_EQ(co_await reader.readexactly(5), "hello");
        writer.close();
        co_await writer.wait_closed();
        server.close();
        co_await server.wait_closed();
    });
    EXPECT_GE(suspensions, 3);
}

} // namespace
} // namespace sennit::asyncio
