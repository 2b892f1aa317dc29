// One TLS connection over two memory BIOs.
#pragma once

#include <sennit/asyncio/tls.hpp>

#include <memory>
#include <openssl/ssl.h>
#include <string>

namespace sennit::ssl {

struct FreeSsl {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

// States: handshake, open, and for each direction closed. OpenSSL keeps them; this class moves bytes and tells errors.
class SslEngine final : public asyncio::TlsEngine {
  public:
    // `name`: of the peer, for errors. `keep`: what the callbacks of `ssl` need.
    SslEngine(std::unique_ptr<SSL, FreeSsl> ssl, std::string name, std::shared_ptr<const void> keep);

    void feed(std::string_view ciphertext) override;
    void feed_eof() override;
    std::string_view output() override;
    void consume_output(std::size_t bytes) override;
    bool handshake() override;
    Read read(char* to, std::size_t room, std::size_t& bytes) override;
    void write(std::string_view plaintext) override;
    bool shutdown() override;
    [[nodiscard]] asyncio::TlsInfo info() const override;

  private:
    [[noreturn]] void throw_error(int error, const char* doing);
    [[noreturn]] void throw_refused_certificate();

    std::shared_ptr<const void> keep_;
    std::unique_ptr<SSL, FreeSsl> ssl_;
    BIO* in_;  // the SSL's
    BIO* out_; // the SSL's
    std::string name_;
    bool eof_ = false;
};

// For a callback that OpenSSL calls: what it threw is rethrown when OpenSSL has returned; what it chose lives as long as `ssl`.
void keep_exception(SSL* ssl) noexcept;
void keep_alive(SSL* ssl, std::shared_ptr<const void> what);
// OpenSSL's verify callback: changes nothing, keeps the certificate that is refused for the error's text.
int keep_refused(int good, X509_STORE_CTX* store) noexcept;

} // namespace sennit::ssl
