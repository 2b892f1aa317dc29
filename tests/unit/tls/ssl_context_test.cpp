// Both sides of a connection in memory: what is agreed on, what is refused, and with which words.
#include "certificates.hpp"

#include <sennit/ssl.hpp>

#include <csignal>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace sennit::ssl {
namespace {

using asyncio::TlsContext;
using asyncio::TlsEngine;
using ::testing::AllOf;
using ::testing::HasSubstr;

SSLContext server_with(const testing::TestCertificate& certificate) {
    SSLContext context(PROTOCOL_TLS_SERVER);
    context.load_cert_chain(certificate.certificate_file, certificate.key_file);
    return context;
}

SSLContext client_that_trusts_the_ca() {
    return create_default_context(Purpose::SERVER_AUTH, {.cadata = testing::ca().certificate});
}

// Two ends and the wires between them.
struct Pair {
    Pair(const SSLContext& client_context, const SSLContext& server_context, const std::string& host = "localhost")
        : client(client_context.context()->make_engine(TlsContext::Side::client, host)),
          server(server_context.context()->make_engine(TlsContext::Side::server, "")) {}

    // `step` bytes at a time.
    bool carry(std::size_t step = std::string::npos) {
        const auto one = [step](TlsEngine& from, TlsEngine& to) {
            const std::string piece(from.output().substr(0, step));
            from.consume_output(piece.size());
            if (!piece.empty()) to.feed(piece);
            return !piece.empty();
        };
        const bool there = one(*client, *server);
        return one(*server, *client) || there;
    }
    void shake_hands(std::size_t step = std::string::npos) {
        bool client_done = false;
        bool server_done = false;
        while (!client_done || !server_done) {
            if (!client_done) client_done = client->handshake();
            if (!server_done) server_done = server->handshake();
            if (!carry(step) && (!client_done || !server_done)) throw std::runtime_error("the handshake is stuck");
        }
        while (carry()) {}
    }

