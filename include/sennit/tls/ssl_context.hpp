#pragma once

#include <sennit/asyncio/tls.hpp>
#include <sennit/tls/errors.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sennit::ssl {

enum class Protocol : std::uint8_t { client, server };
inline constexpr Protocol PROTOCOL_TLS_CLIENT = Protocol::client;
inline constexpr Protocol PROTOCOL_TLS_SERVER = Protocol::server;

enum class VerifyMode : std::uint8_t { none, optional, required };
inline constexpr VerifyMode CERT_NONE = VerifyMode::none;
inline constexpr VerifyMode CERT_OPTIONAL = VerifyMode::optional;
inline constexpr VerifyMode CERT_REQUIRED = VerifyMode::required;

/// The oldest that can be had is 1.2.
enum class TLSVersion : std::uint8_t { TLSv1_2, TLSv1_3 };

/// Whom one talks to: a client authenticates servers.
enum class Purpose : std::uint8_t { SERVER_AUTH, CLIENT_AUTH };

/// Certificates, checks and protocols of TLS connections.      Python: ssl.SSLContext
///
/// A client checks the server's certificate and its name unless somebody switches that off, which is told on stderr each time:
///
///     auto tls = ssl::create_default_context();
///     auto [reader, writer] = co_await asyncio::open_connection("example.org", 443, {.ssl = tls});
///
///     ssl::SSLContext tls(ssl::PROTOCOL_TLS_SERVER);
///     tls.load_cert_chain("server.pem", "server.key");
///     auto server = co_await asyncio::start_server(handle, "127.0.0.1", 8443, {.ssl = tls});
///
/// Agents    Set up by one; then used for connections by any number of threads. A copy is the same context.
/// Blocks    load_…() read files.
/// Errors    SSLError and OSError with the file and what to do; UsageError.
/// Source    Python 3.13. Differs: TLS 1.2 at least; a host's name is looked for in subjectAltName alone; bytes that end without
///           close_notify are an SSLEOFError, unless set_ignore_unexpected_eof(true).
class SSLContext {
  public:
    explicit SSLContext(Protocol protocol);

    /// The certificate that this side shows, with those up to its root, and its key (in the same file if left out), as PEM.
    void load_cert_chain(const std::string& certfile, const std::string& keyfile = {},
                         const std::string& password = {});
    /// Whom to trust: a file of certificates, a folder hashed by `openssl rehash`, certificates as PEM text. At least one.
    void load_verify_locations(const std::string& cafile, const std::string& capath = {},
                               const std::string& cadata = {});
    /// Whom this machine trusts.
    void load_default_certs(Purpose purpose = Purpose::SERVER_AUTH);

    [[nodiscard]] Protocol protocol() const noexcept;
    [[nodiscard]] bool check_hostname() const noexcept;
    /// Off, a certificate of anybody for any name is good enough; stderr says so.
    void set_check_hostname(bool on);
    [[nodiscard]] VerifyMode verify_mode() const noexcept;
    /// CERT_NONE of a client lets anybody in between read and change everything; stderr says so. UsageError while
    /// check_hostname is on. For a server: whether clients must show a certificate (CERT_NONE, the default: no).
    void set_verify_mode(VerifyMode mode);

    [[nodiscard]] TLSVersion minimum_version() const noexcept;
    void set_minimum_version(TLSVersion version);
    [[nodiscard]] TLSVersion maximum_version() const noexcept;
    void set_maximum_version(TLSVersion version);
    /// Those of TLS 1.2, in OpenSSL's notation ("ECDHE+AESGCM").
    void set_ciphers(const std::string& ciphers);
    /// Best first: {"h2", "http/1.1"}. UsageError for a name that is empty or longer than 255 bytes.
    void set_alpn_protocols(const std::vector<std::string>& protocols);
    /// For a server of several names: which context a client that asks for `server_name` gets; nothing: this one. It runs in
    /// the middle of a handshake; what it throws ends that one.      Python: sni_callback
    void set_sni_callback(std::function<std::optional<SSLContext>(std::string_view server_name)> callback);
    /// Takes an end without close_notify for an end. Somebody in between can cut off what comes then.
    void set_ignore_unexpected_eof(bool on);
    /// How many certificates are trusted (of files and text; a folder's are looked up when needed).
    [[nodiscard]] std::size_t trusted_certificates() const noexcept;

    // NOLINTNEXTLINE(google-explicit-constructor): `.ssl = context`
    operator asyncio::TlsContextRef() const noexcept { return context_; }
    [[nodiscard]] const std::shared_ptr<const asyncio::TlsContext>& context() const noexcept { return context_; }

  private:
    class Impl;
    Impl& impl() const noexcept;
    std::shared_ptr<const asyncio::TlsContext> context_; // an Impl
};

struct DefaultContextOptions {
    std::string_view cafile = {};
    std::string_view capath = {};
    std::string_view cadata = {};
};

/// For a client: trusts whom this machine trusts, or only those given; checks certificate and name. For a server
/// (CLIENT_AUTH): add load_cert_chain.      Python: ssl.create_default_context
SSLContext create_default_context(Purpose purpose = Purpose::SERVER_AUTH, const DefaultContextOptions& options = {});

/// A client that believes everybody; stderr says so each time. For tests.      Python: ssl._create_unverified_context
SSLContext create_unverified_context();

} // namespace sennit::ssl