    std::unique_ptr<TlsEngine> client;
    std::unique_ptr<TlsEngine> server;
};

std::string read_all(TlsEngine& engine, TlsEngine::Read& last) {
    std::string all;
    char piece[1000];
    std::size_t n = 0;
    while ((last = engine.read(piece, sizeof piece, n)) == TlsEngine::Read::data) all.append(piece, n);
    return all;
}

std::string refusal(const SSLContext& client, const SSLContext& server, const std::string& host, int& code) {
    Pair pair(client, server, host);
    try {
        pair.shake_hands();
    } catch (const SSLCertVerificationError& e) {
        code = e.verify_code();
        EXPECT_FALSE(pair.client->output().empty()) << "the peer is not told";
        return e.what();
    }
    code = 0;
    return "accepted";
}

TEST(Tls, two_sides_agree_and_bytes_go_both_ways_however_small_the_pieces) {
    SSLContext client = client_that_trusts_the_ca();
    EXPECT_TRUE(client.check_hostname());
    EXPECT_EQ(client.verify_mode(), CERT_REQUIRED);
    EXPECT_EQ(client.minimum_version(), TLSVersion::TLSv1_2);
    const SSLContext server = server_with(testing::good());
    EXPECT_EQ(server.verify_mode(), CERT_NONE);
    for (const std::size_t step : {std::size_t{1}, std::size_t{100'000}}) {
        Pair pair(client, server);
        pair.shake_hands(step);
        const std::string text(70'000, 'x');
        pair.client->write(text);
        pair.server->write("answer");
        while (pair.carry(step == 1 ? 997 : step)) {}
        TlsEngine::Read last{};
        EXPECT_TRUE(read_all(*pair.server, last) == text);
        EXPECT_EQ(last, TlsEngine::Read::more);
        EXPECT_EQ(read_all(*pair.client, last), "answer");
        // Half of it ends: the other half goes on.
        EXPECT_FALSE(pair.client->shutdown());
        while (pair.carry()) {}
        EXPECT_EQ(read_all(*pair.server, last), "");
        EXPECT_EQ(last, TlsEngine::Read::end);
        pair.server->write("last words");
        EXPECT_TRUE(pair.server->shutdown());
        while (pair.carry()) {}
        EXPECT_EQ(read_all(*pair.client, last), "last words");
        EXPECT_EQ(last, TlsEngine::Read::end);
        const auto info = pair.client->info();
        EXPECT_EQ(info.version, "TLSv1.3");
        EXPECT_GE(info.cipher_bits, 128);
        EXPECT_EQ(info.peercert, testing::good().certificate);
        EXPECT_EQ(pair.server->info().server_name, "localhost");
    }
}

TEST(Tls, refuses_certificates_that_are_expired_self_signed_or_of_another_host) {
    const SSLContext client = client_that_trusts_the_ca();
    int code = 0;
    EXPECT_THAT(refusal(client, server_with(testing::expired()), "localhost", code),
                AllOf(HasSubstr("'localhost' is refused: certificate has expired (10)"), HasSubstr("new certificate")));
    EXPECT_EQ(code, 10);
    refusal(client, server_with(testing::not_yet_valid()), "localhost", code);
    EXPECT_EQ(code, 9);
    EXPECT_THAT(refusal(client, server_with(testing::self_signed()), "localhost", code),
                AllOf(HasSubstr("self-signed"), HasSubstr("load_verify_locations")));
    EXPECT_EQ(code, 18);
    EXPECT_THAT(refusal(client, server_with(testing::wrong_host()), "localhost", code),
                AllOf(HasSubstr("ostname mismatch"), HasSubstr("it is for elsewhere.test")));
    EXPECT_EQ(code, 62);
    EXPECT_THAT(refusal(client, server_with(testing::good()), "127.0.0.2", code), HasSubstr("it is for localhost"));
    EXPECT_EQ(code, 64);
    // Nobody that this machine trusts has signed it.
    EXPECT_THAT(refusal(create_default_context(), server_with(testing::good()), "localhost", code),
                HasSubstr("issued"));
    EXPECT_EQ(code, 20);
    // And whose names and issuer are right is taken.
    EXPECT_EQ(refusal(client, server_with(testing::good()), "localhost", code), "accepted");
    EXPECT_EQ(refusal(client, server_with(testing::good()), "www.example.test", code), "accepted");
    EXPECT_EQ(refusal(client, server_with(testing::good()), "127.0.0.1", code), "accepted");
    EXPECT_EQ(refusal(client, server_with(testing::good()), "::1", code), "accepted");
    refusal(client, server_with(testing::good()), "a.b.example.test", code);
    EXPECT_EQ(code, 62);
}

TEST(Tls, checks_are_off_only_by_name_and_stderr_says_so_each_time) {
    ::testing::internal::CaptureStderr();
    const SSLContext client = create_unverified_context();
    EXPECT_THAT(::testing::internal::GetCapturedStderr(),
                AllOf(HasSubstr("check_hostname"), HasSubstr("takes any certificate (CERT_NONE)")));
    int code = 0;
    EXPECT_EQ(refusal(client, server_with(testing::expired()), "localhost", code), "accepted");

    SSLContext other(PROTOCOL_TLS_CLIENT);
    EXPECT_THROW(other.set_verify_mode(CERT_NONE), UsageError);
    EXPECT_EQ(other.verify_mode(), CERT_REQUIRED);
    EXPECT_THROW(Pair(other, server_with(testing::good()), ""), UsageError); // no name to check
    ::testing::internal::CaptureStderr();
    other.set_check_hostname(false);
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("check_hostname"));
    other.load_verify_locations("", "", testing::ca().certificate);
    EXPECT_EQ(other.trusted_certificates(), 1U);
    EXPECT_EQ(refusal(other, server_with(testing::wrong_host()), "localhost", code), "accepted");
    EXPECT_THAT(refusal(other, server_with(testing::expired()), "localhost", code), HasSubstr("expired"));
    EXPECT_THROW(Pair(server_with(testing::good()), other), UsageError); // the sides the wrong way round
}

TEST(Tls, both_take_the_best_alpn_protocol_of_the_server_that_the_client_speaks) {
    SSLContext client = client_that_trusts_the_ca();
    SSLContext server = server_with(testing::good());
    client.set_alpn_protocols({"http/1.1", "h2"});
    server.set_alpn_protocols({"h3", "h2", "http/1.1"});
    Pair pair(client, server);
    pair.shake_hands();
    EXPECT_EQ(pair.client->info().alpn, "h2");
    EXPECT_EQ(pair.server->info().alpn, "h2");
    server.set_alpn_protocols({"smtp"});
    Pair none(client, server);
    none.shake_hands();
    EXPECT_EQ(none.client->info().alpn, "");
    EXPECT_THROW(client.set_alpn_protocols({""}), UsageError);
    EXPECT_THROW(client.set_alpn_protocols({std::string(256, 'x')}), UsageError);
}

TEST(Tls, a_server_of_several_names_shows_the_certificate_of_the_one_asked_for) {
    const SSLContext client = client_that_trusts_the_ca();
    SSLContext server = server_with(testing::good());
    std::string asked;
    server.set_sni_callback([&](std::string_view name) -> std::optional<SSLContext> {
        asked = name;
        if (name == "elsewhere.test") return server_with(testing::wrong_host()); // which lives on with the connection
        if (name == "nobody.test") throw Error("no such name");
        return std::nullopt;
    });
    int code = 0;
    EXPECT_EQ(refusal(client, server, "elsewhere.test", code), "accepted");
    EXPECT_EQ(asked, "elsewhere.test");
    EXPECT_EQ(refusal(client, server, "localhost", code), "accepted");
    EXPECT_EQ(refusal(client, server, "127.0.0.1", code), "accepted"); // an address is no name, and nobody asks
    EXPECT_EQ(asked, "localhost");
    Pair pair(client, server, "nobody.test");
    EXPECT_THROW(pair.shake_hands(), Error);
}

TEST(Tls, a_server_can_demand_a_certificate_of_its_clients) {
    SSLContext server = server_with(testing::good());
    server.set_verify_mode(CERT_REQUIRED);
    server.load_verify_locations(testing::ca().certificate_file);
    SSLContext client = client_that_trusts_the_ca();
    Pair without(client, server);
    EXPECT_THROW(
        {
            try {
                without.shake_hands();
            } catch (const SSLError& e) {
                EXPECT_THAT(e.what(), HasSubstr("load_cert_chain"));
                throw;
            }
        },
        SSLError);
    client.load_cert_chain(testing::client().certificate_file, testing::client().key_file);
    Pair with(client, server);
    with.shake_hands();
    EXPECT_EQ(with.server->info().peercert, testing::client().certificate);
}

TEST(Tls, no_version_below_1_2_and_none_that_only_one_side_wants) {
    SSLContext client = client_that_trusts_the_ca();
    SSLContext server = server_with(testing::good());
    server.set_maximum_version(TLSVersion::TLSv1_2);
    server.set_ciphers("ECDHE+AESGCM");
    Pair old(client, server);
    old.shake_hands();
    EXPECT_EQ(old.client->info().version, "TLSv1.2");
    EXPECT_THAT(old.client->info().cipher, HasSubstr("GCM"));
    client.set_minimum_version(TLSVersion::TLSv1_3);
    Pair none(client, server);
    try {
        none.shake_hands();
        FAIL() << "should have thrown";
    } catch (const SSLError& e) {
        EXPECT_THAT(e.what(), HasSubstr("no version in common"));
    }
    EXPECT_THROW(server.set_ciphers("NO-SUCH-CIPHER"), SSLError);
}

TEST(Tls, bytes_that_end_without_a_farewell_are_an_error) {
    SSLContext client = client_that_trusts_the_ca();
    const SSLContext server = server_with(testing::good());
    for (const bool ignore : {false, true}) {
        client.set_ignore_unexpected_eof(ignore);
        Pair pair(client, server);
        pair.shake_hands();
        pair.server->write("half a mess");
        while (pair.carry()) {}
        pair.client->feed_eof();
        TlsEngine::Read last{};
        std::string got;
        char piece[100];
        std::size_t n = 0;
        ASSERT_EQ(pair.client->read(piece, sizeof piece, n), TlsEngine::Read::data); // what came is given first
        EXPECT_EQ(std::string(piece, n), "half a mess");
        if (ignore) {
            EXPECT_EQ(read_all(*pair.client, last), "");
            EXPECT_EQ(last, TlsEngine::Read::end);
        } else {
            EXPECT_THROW(read_all(*pair.client, last), SSLEOFError);
        }
    }
    Pair early(client, server); // in the middle of the handshake
    early.client->feed_eof();
    EXPECT_THROW(early.client->handshake(), SSLEOFError);
}

TEST(Tls, a_peer_that_speaks_no_tls_is_told_apart) {
    const SSLContext client = client_that_trusts_the_ca();
    Pair pair(client, server_with(testing::good()));
    EXPECT_FALSE(pair.client->handshake());
    pair.client->feed("HTTP/1.1 400 Bad Request\r\n\r\n");
    try {
        pair.client->handshake();
        FAIL() << "should have thrown";
    } catch (const SSLError& e) {
        EXPECT_THAT(e.what(), AllOf(HasSubstr("'localhost'"), HasSubstr("does not speak TLS")));
    }
    Pair other(client, server_with(testing::good()));
    other.server->feed("GET / HTTP/1.1\r\n\r\n");
    EXPECT_THROW(other.server->handshake(), SSLError);
}

TEST(Tls, files_that_can_not_be_loaded_are_named) {
    SSLContext context(PROTOCOL_TLS_SERVER);
    const auto says = [](const std::function<void()>& f) -> std::string {
        try {
            f();
        } catch (const std::exception& e) {
            return e.what();
        }
        return "nothing";
    };
    const auto& good = testing::good();
    EXPECT_THAT(says([&] { context.load_cert_chain("/no/such.pem"); }),
                AllOf(HasSubstr("'/no/such.pem'"), HasSubstr("No such file")));
    EXPECT_THAT(says([&] { context.load_cert_chain(good.key_file); }), HasSubstr("no certificate in PEM form"));
    EXPECT_THAT(says([&] { context.load_cert_chain(good.certificate_file, testing::expired().key_file); }),
                HasSubstr("not that of the certificate"));
    EXPECT_THAT(says([&] { context.load_cert_chain(good.certificate_file); }), HasSubstr("can't be used"));
    EXPECT_THAT(says([&] { context.load_verify_locations(good.key_file); }), HasSubstr("no certificate in"));
    EXPECT_THAT(says([&] { context.load_verify_locations("", "", "nonsense"); }), HasSubstr("cadata"));
    EXPECT_THROW(context.load_verify_locations(""), UsageError);
    context.load_cert_chain(good.certificate_file, good.key_file); // still as good as new
}

} // namespace
} // namespace sennit::ssl
